"""Plants a fault into a deployed or into a new copy of the project, and finds the check that notices the fault.

A fault is planted in one of two forms:

- `changed deploy`: a base, which is a deployed copy of the project, is restored, changed and deployed again. The form
  takes about two minutes.
- `first deploy`: a new copy of the project is changed and deployed from nothing. The form takes about seven minutes. It
  finds faults that a deployed region does not show, for example a migration that creates no table.

If no check of the stage finds a fault, the rules of production look at the plans of the copy.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from mjctl.files import file_lock, read_json, write_private
from mjctl.terraform.engine import find_engine
from tools.checkout import ROOT, tracked_files
from tools.stage.checks import check_parts
from tools.stage.commands import Commands
from tools.stage.play import played_match
from tools.stage.static_rules import check_rules
from tools.stage.steps import Failure, Steps, remaining

Form = Literal["changed deploy", "first deploy"]
Change = Callable[[Path], None]
"""Changes the copy of the project in a folder."""

_PARTS = ("configs/", "gameserver/", "terraform/", "web/")
# A check that fails for this time does not fail because of a slow function.
_HEALTHY_SECONDS = 90.0
# ECS's circuit breaker ends a deployment of failing tasks after about two minutes. Terraform would wait 20 minutes for
# a deployment that neither fails nor ends.
_CHANGED_DEPLOY_SECONDS = 420.0
_FIRST_DEPLOY_SECONDS = 1200.0


@dataclass(frozen=True)
class Finding:
    """Describes the check that found a planted fault.

    Attributes:
        patch: the name of the patch or of the fault.
        form: whether the fault was planted into a deployed copy or into a new copy.
        found_by: the command or the step that found the fault, or None if all steps passed.
        checks: the names of the failed checks of `mjctl health`.
        message: the error message of the command or the step.
        seconds: time in seconds until the fault was found.
    """

    patch: str
    form: Form
    found_by: str | None
    checks: tuple[str, ...]
    message: str
    seconds: float

    def line(self) -> str:
        """Return the finding as a line of text."""
        where = f"{self.patch} ({self.form})"
        if self.found_by is None:
            return f"{where}: not found; every check passed after {self.seconds:.0f} s"
        return f"{where}: found after {self.seconds:.0f} s by {self.found_by}: {self.message}"


def copy_project(folder: Path) -> None:
    """Copy the parts of the project that a deploy reads into `folder`."""
    for name in _names():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


def apply_patch(patch: Path, folder: Path) -> None:
    """Apply a patch for `git apply` to the copy of the project in `folder`.

    Raises:
        Failure: git cannot apply the patch.
    """
    # Outside of a repository, `git apply` takes paths relative to the working folder.
    done = subprocess.run(
        ["git", "apply", "--verbose", str(patch.resolve())],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure("the patch", f"does not fit: {done.stderr.strip()}")


def found_from_nothing(
    name: str, change: Change, folder: Path, regions: Sequence[str], *, keep: bool = False
) -> Finding:
    """Deploy a new changed copy in `folder`, check its health and play a match. Returns: the step that failed.

    `keep` says whether the resources are saved when the sandbox ends.
    """
    project = folder / "project"
    copy_project(project)
    change(project)
    commands = Commands(project, folder / "home")
    steps = Steps(commands, regions, healthy_seconds=_HEALTHY_SECONDS, deploy_seconds=_FIRST_DEPLOY_SECONDS)

    def deploy() -> None:
        steps.start()
        steps.bootstrap()
        steps.deploy()

    return _finding(name, "first deploy", commands, steps, deploy, regions, keep=keep)


def with_rules(finding: Finding, project: Path) -> Finding:
    """Check the rules of production on the copy in `project`, unless the stage has found the fault.

    Returns: The finding, by the stage or by a rule.
    """
    if finding.found_by is not None:
        return finding
    started = time.monotonic()
    try:
        check_rules(project)
    except Failure as failure:
        seconds = round(finding.seconds + time.monotonic() - started, 1)
        return replace(finding, found_by=failure.step, message=failure.finding, seconds=seconds)
    return finding


class Base:
    """Keeps a deployed copy of the project in a folder, into which faults are planted one after another.

    The folder `kept` has the copy and its home folder as they were after the deploy. The folder `run` is a copy of
    `kept` for one fault. All faults use the path of `run`, because a deployed region contains absolute paths.
    """

    def __init__(self, folder: Path, regions: Sequence[str]) -> None:
        self._folder = folder.resolve()
        self._regions = tuple(regions)
        self._kept = self._folder / "kept"
        self._live = self._folder / "run"
        self._mark = self._folder / "base.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process uses the folder, and reserve the folder until the end of the block."""
        with file_lock(self._folder / "lock"):
            yield

    def deploy(self) -> bool:
        """Deploy the base, unless the folder has a base of this checkout and of these regions.

        Returns:
            True if the base was deployed.

        Raises:
            Failure: the deploy failed, or a check failed without any fault.
        """
        wanted = {"project": _digest(), "regions": list(self._regions)}
        if self._mark.is_file() and read_json(self._mark) == wanted:
            return False
        self._mark.unlink(missing_ok=True)
        for folder in (self._kept, self._live):
            shutil.rmtree(folder, ignore_errors=True)
        finding = found_from_nothing("the base", lambda _project: None, self._live, self._regions, keep=True)
        if finding.found_by is not None:
            raise Failure(finding.found_by, f"without a fault: {finding.message}", finding.checks)
        self._live.rename(self._kept)
        write_private(self._mark, json.dumps(wanted))
        return True

    def found(self, name: str, change: Change) -> Finding:
        """Restore the base, deploy the changed copy over it, check its health and play a match.

        Raises:
            Failure: the change does not fit.
        """
        engine = {"MJCTL_TERRAFORM": str(self._engine())}
        commands = replace(self.restore(), environment=engine)
        steps = Steps(commands, self._regions, healthy_seconds=_HEALTHY_SECONDS, deploy_seconds=_CHANGED_DEPLOY_SECONDS)

        def deploy() -> None:
            steps.start()
            steps.deploy()

        try:
            change(commands.project)
            finding = _finding(name, "changed deploy", commands, steps, deploy, self._regions, keep=False)
            return with_rules(finding, commands.project)
        finally:
            self.remove_copy()

    def restore(self) -> Commands:
        """Copy the base into the folder `run`, without starting its sandbox. Returns: the commands on the copy."""
        self.remove_copy()
        # `cp -a` keeps the owner of the database's files, which is another user if the stage runs as root.
        subprocess.run(["cp", "-a", "--reflink=auto", str(self._kept), str(self._live)], check=True)
        return Commands(self._live / "project", self._live / "home")

    def remove_copy(self) -> None:
        """Remove the folder `run`, whose sandbox must not run."""
        shutil.rmtree(self._live, ignore_errors=True)

    def _engine(self) -> Path:
        """Return a program that runs Terraform, and makes plans without a refresh.

        The state of a restored base is exact. A refresh would read each of its 300 resources, which is most of the
        work of a plan.
        """
        program = self._folder / "terraform"
        command = shlex.join(find_engine().argv)
        program.write_text(
            f'#!/bin/sh\n[ "$1" != plan ] || set -- "$@" -refresh=false\nexec {command} "$@"\n', encoding="utf-8"
        )
        program.chmod(0o700)
        return program


