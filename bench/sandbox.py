"""Measures deploy, plan and destroy of the production stacks on an emulated AWS, with one and two regions.

`make bench-sandbox` takes about 25 minutes on two quiet cores. Much of the 25 minutes is fixed waits of the AWS
provider. The measured deploy starts without resources, the measured plan has no changes, and the measured destroy
removes all resources. The last line of the output is a JSON object with the seconds by command and by stack.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import find_engine

PROJECT = Workspace.discover(Path(__file__)).project_dir


class Sandbox:
    """Runs mjctl on a copy of the project with its own state, so that edits do not affect the measurement."""

    def __init__(self, folder: Path) -> None:
        self._project, self._home = folder / "project", folder / "home"
        ignored = shutil.ignore_patterns("__pycache__", ".terraform*")
        for part in ("configs", "gameserver", "terraform"):
            shutil.copytree(PROJECT / part, self._project / part, ignore=ignored)
        self.regions = tuple(load_environment(Workspace(self._project, self._home), "sandbox").regions)

    def mjctl(self, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Run a command of mjctl, and return its seconds and its JSON document.

        Ends the benchmark if the command fails.
        """
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments, "--env", "sandbox", "--output", "json"],
            env={**os.environ, "MJCTL_PROJECT_DIR": str(self._project), "MJCTL_HOME": str(self._home)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"mjctl {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return round(time.monotonic() - started, 1), json.loads(done.stdout)


def measured(sandbox: Sandbox, regions: tuple[str, ...]) -> dict[str, Any]:
    """Deploy, plan and destroy an environment, and return the seconds by command."""
    named = [f"--region={region}" for region in regions]
    figures: dict[str, Any] = {}
    for command, arguments in (
        ("deploy", [*named, "--auto-approve"]),
        ("plan", named),
        ("destroy", ["--all-regions", "--auto-approve"]),
    ):
        seconds, document = sandbox.mjctl(command, *arguments)
        stacks = {row["region"]: row["seconds"] for row in document["regions"]}
        figures[command] = {"seconds": seconds, "stacks": stacks}
        print(f"{len(regions)} region(s), {command}: {seconds} s", file=sys.stderr)
    return figures


def main() -> None:
    """Run the benchmark, and print its results."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="mjctl-bench-") as folder:
        sandbox = Sandbox(Path(folder))
        sandbox.mjctl("sandbox", "up")
        try:
            sandbox.mjctl("bootstrap", "--auto-approve")
            results = {
                str(count): measured(sandbox, sandbox.regions[:count]) for count in range(1, len(sandbox.regions) + 1)
            }
        finally:
            sandbox.mjctl("sandbox", "down")
    versions = {name: version(name) for name in ("ministack", "moto")} | {"terraform": find_engine().version}
    print(
        json.dumps({"regions": results, "versions": versions, "cores": os.cpu_count(), "machine": platform.machine()})
    )


if __name__ == "__main__":
    main()
