"""Runs commands of mjctl on a sandbox, as an operator would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjctl.models.workspace import Workspace

ENVIRONMENT = "sandbox"


@dataclass(frozen=True)
class Ran:
    """Holds the result of a command.

    Attributes:
        command: the command without `mjctl`, for messages.
        code: the exit code.
        document: the JSON document that the command printed, or {} if it printed none.
        errors: the text that the command wrote to standard error; "" if standard error was the terminal.
        seconds: duration of the command in seconds.
    """

    command: str
    code: int
    document: Mapping[str, Any]
    errors: str
    seconds: float


@dataclass(frozen=True)
class Commands:
    """Runs commands on the environment `sandbox` of a project.

    Attributes:
        project: the folder of the checkout, or of a copy of the checkout.
        home: mjctl's home folder, with the state of the sandbox.
        progress: True to show the commands' progress on this terminal.
    """

    project: Path
    home: Path
    progress: bool = True

    @property
    def workspace(self) -> Workspace:
        """Return the folders of the project and of mjctl's state."""
        return Workspace(self.project, self.home)

    def run(self, *arguments: str) -> Ran:
        """Run a command with `--env sandbox --output json`."""
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "mjctl", *arguments, "--env", ENVIRONMENT, "--output", "json"],
            env={**os.environ, "MJCTL_PROJECT_DIR": str(self.project), "MJCTL_HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if self.progress else subprocess.PIPE,
            text=True,
        ) as process:
            try:
                printed, errors = process.communicate()
            except KeyboardInterrupt:
                # The terminal has sent Ctrl-C to the command too. `subprocess.run` would kill the command, which still
                # saves Terraform's state and releases its locks.
                process.communicate()
                raise
        try:
            document = json.loads(printed)
        except ValueError:
            document = {}
        return Ran(" ".join(arguments), process.returncode, document, errors or "", time.monotonic() - started)
