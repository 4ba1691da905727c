"""Plants a fault into a copy of the project, plays a match, and reports which check found it: `make stage-plant`.

Usage: python -m tools.stage.plant PATCH [--output json]

PATCH is a patch for `git apply`, relative to the root of the repository. The copy has its own state and processes,
which the program removes at the end. The exit code is 0 if a check found the fault, and 1 if all checks passed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.checkout import ROOT, tracked_files
from tools.stage.commands import Commands
from tools.stage.play import played_match
from tools.stage.steps import Failure, Steps, remaining

_PARTS = ("configs/", "gameserver/", "terraform/", "web/")


@dataclass(frozen=True)
class Finding:
    """Describes the check that found a planted fault.

    Attributes:
        patch: the name of the patch.
        found_by: the command or the step that found the fault, or None if all steps passed.
        message: the error message of the command or the step.
        seconds: time in seconds until the fault was found.
    """

    patch: str
    found_by: str | None
    message: str
    seconds: float


def copy_with(patch: Path, folder: Path) -> None:
    """Copy the parts of the project that a deploy reads into `folder`, and apply the patch.

    Raises:
        Failure: git cannot apply the patch.
    """
    for name in tracked_files(""):
        if name.startswith(_PARTS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
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


def found(patch: Path, folder: Path, regions: list[str]) -> Finding:
    """Deploy a patched copy in `folder`, check its health and play a match. Returns: the step that found the fault."""
    started = time.monotonic()
    copy_with(patch, folder / "project")
    commands = Commands(folder / "project", folder / "home")
    try:
        Steps(commands, regions).bring_up()
        played_match(commands, regions[0])
    except Failure as failure:
        return Finding(patch.name, failure.step, failure.finding, round(time.monotonic() - started, 1))
    finally:
        commands.run("sandbox", "down")
        for process in remaining(commands):
            process.kill()
    return Finding(patch.name, None, "every check passed", round(time.monotonic() - started, 1))


def main() -> int:
    """Run the deploy of the patched copy, and print the finding."""
    parser = argparse.ArgumentParser(prog="python -m tools.stage.plant", description=__doc__.splitlines()[0])
    parser.add_argument("patch", type=Path)
    parser.add_argument("--region", action="append", help="a region to deploy (repeatable, default: us-east-1)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mjctl-plant-") as folder:
        try:
            finding = found(options.patch, Path(folder), options.region or ["us-east-1"])
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 2
    if options.output == "json":
        print(json.dumps(asdict(finding)))
    elif finding.found_by:
        print(f"{finding.patch}: found after {finding.seconds:.0f} s by {finding.found_by}: {finding.message}")
    else:
        print(f"{finding.patch}: not found; every check passed after {finding.seconds:.0f} s")
    return 0 if finding.found_by else 1


if __name__ == "__main__":
    sys.exit(main())
