"""Runs the steps that deploy the production stacks on this machine, and prints the progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psutil

from mjctl.sandbox import daemon
from mjctl.sandbox.stage import leftovers
from tools.stage.commands import ENVIRONMENT, Commands, Ran

T = TypeVar("T")

_HEALTHY_SECONDS = 120.0

# Duration of each step in seconds on a machine with two idle cores, for the estimate of the remaining time.
_EMULATORS, _BOOTSTRAP, _SHARED_STACKS, _REGION, _HEALTH, _DESTROY = 5, 30, 140, 190, 20, 300


class Failure(Exception):
    """Reports that a step failed.

    Attributes:
        step: the name of the step.
        finding: the failed checks or the error of the command.
        checks: the names of the failed checks of `mjctl health`.
        temporary: True if a slow function can be the cause, so that a second attempt can succeed.
    """

    def __init__(self, step: str, finding: str, checks: Sequence[str] = (), *, temporary: bool = False) -> None:
        super().__init__(f"{step}: {finding}")
        self.step = step
        self.finding = finding
        self.checks = tuple(checks)
        self.temporary = temporary


class Steps:
    """Runs the steps in order, and prints each step's number, duration and an estimate of the remaining time."""

    def __init__(
        self,
        commands: Commands,
        regions: Sequence[str],
        *,
        down: bool = False,
        healthy_seconds: float = _HEALTHY_SECONDS,
        deploy_seconds: float | None = None,
    ) -> None:
        """Prepare the steps.

        Args:
            commands: runs the commands.
            regions: the regions to deploy.
            down: True if the last step destroys everything.
            healthy_seconds: the time in seconds within which every check of `mjctl health` must pass.
            deploy_seconds: the time limit of `mjctl deploy` in seconds, or None for no limit.
        """
        self._commands = commands
        self._regions = tuple(regions)
        self._healthy_seconds = healthy_seconds
        self._deploy_seconds = deploy_seconds
        self._count = 7 if down else 6
        self._number = 0
        self._left = _EMULATORS + _BOOTSTRAP + _SHARED_STACKS + _REGION * len(regions) + _HEALTH + 35.0
        self._left += _DESTROY if down else 0
        self.stack_seconds: dict[str, float] = {}
        self.most_memory_bytes = 0

    def bring_up(self) -> None:
        """Start the emulators, create the state bucket, deploy the regions and check their health.

        Raises:
            Failure: a command failed, or a check of `health` failed.
        """
        self.start()
        self.bootstrap()
        self.deploy()
        self.check_health()

    def start(self) -> None:
        """Start the emulators.

        Raises:
            Failure: the emulators do not start.
        """
        self.step("the emulated AWS", _EMULATORS, lambda: self._mjctl("sandbox", "up"))

    def bootstrap(self) -> None:
        """Create the state bucket.

        Raises:
            Failure: the command failed.
        """
        self.step("bootstrap", _BOOTSTRAP, lambda: self._mjctl("bootstrap", "--auto-approve"))

    def deploy(self) -> None:
        """Deploy the regions.

        Raises:
            Failure: the deploy failed, or exceeded its time limit.
        """
        deployed = self.step(
            f"deploy of {', '.join(self._regions)}",
            _SHARED_STACKS + _REGION * len(self._regions),
            lambda: self._mjctl("deploy", *self._selected, "--auto-approve", limit_seconds=self._deploy_seconds),
        )
        self.stack_seconds = {row["region"]: row["seconds"] for row in deployed.document["regions"]}

    def check_health(self) -> None:
        """Check the health of the regions, until it is good or the time limit is reached.

        Raises:
            Failure: a check of `health` failed.
        """
        self.step("health", _HEALTH, self._healthy)

    def failed_checks(self) -> list[str]:
        """Return the names of the checks of `health` that fail now."""
        return failed_checks(self._commands.run("health", *self._selected))

    def tear_down(self) -> None:
        """Destroy all stacks of the sandbox.

        Raises:
            Failure: `destroy` failed.
        """
        self.step("destroy", _DESTROY, lambda: self._mjctl("destroy", "--all-regions", "--auto-approve"))

    def step(self, name: str, estimate: float, work: Callable[[], T]) -> T:
        """Run one step, which should take `estimate` seconds, and return its result."""
        self._number += 1
        _say(f"[{self._number}/{self._count}] {name}; about {_minutes(self._left)} left")
        started = time.monotonic()
        result = work()
        self._left = max(0.0, self._left - estimate)
        self.most_memory_bytes = max(self.most_memory_bytes, _memory(self._commands))
        _say(f"[{self._number}/{self._count}] {name}: {time.monotonic() - started:.0f} s")
        return result

    def summary(self) -> list[str]:
        """Return lines with the seconds of each stack, the processes and their memory."""
        seconds = ", ".join(f"{name} {value:.0f} s" for name, value in self.stack_seconds.items())
        memory = _memory(self._commands)
        return [
            f"stacks: {seconds}",
            f"processes: {len(processes_of(self._commands))}, memory {memory / 2**20:.0f} MiB "
            "(resident, without Terraform)",
        ]

    @property
    def _selected(self) -> list[str]:
        return [f"--region={region}" for region in self._regions]

    def _healthy(self) -> None:
        """Check the health until it is good, as an operator would after the first use of slow functions.

        Raises:
            Failure: after the time limit a check still fails.
        """
        deadline = time.monotonic() + self._healthy_seconds
        while True:
            try:
                self._mjctl("health", *self._selected)
            except Failure:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _mjctl(self, *arguments: str, limit_seconds: float | None = None) -> Ran:
        ran = self._commands.run(*arguments, limit_seconds=limit_seconds)
        if ran.late:
            raise Failure(f"mjctl {ran.command}", f"did not end within {limit_seconds:.0f} s; {finding_of(ran)}")
        if ran.code != 0:
            raise Failure(f"mjctl {ran.command}", finding_of(ran), failed_checks(ran))
        return ran


