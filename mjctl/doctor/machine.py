"""Contains the checks of `mjctl doctor`. The checks change nothing on the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.config_file import environment_names, load_environment
from mjctl.models.errors import MjctlError
from mjctl.models.workspace import Workspace

# A local region was measured to need 0.6 GiB of memory and 0.2 GiB of disk. The checks of memory and disk warn below at
# least twice these measured sizes, because matches and logs need room too.
_MEMORY_BYTES = 1.2 * 1024**3
_DISK_BYTES = 0.5 * 1024**3
_SUPPORTED = ((3, 11), (3, 14))
_Finding = tuple[CheckStatus, str, str | None]


def examine(workspace: Workspace) -> list[CheckResult]:
    """Run all checks and return their results. A check that raises an error does not stop the other checks."""
    checks: dict[str, Callable[[], _Finding]] = {
        "python": _python,
        "system": _system,
        "project": lambda: _project(workspace),
        "home": lambda: _home(workspace),
        "terraform": _terraform,
        "redis": _redis,
        "postgresql": _postgresql,
        "supervisor": lambda: _package("supervisor", "runs the local processes"),
        "emulated-aws": lambda: _package("ministack", "emulates AWS on this machine"),
        "sockets": _sockets,
        "memory": _memory,
    }
    return [_run(name, check) for name, check in checks.items()]


def _run(name: str, check: Callable[[], _Finding]) -> CheckResult:
    started = time.monotonic()
    try:
        status, summary, hint = check()
    except MjctlError as error:
        status, summary, hint = CheckStatus.FAIL, str(error), error.hint
    return CheckResult(name, "", status, summary, hint, time.monotonic() - started)


def _python() -> _Finding:
    version = platform.python_version()
    oldest, newest = _SUPPORTED
    if oldest <= sys.version_info[:2] <= newest:
        return CheckStatus.PASS, f"Python {version}", None
    wanted = f"{'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
    return CheckStatus.FAIL, f"Python {version}", f"use Python {wanted}: PYTHON=python3.13 make up"


def _system() -> _Finding:
    name = f"{platform.system()} {platform.machine()}"
    if platform.system() in ("Linux", "Darwin"):
        return CheckStatus.PASS, name, None
    return CheckStatus.WARN, name, "the target `local` runs only on Linux and macOS: use a machine with one of these"


def _project(workspace: Workspace) -> _Finding:
    names = environment_names(workspace)
    for name in names:
        load_environment(workspace, name)
    return CheckStatus.PASS, f"{workspace.project_dir}: environments {', '.join(names)}", None


def _home(workspace: Workspace) -> _Finding:
    """Check that this user can write to mjctl's home folder or create it, and that its disk has free space."""
    folder = next(path for path in (workspace.home, *workspace.home.parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        hint = f"give this user the right to write to {folder}, or set MJCTL_HOME to another folder"
        return CheckStatus.FAIL, f"cannot write to {workspace.home}", hint
    free = shutil.disk_usage(folder).free
    summary = f"{workspace.home}: {free / 1024**3:.1f} GiB free"
    if free < _DISK_BYTES:
        return CheckStatus.WARN, summary, "free disk space, or set MJCTL_HOME to a folder on another disk"
    return CheckStatus.PASS, summary, None


def _terraform() -> _Finding:
    from mjctl.terraform.engine import find_engine

    engine = find_engine()
    return CheckStatus.PASS, f"Terraform {engine.version} from {engine.source}", None


def _redis() -> _Finding:
    from mjctl.local.programs import redis_binary

    return CheckStatus.PASS, str(redis_binary()), None


def _postgresql() -> _Finding:
    from mjctl.local.layout import Layout
    from mjctl.local.postgres import installations
    from mjctl.local.unix_account import check_database_user

    check_database_user([Layout(Path("/nonexistent"))])
    return CheckStatus.PASS, str(installations()[0]), None


def _package(name: str, purpose: str) -> _Finding:
    try:
        return CheckStatus.PASS, f"{name} {importlib.metadata.version(name)}", None
    except importlib.metadata.PackageNotFoundError:
        hint = "run in the checkout: pip install --editable '.[local]'"
        return CheckStatus.FAIL, f"the package `{name}`, which {purpose}, is not installed", hint


def _sockets() -> _Finding:
    from mjctl.local.layout import private_runtime_dir

    return CheckStatus.PASS, str(private_runtime_dir()), None


def _memory() -> _Finding:
    free = psutil.virtual_memory().available
    summary = f"{free / 1024**3:.1f} GiB available, temporary files in {Path(tempfile.gettempdir())}"
    if free < _MEMORY_BYTES:
        return CheckStatus.WARN, summary, "end other programs: a local region needs about 0.6 GiB of memory"
    return CheckStatus.PASS, summary, None
