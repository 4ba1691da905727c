"""The commands of mjctl deploy a production environment of small stacks, which store their variables only.

Terraform is real. The states are in the S3 of an emulated AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mjctl.__main__ import run
from mjctl.clients.account import Account, account_at, open_account
from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox import daemon
from tests.documents import read_document
from tests.integration.mjctl.ops_lambda import packed

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
    registry = {
      repository_name = "game"
      repository_url  = "123456789012.dkr.ecr.${var.primary_region}.amazonaws.com/game"
    }
  }
}
"""
REGION = """\
variable "emulated_aws" { type = any }
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
    aws = {
      account_id = "123456789012", endpoint_url = var.emulated_aws.endpoint_url, secret = var.emulated_aws.secret
    }
    endpoints = { api = "https://api.${terraform_data.made.output.domain}" }
    cache     = { url = "rediss://127.0.0.1:1" }
    database  = { host = "127.0.0.1", port = 1, name = "x", user = "x", secret = "file:/x", tls = true }
    identity  = { user_pool_id = "x", client_id = "x", issuer = "x", jwks_url = "x" }
    fleet     = { kind = "ecs" }
    managed = {
      functions = { migrate = "migrate" }
      primary_region = "us-east-1", alarm_prefix = "x", alarm_topic = "x", api_id = "x", cache_group = "x"
      certificate = "x", database_cluster = "x", load_balancer = "x", target_group = "x", web_acl = "x"
      web_domain = "x"
    }
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
# The function `migrate` of the fake archive.
MIGRATE = """\
def handler(event, context):
    return {answer}