def finding_of(ran: Ran) -> str:
    """Return what a failed command reported: the failed checks, the regions' errors or the command's error."""
    document = ran.document
    failed = [check for check in document.get("checks", ()) if check["status"] == "fail"]
    if failed:
        return "; ".join(f"check {check['name']}: {check['summary']}" for check in failed)
    rows = [row for row in document.get("regions", ()) if row.get("error")]
    errors = [(row["region"], row["error"]) for row in rows] or [("", document.get("error") or {})]
    texts = [f"{region + ': ' if region else ''}{error.get('what', '')}".strip() for region, error in errors]
    verdicts = [(row["region"], row["health"]) for row in document.get("regions", ()) if row.get("health")]
    texts += [f"{region}: {'; '.join(verdict['failing'])}" for region, verdict in verdicts if not verdict["healthy"]]
    return "; ".join(text for text in texts if text) or f"exit code {ran.code} {ran.errors[-500:]}"


def failed_checks(ran: Ran) -> list[str]:
    """Return the names of the checks that failed in a run of `mjctl health`."""
    return [check["name"] for check in ran.document.get("checks", ()) if check["status"] == "fail"]


def processes_of(commands: Commands) -> list[psutil.Process]:
    """Return the emulators of the sandbox and all their child processes."""
    folder = commands.workspace.environment_dir(ENVIRONMENT)
    by_pid: dict[int, psutil.Process] = {}
    for emulator in daemon.alive_emulators(folder).values():
        process = psutil.Process(emulator.pid)
        by_pid |= {member.pid: member for member in (process, *process.children(recursive=True))}
    return list(by_pid.values())


def remaining(commands: Commands) -> list[psutil.Process]:
    """Return the processes of the stage that run although the sandbox is down."""
    folder = daemon.stage_folder(commands.workspace.environment_dir(ENVIRONMENT))
    return [*processes_of(commands), *leftovers.processes(folder)]


def _memory(commands: Commands) -> int:
    total = 0
    for process in processes_of(commands):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