def _finding(
    name: str,
    form: Form,
    commands: Commands,
    steps: Steps,
    deploy: Callable[[], None],
    regions: Sequence[str],
    *,
    keep: bool,
) -> Finding:
    """Deploy, play and check. A match comes before `mjctl health`, because a match waits longer for slow functions.

    If the match fails, one run of `mjctl health` says which of its checks find the fault too.

    Args:
        name: the name of the fault.
        form: the form in which the fault is planted.
        commands: runs the commands on the copy.
        steps: the steps of the deploy.
        deploy: deploys the copy.
        regions: the regions of the deploy. The match is played in the first.
        keep: True to save the resources when the sandbox ends, which takes half a minute.
    """
    started = time.monotonic()
    checks: tuple[str, ...] = ()
    try:
        deploy()
        failure = _played(commands, steps, regions[0])
        if failure is not None:
            checks = tuple(steps.failed_checks())
            # The first calls of the functions may have exceeded API Gateway's limit of 10 s on a busy machine.
            if failure.temporary:
                failure = _played(commands, steps, regions[0])
        if failure is not None:
            raise failure
        checks = ()
        steps.check_health()
    except Failure as failure:
        seconds = round(time.monotonic() - started, 1)
        return Finding(name, form, failure.step, failure.checks or checks, failure.finding, seconds)
    finally:
        end(commands, keep=keep)
    return Finding(name, form, None, (), "every check passed", round(time.monotonic() - started, 1))


def end(commands: Commands, *, keep: bool) -> None:
    """End the sandbox and all processes of its stage. `keep` says whether the resources are saved before."""
    if keep:
        commands.run("sandbox", "down")
    processes = remaining(commands)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, 10)
    if not keep:
        commands.run("sandbox", "down")


def _played(commands: Commands, steps: Steps, region: str) -> Failure | None:
    """Play a match and check the other parts of the region. Returns: the failure, or None."""
    try:
        match = steps.step("a match", 25, lambda: played_match(commands, region))
        check_parts(commands, match)
    except Failure as failure:
        return failure
    return None


def _names() -> list[str]:
    return [name for name in tracked_files("") if name.startswith(_PARTS)]


def _digest() -> str:
    digest = hashlib.sha256()
    for name in _names():
        digest.update(name.encode() + b"\0" + hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()
