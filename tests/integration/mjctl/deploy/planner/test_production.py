"""A production environment by mjctl's commands: real Terraform, states in the S3 of an emulated AWS, stacks that only
remember what they are given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mjctl.__main__ import run
from mjctl.clients.account import account_at
from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox import daemon
from tests.documents import read_document

PRIMARY, SECOND = "us-east-1", "eu-west-1"
UNITS = ["foundation", PRIMARY, SECOND, "edge"]

BACKEND = """\
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
"""
FOUNDATION = """\
variable "domain" { type = any }
variable "primary_region" { type = string }
resource "terraform_data" "made" { input = var.domain.name }
output "contract" {
  value = {
    domain         = terraform_data.made.output
    primary_region = var.primary_region
    registry       = { repository_url = "123456789012.dkr.ecr.${var.primary_region}.amazonaws.com/game" }
  }
}
"""
REGION = """\
variable "foundation" { type = any }
variable "region" { type = string }
variable "game" { type = any }
resource "terraform_data" "made" {
  input = { domain = var.foundation.domain, tasks = var.game.min_tasks, image = var.game.image }
  lifecycle {
    precondition {
      condition     = var.game.tick_rate_hz != 13 || var.region != "us-east-1"
      error_message = "13 is no rate."
    }
  }
}
output "contract" {
  value = {
    version = 1, project = "test", environment = "sandbox", target = "sandbox", region = var.region
    zones = [], tables = {}, topics = {}, queues = {}, keys = {}, backup = {}
    aws       = { account_id = "123456789012" }
    endpoints = { api = "https://api.${terraform_data.made.output.domain}" }
    cache     = { url = "rediss://127.0.0.1:1" }
    database  = { host = "127.0.0.1", port = 1, name = "x", user = "x", secret = "file:/x", tls = true }
    identity  = { user_pool_id = "x", client_id = "x", issuer = "x", jwks_url = "x" }
    fleet     = { kind = "ecs" }
  }
}
output "edge" { value = { name = "${var.region}.${terraform_data.made.output.domain}" } }
"""
EDGE = """\
variable "foundation" { type = any }
variable "regions" { type = any }
resource "terraform_data" "made" { input = var.regions }
output "contract" { value = { regions = keys(terraform_data.made.output) } }
"""
CONFIG = {
    "project": "test",
    "target": "sandbox",
    "regions": {
        PRIMARY: {"zones": ["us-east-1a", "us-east-1b", "us-east-1c"]},
        SECOND: {"zones": ["eu-west-1a", "eu-west-1b", "eu-west-1c"]},
    },
    "aws": {"account_id": "123456789012", "domain": {"name": "one.example.com"}},
}


@dataclass
class Project:
    """A project of three small stacks, and what the last command has printed."""

    workspace: Workspace
    capsys: pytest.CaptureFixture[str]
    said: str = ""

    def mjctl(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a command on the environment and return its document."""
        found = run([*arguments, "--env", "sandbox", "--output", "json"])
        output, self.said = self.capsys.readouterr()
        assert found == code, f"{found}\n{output}\n{self.said}"
        document: dict[str, Any] = read_document(output)
        return document

    def published(self, unit: str) -> Any:
        """Return what one unit publishes."""
        (outputs,) = [entry["outputs"] for entry in self.mjctl("outputs")["regions"] if entry["region"] == unit]
        return outputs

    def outcomes(self, *arguments: str, code: int = 0) -> dict[str, str]:
        return {one["region"]: one["outcome"] for one in self.mjctl(*arguments, code=code)["regions"]}

    def deploy(self, *arguments: str, code: int = 0) -> dict[str, str]:
        return self.outcomes("deploy", "--auto-approve", *arguments, code=code)

    def restore_files(self) -> None:
        """Write the configuration and the game's code as they are before a test changes them."""
        (self.workspace.configs_dir / "sandbox.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
        self.code.write_text("RULES = 1\n")

    @property
    def code(self) -> Path:
        return self.workspace.project_dir / "gameserver" / "game.py"

    def states(self) -> dict[str, str]:
        return {unit["region"]: unit["state"] for unit in self.mjctl("status")["regions"]}

    def configure(self, **changes: Any) -> None:
        path = self.workspace.configs_dir / "sandbox.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))

    def configure_domain(self, name: str) -> None:
        self.configure(aws={**CONFIG["aws"], "domain": {"name": name}})  # type: ignore[dict-item]

    def order(self, units: Sequence[str], phase: str = "applying") -> list[str]:
        """`units` in the order in which the last command has begun `phase` of them."""
        return sorted(units, key=lambda unit: self.said.index(f"[{unit}] {phase}"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A project, its sandbox, and the bucket that `mjctl bootstrap` would make."""
    folder = tmp_path_factory.mktemp("production")
    for name, text in (("foundation", FOUNDATION), ("region", REGION), ("edge", EDGE)):
        stack = folder / "terraform" / "stacks" / name
        stack.mkdir(parents=True)
        (stack / "main.tf").write_text(BACKEND + text)
    (folder / "configs").mkdir()
    (folder / "configs" / "sandbox.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    (folder / "gameserver").mkdir()
    workspace = Workspace(folder, folder / "home")
    place = workspace.environment_dir("sandbox")
    place.mkdir(mode=0o700, parents=True)
    account = account_at(load_environment(workspace, "sandbox"), daemon.start(place).sandbox.endpoints)
    try:
        key = account.client("kms").create_key()["KeyMetadata"]["Arn"]
        account.client("s3").create_bucket(Bucket=account.bucket)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
        account.client("s3").put_bucket_encryption(
            Bucket=account.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )
        yield workspace
    finally:
        daemon.stop(place)


@pytest.fixture
def project(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(workspace.project_dir))
    monkeypatch.setenv("MJCTL_HOME", str(workspace.home))
    # The real one asks pip for the functions' dependencies; tests/terraform does so.
    archive = workspace.home / "functions.zip"
    archive.touch()
    package = Package(str(archive), "digest", "x86_64", "a" * 64)
    monkeypatch.setattr("mjctl.deploy.planner.production.package_of", lambda *_, **__: package)
    project = Project(workspace, capsys)
    project.restore_files()
    return project


@pytest.fixture
def absent(project: Project) -> None:
    """Destroy what an earlier test has deployed."""
    if set(project.states().values()) != {"absent"}:
        project.outcomes("destroy", "--all-regions", "--auto-approve")


@pytest.fixture
def deployed(project: Project) -> None:
    """Deploy every unit with the restored files. This is quick if an earlier test has left the units so."""
    project.deploy("--all-regions")


@pytest.mark.usefixtures("absent")
def test_a_plan_says_what_waits_for_what(project: Project) -> None:
    planned = project.mjctl("plan", "--all-regions", code=2)["regions"]
    assert {one["region"]: one["outcome"] for one in planned} == {
        **dict.fromkeys(UNITS, "waiting"),
        "foundation": "planned",
    }
    assert [one["waits_for"] for one in planned] == [[], ["foundation"], ["foundation"], ["foundation"]]


@pytest.mark.usefixtures("absent")
def test_plans_that_cannot_be_made_yet_are_not_kept(project: Project, tmp_path: Path) -> None:
    refused = project.mjctl("plan", "--all-regions", "--out", str(tmp_path / "plans"), code=11)
    assert "no plan can be kept of us-east-1, eu-west-1, edge yet" in refused["error"]["what"]


@pytest.mark.usefixtures("absent")
def test_another_region_does_not_come_before_the_primary(project: Project) -> None:
    refused = project.mjctl("deploy", "--region", SECOND, "--auto-approve", code=11)
    assert f"add --region {PRIMARY}" in refused["error"]["next"]


@pytest.mark.usefixtures("absent")
def test_nothing_is_done_without_an_answer(project: Project) -> None:
    project.mjctl("deploy", "--all-regions", code=12)
    assert "edge: changes are known once foundation is applied" in project.said
    assert set(project.states().values()) == {"absent"}


@pytest.mark.usefixtures("absent")
def test_the_first_deploy_goes_in_order(project: Project) -> None:
    assert project.deploy("--all-regions", "--gate") == dict.fromkeys(UNITS, "applied")
    assert project.order(list(reversed(UNITS))) == UNITS
    assert f"[{SECOND}] is not watched yet: no player reaches it before the edge" in project.said


@pytest.mark.usefixtures("deployed")
def test_the_states_are_in_the_bucket_and_nothing_in_the_project(project: Project) -> None:
    states = project.states()
    assert list(states) == UNITS
    assert set(states.values()) == {"deployed"}
    assert not list(project.workspace.project_dir.joinpath("terraform").rglob("*.tfstate*"))
    # What lies in the data folders says where the state is, and holds none of it.
    for pointer in project.workspace.environment_dir("sandbox").glob("*/terraform/**/*.tfstate"):
        assert json.loads(pointer.read_text())["backend"]["type"] == "s3"


@pytest.mark.usefixtures("deployed")
def test_a_second_plan_changes_nothing(project: Project) -> None:
    assert project.outcomes("plan", "--all-regions") == dict.fromkeys(UNITS, "unchanged")


@pytest.mark.usefixtures("deployed")
def test_new_code_goes_to_the_regions_alone(project: Project) -> None:
    project.code.write_text("RULES = 2\n")
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--all-regions", "--strategy", "canary", "--canary", SECOND, "--no-gate") == {
        "foundation": "unchanged",
        PRIMARY: "applied",
        SECOND: "applied",
        "edge": "unchanged",
    }
    assert project.order([PRIMARY, SECOND]) == [SECOND, PRIMARY]


@pytest.mark.usefixtures("deployed")
def test_a_region_that_players_reach_is_watched(project: Project) -> None:
    """Nobody answers for the region here, so its gate finds it unhealthy, and the other one is left alone."""
    project.configure(game={"servers_per_zone": 3})
    outcomes = project.deploy("--all-regions", "--strategy", "canary", "--canary", SECOND, code=3)
    assert outcomes == {"foundation": "unchanged", SECOND: "unhealthy", PRIMARY: "not_started", "edge": "not_started"}
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_a_region_goes_back_to_its_last_release(project: Project) -> None:
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--region", SECOND)[SECOND] == "applied"
    assert project.outcomes("rollback", "--region", SECOND, "--auto-approve", "--no-gate") == {SECOND: "rolled_back"}
    assert project.outcomes("plan", "--region", SECOND, code=2)[SECOND] == "planned"
    assert project.deploy("--region", SECOND)[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_what_foundation_publishes_anew_reaches_every_stack(project: Project) -> None:
    """The regions' plans were made with what foundation published before, and edge's with what the regions did."""
    project.configure_domain("two.example.com")
    assert project.deploy("--all-regions") == dict.fromkeys(UNITS, "applied")
    assert project.outcomes("plan", "--all-regions") == dict.fromkeys(UNITS, "unchanged")


@pytest.mark.usefixtures("deployed")
def test_approved_plans_are_applied_or_refused_never_replaced(project: Project, tmp_path: Path) -> None:
    project.configure_domain("three.example.com")
    kept = str(tmp_path / "plans")
    project.mjctl("plan", "--all-regions", "--out", kept, code=2)
    assert project.deploy("--all-regions", "--plans", kept, code=4) == {
        "foundation": "applied",
        PRIMARY: "failed",
        SECOND: "failed",
        "edge": "not_started",
    }
    assert "the approved plan does not fit any more" in project.said
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_a_region_that_fails_keeps_players_where_they_are(project: Project) -> None:
    project.configure(game={"tick_rate_hz": 13})
    assert project.outcomes("plan", "--region", PRIMARY, code=4)[PRIMARY] == "failed"


@pytest.mark.usefixtures("deployed")
def test_the_primary_region_goes_last(project: Project) -> None:
    refused = project.mjctl("destroy", "--region", PRIMARY, "--auto-approve", code=11)
    assert f"the databases of {SECOND} follow its own" in refused["error"]["what"]


@pytest.mark.usefixtures("deployed")
def test_regions_go_one_after_the_other_and_come_back(project: Project) -> None:
    # Players leave a region before it goes.
    assert project.outcomes("destroy", "--region", SECOND, "--auto-approve") == {"edge": "applied", SECOND: "destroyed"}
    assert project.said.index("[edge] applying") < project.said.index(f"[{SECOND}] destroying")
    assert project.published("edge")["regions"] == [PRIMARY]

    # The last region takes the edge along, and leaves foundation, which holds what players own.
    assert project.outcomes("destroy", "--region", PRIMARY, "--auto-approve") == {
        "edge": "destroyed",
        PRIMARY: "destroyed",
    }
    assert project.states() == {**dict.fromkeys(UNITS, "absent"), "foundation": "deployed"}

    # The primary region comes back first.
    assert project.deploy("--region", PRIMARY) == {"foundation": "unchanged", PRIMARY: "applied", "edge": "applied"}

    # The other region comes back beside it.
    planned = project.outcomes("plan", "--region", SECOND, code=2)
    assert planned == {"foundation": "unchanged", SECOND: "planned", "edge": "waiting"}
    assert project.deploy("--region", SECOND) == {"foundation": "unchanged", SECOND: "applied", "edge": "applied"}
    assert project.published("edge")["regions"] == [SECOND, PRIMARY]


@pytest.mark.usefixtures("deployed")
def test_a_lock_that_a_dead_run_left_is_removed(project: Project) -> None:
    environment = load_environment(project.workspace, "sandbox")
    place = daemon.running(project.workspace.environment_dir("sandbox"))
    assert place is not None
    account = account_at(environment, place.endpoints)
    note = json.dumps({"ID": "1234", "Who": "somebody@elsewhere", "Created": "2026-01-01T00:00:00Z"})
    account.client("s3").put_object(
        Bucket=account.bucket, Key="test-sandbox/foundation.tfstate.tflock", Body=note.encode()
    )
    assert project.outcomes("plan", "--region", SECOND, code=4)["foundation"] == "failed"
    refused = project.mjctl("unlock", "--region", "foundation", code=6)
    assert "locked by somebody@elsewhere" in refused["error"]["what"]
    assert "--id 1234" in refused["error"]["next"]
    project.mjctl("unlock", "--region", "foundation", "--id", "other", code=6)
    assert "removed" in project.mjctl("unlock", "--region", "foundation", "--id", "1234")["regions"][0]["result"]
    assert "nothing to unlock" in project.mjctl("unlock", "--region", "foundation")["regions"][0]["result"]


@pytest.mark.usefixtures("deployed")
def test_destroy_leaves_nothing(project: Project) -> None:
    assert project.outcomes("destroy", "--all-regions", "--auto-approve") == dict.fromkeys(UNITS, "destroyed")
    assert project.order(UNITS, "destroying") == list(reversed(UNITS))
    assert set(project.states().values()) == {"absent"}
    assert project.outcomes("destroy", "--all-regions", "--auto-approve") == dict.fromkeys(UNITS, "unchanged")
