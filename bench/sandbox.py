"""`make bench-sandbox`: the production stacks on an emulated AWS by mjctl, over one region and over two.

For each: deploy from nothing, a plan with nothing to change, destroy to nothing. About 25 minutes on two quiet cores,
much of it the AWS provider's own fixed waits. The last line is one JSON object: seconds by command and by stack.
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
    """A copy of the project, whose code stays as it is while this runs, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self._project, self._home = folder / "project", folder / "home"
        ignored = shutil.ignore_patterns("__pycache__", ".terraform*")
        for part in ("configs", "gameserver", "terraform"):
            shutil.copytree(PROJECT / part, self._project / part, ignore=ignored)
        self.regions = tuple(load_environment(Workspace(self._project, self._home), "sandbox").regions)

    def mjctl(self, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Seconds of a command, and its document."""
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
    """One environment from nothing to nothing."""
    named = [f"--region={region}" for region in regions]
    found: dict[str, Any] = {}
    for command, arguments in (
        ("deploy", [*named, "--auto-approve"]),
        ("plan", named),
        ("destroy", ["--all-regions", "--auto-approve"]),
    ):
        seconds, document = sandbox.mjctl(command, *arguments)
        stacks = {one["region"]: one["seconds"] for one in document["regions"]}
        found[command] = {"seconds": seconds, "stacks": stacks}
        print(f"{len(regions)} region(s), {command}: {seconds} s", file=sys.stderr)
    return found


def main() -> None:
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
