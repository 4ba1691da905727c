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
    """

    def __init__(self, step: str, finding: str) -> None:
        super().__init__(f"{step}: {finding}")
        self.step = step
        self.finding = finding


class Steps:
    """Runs the steps in order, and prints each step's number, duration and an estimate of the remaining time."""

    def __init__(self, commands: Commands, regions: Sequence[str], *, down: bool = False) -> None:
        self._commands = commands
        self._regions = tuple(regions)
        self._count = 6 if down else 5
        self._number = 0
        self._left = _EMULATORS + _BOOTSTRAP + _SHARED_STACKS + _REGION * len(regions) + _HEALTH + 25.0
        self._left += _DESTROY if down else 0
        self.stack_seconds: dict[str, float] = {}
        self.most_memory_bytes = 0

    def bring_up(self) -> None:
        """Start the emulators, create the state bucket, deploy the regions and check their health.

        Raises:
            Failure: a command failed, or a check of `health` failed.
        """
        selected = [f"--region={region}" for region in self._regions]
        self.step("the emulated AWS", _EMULATORS, lambda: self._mjctl("sandbox", "up"))
        self.step("bootstrap", _BOOTSTRAP, lambda: self._mjctl("bootstrap", "--auto-approve"))
        deployed = self.step(
            f"deploy of {', '.join(self._regions)}",
            _SHARED_STACKS + _REGION * len(self._regions),
            lambda: self._mjctl("deploy", *selected, "--auto-approve"),
        )
        self.stack_seconds = {row["region"]: row["seconds"] for row in deployed.document["regions"]}
        self.step("health", _HEALTH, lambda: self._healthy(selected))

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

    def _healthy(self, selected: Sequence[str]) -> None:
        """Check the health until it is good, as an operator would after the first use of slow functions.

        Raises:
            Failure: after two minutes a check still fails.
        """
        deadline = time.monotonic() + _HEALTHY_SECONDS
        while True:
            try:
                self._mjctl("health", *selected)
            except Failure:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _mjctl(self, *arguments: str) -> Ran:
        ran = self._commands.run(*arguments)
        if ran.code != 0:
            raise Failure(f"mjctl {ran.command}", finding_of(ran))
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
    return "; ".join(text for text in texts if text) or f"exit code {ran.code} {ran.errors[-500:]}"


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
