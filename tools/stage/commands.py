"""Runs commands of mjctl on a sandbox, as an operator would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mjctl.models.workspace import Workspace

ENVIRONMENT = "sandbox"

_INTERRUPT_SECONDS = 60.0


@dataclass(frozen=True)
class Ran:
    """Holds the result of a command.

    Attributes:
        command: the command without `mjctl`, for messages.
        code: the exit code.
        document: the JSON document that the command printed, or {} if it printed none.
        errors: the text that the command wrote to standard error; "" if standard error was the terminal.
        seconds: duration of the command in seconds.
        late: True if the command exceeded its time limit and was interrupted.
    """

    command: str
    code: int
    document: Mapping[str, Any]
    errors: str
    seconds: float
    late: bool = False


@dataclass(frozen=True)
class Commands:
    """Runs commands on the environment `sandbox` of a project.

    Attributes:
        project: the folder of the checkout, or of a copy of the checkout.
        home: mjctl's home folder, with the state of the sandbox.
        progress: True to show the commands' progress on this terminal.
        environment: environment variables of the commands in addition to those of this process.
    """

    project: Path
    home: Path
    progress: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """Return the folders of the project and of mjctl's state."""
        return Workspace(self.project, self.home)

    def run(self, *arguments: str, limit_seconds: float | None = None) -> Ran:
        """Run a command with `--env sandbox --output json`.

        Args:
            arguments: the command without `mjctl`.
            limit_seconds: the time limit in seconds, after which the command is interrupted as by Ctrl-C.
        """
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "mjctl", *arguments, "--env", ENVIRONMENT, "--output", "json"],
            env={
                **os.environ,
                **self.environment,
                "MJCTL_PROJECT_DIR": str(self.project),
                "MJCTL_HOME": str(self.home),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if self.progress else subprocess.PIPE,
            text=True,
        ) as process:
            late = False
            try:
                printed, errors = process.communicate(timeout=limit_seconds)
            except subprocess.TimeoutExpired:
                late = True
                printed, errors = _interrupted(process)
            except KeyboardInterrupt:
                # The terminal has sent Ctrl-C to the command too. `subprocess.run` would kill the command, which still
                # saves Terraform's state and releases its locks.
                process.communicate()
                raise
        try:
            document = json.loads(printed)
        except ValueError:
            document = {}
        return Ran(" ".join(arguments), process.returncode, document, errors or "", time.monotonic() - started, late)


def _interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Interrupt a command, which then saves Terraform's state and releases its locks. Returns: its two outputs.

    A command that does not end within a minute is killed with its child processes.
    """
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=_INTERRUPT_SECONDS)
    except subprocess.TimeoutExpired:
        for member in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        return process.communicate()