"""
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }
)
UP_TO_DATE = {"heads": ["0001"], "applied": []}
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
    """Runs commands in a project of three small stacks.

    Attributes:
        errors: The standard error of the last command.
    """

    workspace: Workspace
    capsys: pytest.CaptureFixture[str]
    errors: str = ""

    def mjctl(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a command on the environment and return its document."""
        exit_code = run([*arguments, "--env", "sandbox", "--output", "json"])
        output, self.errors = self.capsys.readouterr()
        assert exit_code == code, f"{exit_code}\n{output}\n{self.errors}"
        document: dict[str, Any] = read_document(output)
        return document

    def published(self, unit: str) -> Any:
        """Return the outputs of one unit."""
        (outputs,) = [entry["outputs"] for entry in self.mjctl("outputs")["regions"] if entry["region"] == unit]
        return outputs

    def outcomes(self, *arguments: str, code: int = 0) -> dict[str, str]:
        return {unit["region"]: unit["outcome"] for unit in self.mjctl(*arguments, code=code)["regions"]}

    def deploy(self, *arguments: str, code: int = 0) -> dict[str, str]:
        return self.outcomes("deploy", "--auto-approve", *arguments, code=code)

    def restore_files(self) -> None:
        """Write the configuration and the game's code as they are before a test changes them."""
        (self.workspace.configs_dir / "sandbox.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
        self.code.write_text("RULES = 1\n")

    def migrate(self, answer: Mapping[str, Any]) -> None:
        """Write the archive of the functions, whose function `migrate` gives this answer."""
        self.archive.write_bytes(packed({"fn.py": MIGRATE.format(answer=answer)}))

    @property
    def archive(self) -> Path:
        return self.workspace.home / "functions.zip"

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
        """Sort `units` by the order in which the last command began `phase` of each unit."""
        return sorted(units, key=lambda unit: self.errors.index(f"[{unit}] {phase}"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Create a project, its sandbox, and the bucket that `mjctl bootstrap` would create."""
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
        account.client("ecr").create_repository(repositoryName="game")
        _replicate(account, SECOND)
        role = account.client("iam").create_role(RoleName="migrate", AssumeRolePolicyDocument=TRUST)["Role"]
        account.client("lambda").create_function(
            FunctionName="migrate",
            Runtime="python3.11",
            Role=role["Arn"],
            Handler="fn.handler",
            Code={"ZipFile": packed({"fn.py": ""})},
            Timeout=30,
        )
        yield workspace
    finally:
        daemon.stop(place)


def _replicate(account: Account, *regions: str) -> None:
    """Let ECR replicate new images to `regions`, as the real stack foundation does."""
    destinations = [{"region": region, "registryId": account.account_id} for region in regions]
    rules = [{"destinations": destinations}] if destinations else []
    account.client("ecr").put_replication_configuration(replicationConfiguration={"rules": rules})


@pytest.fixture
def project(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(workspace.project_dir))
    monkeypatch.setenv("MJCTL_HOME", str(workspace.home))
    # The tests of this file use a fake archive of the functions. The tests in tests/terraform build the real archive,
    # for which pip installs dependencies.
    project = Project(workspace, capsys)
    project.migrate(UP_TO_DATE)
    package = Package(str(project.archive), "digest", "x86_64", "a" * 64)
    monkeypatch.setattr("mjctl.deploy.planner.production.package_of", lambda *_, **__: package)
    project.restore_files()
    return project


@pytest.fixture
def absent(project: Project) -> None:
    """Destroy all units that an earlier test has deployed."""
    if set(project.states().values()) != {"absent"}:
        project.outcomes("destroy", "--all-regions", "--auto-approve")


@pytest.fixture
def deployed(project: Project) -> None:
    """Deploy every unit with the restored files. The deploy is quick if an earlier test has left every unit
    deployed."""
    project.deploy("--all-regions")


@pytest.mark.usefixtures("absent")
def test_a_plan_names_the_units_for_which_a_unit_waits(project: Project) -> None:
    planned = project.mjctl("plan", "--all-regions", code=2)["regions"]
    assert {unit["region"]: unit["outcome"] for unit in planned} == {
        **dict.fromkeys(UNITS, "waiting"),
        "foundation": "planned",
    }
    assert [unit["waits_for"] for unit in planned] == [[], ["foundation"], ["foundation"], ["foundation"]]


@pytest.mark.usefixtures("absent")
def test_plans_that_cannot_be_made_yet_are_not_kept(project: Project, tmp_path: Path) -> None:
    refused = project.mjctl("plan", "--all-regions", "--out", str(tmp_path / "plans"), code=11)
    assert "cannot plan us-east-1, eu-west-1, edge yet" in refused["error"]["what"]


@pytest.mark.usefixtures("absent")
def test_another_region_cannot_be_deployed_before_the_primary_region(project: Project) -> None:
    refused = project.mjctl("deploy", "--region", SECOND, "--auto-approve", code=11)
    assert f"add --region {PRIMARY}" in refused["error"]["next"]


@pytest.mark.usefixtures("absent")
def test_a_deploy_without_an_approval_changes_nothing(project: Project) -> None:
    project.mjctl("deploy", "--all-regions", code=12)
    assert "edge: changes are known once foundation is applied" in project.errors
    assert set(project.states().values()) == {"absent"}


@pytest.mark.usefixtures("absent")
def test_the_first_deploy_applies_the_units_in_order(project: Project) -> None:
    assert project.deploy("--all-regions", "--gate") == dict.fromkeys(UNITS, "applied")
    assert project.order(list(reversed(UNITS))) == UNITS
    assert f"[{SECOND}] the health gate skips this region: no player can reach it before `edge`" in project.errors


@pytest.mark.usefixtures("deployed")
def test_the_states_are_in_the_bucket_and_not_in_the_project(project: Project) -> None:
    states = project.states()
    assert list(states) == UNITS
    assert set(states.values()) == {"deployed"}
    assert not list(project.workspace.project_dir.joinpath("terraform").rglob("*.tfstate*"))
    # The state files in Terraform's data folders only name the backend of the state, and contain no resource.
    for pointer in project.workspace.environment_dir("sandbox").glob("*/terraform/**/*.tfstate"):
        assert json.loads(pointer.read_text())["backend"]["type"] == "s3"


@pytest.mark.usefixtures("deployed")
def test_a_second_plan_changes_nothing(project: Project) -> None:
    assert project.outcomes("plan", "--all-regions") == dict.fromkeys(UNITS, "unchanged")


@pytest.mark.usefixtures("deployed")
def test_new_code_changes_only_the_regions(project: Project) -> None:
    project.code.write_text("RULES = 2\n")
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--all-regions", "--strategy", "canary", "--canary", SECOND, "--no-gate") == {
        "foundation": "unchanged",
        PRIMARY: "applied",
        SECOND: "applied",
        "edge": "unchanged",
    }
    assert project.order([PRIMARY, SECOND]) == [SECOND, PRIMARY]


@pytest.mark.usefixtures("absent")
def test_the_first_deploy_updates_the_schema_after_the_apply_of_the_writers_region(project: Project) -> None:
    project.migrate({"heads": [], "applied": ["0001_first"]})
    results = {unit["region"]: unit for unit in project.mjctl("deploy", "--auto-approve", "--all-regions")["regions"]}
    schema = {"region": PRIMARY, "heads": [], "applied": ["0001_first"]}
    assert {name: unit["database_schema"] for name, unit in results.items()} == {
        **dict.fromkeys(UNITS),
        PRIMARY: schema,
    }
    assert f"[{PRIMARY}] schema: 1 migration applied in {PRIMARY}: 0001_first" in project.errors
    assert project.errors.index(f"[{PRIMARY}] applying") < project.errors.index(f"[{PRIMARY}] updating the schema")
    assert project.errors.index(f"[{PRIMARY}] updating the schema") < project.errors.index(f"[{SECOND}] applying")


@pytest.mark.usefixtures("deployed")
def test_an_update_of_any_region_updates_the_schema_first_and_only_once(project: Project) -> None:
    project.code.write_text("RULES = 4\n")
    project.configure_domain("schema.example.com")
    project.migrate({"heads": ["0001"], "applied": ["0002_second"]})
    results = project.mjctl("deploy", "--auto-approve", "--all-regions")["regions"]
    assert [unit["database_schema"]["applied"] for unit in results if unit["database_schema"]] == [["0002_second"]]
    assert project.errors.count("updating the schema") == 1
    assert project.errors.index("updating the schema") < min(
        project.errors.index(f"[{region}] applying") for region in (PRIMARY, SECOND)
    )


@pytest.mark.usefixtures("deployed")
def test_no_region_is_changed_if_a_migration_fails(project: Project) -> None:
    before = {region: project.published(region) for region in (PRIMARY, SECOND)}
    project.code.write_text("RULES = 5\n")
    project.configure_domain("broken.example.com")
    project.migrate({"error": {"code": "migration_failed", "migration": "0002_second", "message": "no"}})
    results = project.mjctl("deploy", "--auto-approve", "--all-regions", code=4)["regions"]
    outcomes = {unit["region"]: unit["outcome"] for unit in results}
    assert outcomes == {"foundation": "applied", PRIMARY: "failed", SECOND: "not_started", "edge": "not_started"}
    assert "the migration 0002_second failed" in results[1]["error"]["what"]
    assert {region: project.published(region) for region in (PRIMARY, SECOND)} == before
    # The failed deploy leaves nothing that stops the next deploy.
    project.migrate(UP_TO_DATE)
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_no_region_is_changed_if_the_registry_of_a_region_lacks_the_image(project: Project) -> None:
    before = {region: project.published(region) for region in (PRIMARY, SECOND)}
    account = open_account(project.workspace, load_environment(project.workspace, "sandbox"))
    _replicate(account)
    project.code.write_text("RULES = 6\n")
    project.configure_domain("image.example.com")
    results = project.mjctl("deploy", "--auto-approve", "--all-regions", code=4)["regions"]
    outcomes = {unit["region"]: unit["outcome"] for unit in results}
    assert outcomes == {"foundation": "applied", PRIMARY: "not_started", SECOND: "failed", "edge": "not_started"}
    assert f"the registry of {SECOND} has no copy of the game server image" in results[2]["error"]["what"]
    assert {region: project.published(region) for region in (PRIMARY, SECOND)} == before
    _replicate(account, SECOND)
    project.code.write_text("RULES = 7\n")
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_the_gate_observes_a_region_that_players_reach(project: Project) -> None:
    """Deploy regions without a running game: the gate finds the first region unhealthy, and the rollout stops."""
    project.configure(game={"servers_per_zone": 3})
    outcomes = project.deploy("--all-regions", "--strategy", "canary", "--canary", SECOND, code=3)
    assert outcomes == {"foundation": "unchanged", SECOND: "unhealthy", PRIMARY: "not_started", "edge": "not_started"}
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_a_region_is_rolled_back_to_its_last_release(project: Project) -> None:
    project.configure(game={"servers_per_zone": 2})
    assert project.deploy("--region", SECOND)[SECOND] == "applied"
    assert project.outcomes("rollback", "--region", SECOND, "--auto-approve", "--no-gate") == {SECOND: "rolled_back"}
    assert project.outcomes("plan", "--region", SECOND, code=2)[SECOND] == "planned"
    assert project.deploy("--region", SECOND)[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_a_new_output_of_foundation_reaches_every_stack(project: Project) -> None:
    """Change an output of foundation, so that the first plans of the regions and of edge are out of date."""
    project.configure_domain("two.example.com")
    assert project.deploy("--all-regions") == dict.fromkeys(UNITS, "applied")
    assert project.outcomes("plan", "--all-regions") == dict.fromkeys(UNITS, "unchanged")


@pytest.mark.usefixtures("deployed")
def test_approved_plans_are_applied_or_refused_and_never_replaced_by_new_plans(
    project: Project, tmp_path: Path
) -> None:
    project.configure_domain("three.example.com")
    kept = str(tmp_path / "plans")
    project.mjctl("plan", "--all-regions", "--out", kept, code=2)
    assert project.deploy("--all-regions", "--plans", kept, code=4) == {
        "foundation": "applied",
        PRIMARY: "failed",
        SECOND: "failed",
        "edge": "not_started",
    }
    assert "the approved plan does not fit any more" in project.errors
    assert project.deploy("--all-regions")[SECOND] == "applied"


@pytest.mark.usefixtures("deployed")
def test_a_failed_plan_of_the_primary_region_is_reported_as_failed(project: Project) -> None:
    project.configure(game={"tick_rate_hz": 13})
    assert project.outcomes("plan", "--region", PRIMARY, code=4)[PRIMARY] == "failed"


@pytest.mark.usefixtures("deployed")
def test_the_primary_region_cannot_be_destroyed_before_other_regions(project: Project) -> None:
    refused = project.mjctl("destroy", "--region", PRIMARY, "--auto-approve", code=11)
    assert f"the databases of {SECOND} replicate from" in refused["error"]["what"]


@pytest.mark.usefixtures("deployed")
def test_regions_are_destroyed_one_after_another_and_deployed_again(project: Project) -> None:
    # The edge excludes a region, so that players leave the region, before mjctl destroys the region.
    assert project.outcomes("destroy", "--region", SECOND, "--auto-approve") == {"edge": "applied", SECOND: "destroyed"}
    assert project.errors.index("[edge] applying") < project.errors.index(f"[{SECOND}] destroying")
    assert project.published("edge")["regions"] == [PRIMARY]

    # The destruction of the last region destroys the edge too. The foundation stays, because the foundation has the
    # players' data.
    assert project.outcomes("destroy", "--region", PRIMARY, "--auto-approve") == {
        "edge": "destroyed",
        PRIMARY: "destroyed",
    }
    assert project.states() == {**dict.fromkeys(UNITS, "absent"), "foundation": "deployed"}

    # After the destruction of both regions, the primary region is deployed first.
    assert project.deploy("--region", PRIMARY) == {"foundation": "unchanged", PRIMARY: "applied", "edge": "applied"}

    # The other region is deployed again while the primary region stays.
    planned = project.outcomes("plan", "--region", SECOND, code=2)
    assert planned == {"foundation": "unchanged", SECOND: "planned", "edge": "waiting"}
    assert project.deploy("--region", SECOND) == {"foundation": "unchanged", SECOND: "applied", "edge": "applied"}
    assert project.published("edge")["regions"] == [SECOND, PRIMARY]


@pytest.mark.usefixtures("deployed")
def test_the_lock_of_a_dead_run_is_removed(project: Project) -> None:
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
    assert "somebody@elsewhere has locked the state" in refused["error"]["what"]
    assert "--id 1234" in refused["error"]["next"]
    project.mjctl("unlock", "--region", "foundation", "--id", "other", code=6)
    assert "removed" in project.mjctl("unlock", "--region", "foundation", "--id", "1234")["regions"][0]["result"]
    assert "nothing to unlock" in project.mjctl("unlock", "--region", "foundation")["regions"][0]["result"]


@pytest.mark.usefixtures("deployed")
def test_destroy_with_all_regions_destroys_every_unit(project: Project) -> None:
    assert project.outcomes("destroy", "--all-regions", "--auto-approve") == dict.fromkeys(UNITS, "destroyed")
    assert project.order(UNITS, "destroying") == list(reversed(UNITS))
    assert set(project.states().values()) == {"absent"}
    assert project.outcomes("destroy", "--all-regions", "--auto-approve") == dict.fromkeys(UNITS, "unchanged")
