"""Runs Terraform for these tests, with the AWS provider from a local mirror if there is a mirror."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjctl.terraform.providers import cli_configuration, find_mirror
from tools.stage.static_rules import TERRAFORM

# `make stage-plant` checks the rules on a changed copy of terraform/.
TERRAFORM_DIR = Path(os.environ.get(TERRAFORM) or Path(__file__).parents[2] / "terraform")
ACCOUNT_ID = "123456789012"


def environment(folder: Path, endpoints: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables of a Terraform run that cannot reach a real account.

    Args:
        folder: folder for the configuration file of Terraform.
        endpoints: variables with the endpoints of an emulated AWS; None for a run in which no AWS endpoint answers.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_"))}
    configuration = folder / "terraform.rc"
    configuration.write_text(cli_configuration(find_mirror()), encoding="utf-8")
    return {
        **inherited,
        "AWS_ACCESS_KEY_ID": "test",
        # No program listens at this port, so that a request without an emulator's endpoint cannot reach AWS.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1" if endpoints is None else "5",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(configuration),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        **(endpoints or {}),
    }


class TerraformFailed(AssertionError):
    """Reports a run of Terraform with an unexpected exit code, and contains Terraform's output."""


@dataclass(frozen=True)
class Root:
    """Holds an initialised root module.

    Attributes:
        source: folder of the root module, in a copy of terraform/.
        data: Terraform's data folder for this root module.
        variables: environment variables of every run.
    """

    source: Path
    data: Path
    variables: Mapping[str, str]

    def run(self, *arguments: str, codes: Sequence[int] = (0,), timeout: float = 1200) -> str:
        """Run `terraform` and return its output.

        Raises:
            TerraformFailed: the exit code is not in `codes`.
        """
        done = subprocess.run(
            ["terraform", f"-chdir={self.source}", *arguments],
            env={**self.variables, "TF_DATA_DIR": str(self.data)},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode not in codes:
            raise TerraformFailed(
                f"terraform {arguments[0]} in {self.source.name}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout + done.stderr

    def plan(self, inputs: Mapping[str, Any], *options: str) -> dict[str, Any]:
        """Plan and return the plan as JSON. `options` are further options of `terraform plan`."""
        file = self.data / "inputs.tfvars.json"
        file.write_text(json.dumps(inputs), encoding="utf-8")
        self.run("plan", "-no-color", "-lock=false", f"-var-file={file}", f"-out={self.data / 'plan'}", *options)
        plan: dict[str, Any] = json.loads(self.run("show", "-json", str(self.data / "plan")))
        return plan


def copy_tree(folder: Path, *, states_in_files: bool = True) -> Path:
    """Copy terraform/, so that lock files can be written into the copy.

    Args:
        folder: folder below which the copy `terraform` is made.
        states_in_files: whether the stacks keep their states in files, instead of the backend in the code.

    Returns:
        The folder of the copy.
    """
    copy = folder / "terraform"
    shutil.copytree(TERRAFORM_DIR, copy, ignore=shutil.ignore_patterns(".terraform*"))
    for versions in copy.glob("stacks/*/versions.tf"):
        if states_in_files and 'backend "s3"' in versions.read_text(encoding="utf-8"):
            override = versions.with_name("backend_override.tf")
            override.write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
    return copy


def initialised(
    source: Path,
    folder: Path,
    endpoints: Mapping[str, str] | None = None,
    backend: Mapping[str, str] | None = None,
) -> Root:
    """Run `terraform init` for a root module.

    Args:
        source: folder of the root module.
        folder: folder for data and, without `backend`, for the state.
        endpoints: variables with the endpoints of an emulated AWS; None for a run in which no AWS endpoint answers.
        backend: settings of the backend; None for a state file in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = Root(source, folder / "data", environment(folder, endpoints))
    root.data.mkdir(exist_ok=True)
    settings = backend or {"path": str(folder / "terraform.tfstate")}
    root.run("init", "-no-color", *(f"-backend-config={name}={value}" for name, value in settings.items()))
    return root
