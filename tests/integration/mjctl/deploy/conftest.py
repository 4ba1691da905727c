"""A project with a tiny stack that real Terraform applies. The apply fails if the release has a file named BROKEN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy import gate
from mjctl.deploy.executor import Deployment, PlannedUnit, discard
from mjctl.deploy.gate import Gate
from mjctl.deploy.planner.desired_state import LocalPlanner
from mjctl.deploy.releases.store import ReleaseStore, UnitReleases
from mjctl.deploy.rollout import Rollout, RolloutPlan
from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.config_file import load_environment
from mjctl.models.deployment import Phase, UnitResult
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import find_engine
from mjctl.terraform.events import Event
from mjctl.terraform.runner import Cancellation, Runner

MAIN = """\
terraform {
  backend "local" {}
}
variable "region" {
  type = string
}
variable "region_dir" {
  type = string
}
variable "release_dir" {
  type = string
}
variable "revision" {
  type = string
}
variable "game" {
  type = any
}
resource "terraform_data" "server" {
  triggers_replace = [var.revision]
  provisioner "local-exec" {
    command = "cd ${var.release_dir}/gameserver && test ! -e BROKEN && cp word ${var.region_dir}/word"
  }
}
resource "terraform_data" "size" {
  input = var.game.servers_per_zone
}
output "contract" {
  value = {
    version = 1, project = "test", environment = "test", target = "local", region = var.region
    zones = [], tables = {}, topics = {}, queues = {}, keys = {}, backup = {}
    aws       = { account_id = "000000000000" }
    endpoints = { api = "http://127.0.0.1:1" }
    cache     = { url = "redis://127.0.0.1:1/0" }
    database  = { host = "127.0.0.1", port = 1, name = "x", user = "x", secret = "file:/x", tls = false }
    identity  = { user_pool_id = "x", client_id = "x", issuer = "x", jwks_url = "x" }
    fleet     = { kind = "supervisor" }
  }
  depends_on = [terraform_data.server]
}
"""

CONFIG = """\
project: test
target: local
regions:
  us-east-1: {zones: [us-east-1a, us-east-1b, us-east-1c]}
  eu-west-1: {zones: [eu-west-1a, eu-west-1b, eu-west-1c]}
  ap-northeast-1: {zones: [ap-northeast-1a, ap-northeast-1c, ap-northeast-1d]}
"""

REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-1")


@dataclass
class Recorder:
    """Records the notes and the finished regions of a deployment."""

    notes: list[str] = field(default_factory=list)
    finished_regions: list[str] = field(default_factory=list)

    def phase(self, unit: str, phase: Phase) -> None: ...

    def event(self, unit: str, event: Event) -> None: ...

    def note(self, unit: str, text: str) -> None:
        self.notes.append(f"{unit}: {text}")

    def finished(self, result: UnitResult) -> None:
        self.finished_regions.append(result.unit)


@dataclass
class Project:
    workspace: Workspace
    environment: Environment
    reporter: Recorder = field(default_factory=Recorder)
    observations: list[str] = field(default_factory=list)
    sick: set[str] = field(default_factory=set)
    """The words of unhealthy code. A region that runs such code (see `word`) fails its gate."""

    @property
    def store(self) -> ReleaseStore:
        return ReleaseStore(self.workspace, self.environment)

    @property
    def planner(self) -> LocalPlanner:
        return LocalPlanner(self.workspace, self.environment, self.store)

    @property
    def deployment(self) -> Deployment:
        runner = Runner(find_engine(), Cancellation())
        return Deployment(self.store, runner, self.reporter, concurrency=self.environment.concurrency)

    def write(self, word: str, *, broken: bool = False) -> str:
        """Write new code to the working tree and return its revision."""
        package = self.workspace.project_dir / "gameserver"
        package.mkdir(exist_ok=True)
        (package / "word").write_text(word)
        (package / "BROKEN").unlink(missing_ok=True)
        if broken:
            (package / "BROKEN").touch()
        return self.store.of_working_tree().revision

    def word(self, region: str) -> str:
        """Return the word of the code that runs in the region. The provisioner of the stack has written the word."""
        return (self.workspace.region_dir("test", region) / "word").read_text()

    def releases(self, region: str) -> UnitReleases:
        return UnitReleases(self.planner.stack(region))

    async def plan(self, regions: Sequence[str] = REGIONS, **options: Any) -> list[PlannedUnit]:
        release = self.store.of_working_tree()
        self.store.keep(release)
        return await self.deployment.plan([self.planner.for_release(name, release) for name in regions], **options)

    async def deploy(
        self, plan: RolloutPlan | None = None, regions: Sequence[str] = REGIONS, *, gated: bool = False
    ) -> dict[str, UnitResult]:
        planned = await self.plan(regions)
        checks = Gate(self._observe) if gated else None
        try:
            results = await Rollout(self.deployment, self.planner, plan or RolloutPlan(), checks).run(planned)
        finally:
            discard(planned)
        return {result.unit: result for result in results}

    async def _observe(self, region: str) -> list[CheckResult]:
        self.observations.append(region)
        status = CheckStatus.FAIL if self.word(region) in self.sick else CheckStatus.PASS
        return [CheckResult("login", region, status, f"runs {self.word(region)}", severity=Severity.CRITICAL)]


@pytest.fixture(autouse=True)
def _gate_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_PAUSE_SECONDS", "_PAUSE_AFTER_BAD_SECONDS"):
        monkeypatch.setattr(gate, pause, 0.0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    source = tmp_path / "project" / "terraform" / "stacks" / "local"
    source.mkdir(parents=True)
    (source / "main.tf").write_text(MAIN)
    configs = tmp_path / "project" / "configs"
    configs.mkdir()
    (configs / "test.yaml").write_text(CONFIG)
    workspace = Workspace(tmp_path / "project", tmp_path / "home")
    project = Project(workspace, load_environment(workspace, "test"))
    project.write("one")
    return project
