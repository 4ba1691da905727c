"""Plants a fault into a copy of the project, plays a match, and reports which check found it: `make stage-plant`.

Usage: python -m tools.stage.plant PATCH... [--base FOLDER] [--region REGION]... [--output json]

PATCH is a patch for `git apply`, relative to the root of the repository. Without `--base`, a single patch is deployed
from nothing, which takes about seven minutes. Several patches share a base, which is deployed once without a patch.
Each patch is then deployed over a restored copy of the base, which takes about two minutes. `--base` keeps the base in
a folder for later runs, and uses the base for a single patch too. A fault that only a first deploy shows, for example a
migration that creates no table, needs the form without a base. If no check of the stage finds the fault, the program
checks the rules of production (tools/well_architected) on the plans of the copy, which takes two minutes.

The copies have their own state and processes, which the program removes at the end. The exit codes are:

- 0: checks found all faults
- 1: all checks passed for a fault
- 2: a patch does not fit, or the base cannot be deployed
- 130: Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tools.stage.planting import Base, Finding, apply_patch, copy_project, found_from_nothing, with_rules
from tools.stage.steps import Failure

Planter = Callable[[str, Callable[[Path], None]], Finding]


def main() -> int:
    """Deploy each patched copy, and print the findings. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.stage.plant", description=__doc__.splitlines()[0])
    parser.add_argument("patch", type=Path, nargs="+", help="a patch for `git apply`")
    add_options(parser)
    options = parser.parse_args()
    regions = options.region or ["us-east-1"]
    findings: list[Finding] = []
    try:
        _check_fit(options.patch)
        with ExitStack() as stack:
            plant: Planter
            if len(options.patch) == 1 and options.base is None:
                plant = partial(from_nothing, regions)
            else:
                plant = stack.enter_context(deployed_base(options.base, regions)).found
            for patch in options.patch:
                findings.append(plant(patch.name, partial(apply_patch, patch)))
                if options.output == "text":
                    print(findings[-1].line(), flush=True)
    except Failure as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the copies are removed", file=sys.stderr)
        return 130
    if options.output == "json":
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    return 0 if all(finding.found_by for finding in findings) else 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all programs with planted faults have."""
    parser.add_argument("--base", type=Path, help="a folder that keeps the base for later runs")
    parser.add_argument("--region", action="append", help="a region to deploy (repeatable, default: us-east-1)")
    parser.add_argument("--output", choices=("text", "json"), default="text")


def from_nothing(regions: Sequence[str], name: str, change: Callable[[Path], None]) -> Finding:
    """Find a fault that `change` plants into a new copy of the project, and remove the copy."""
    with tempfile.TemporaryDirectory(prefix="mjctl-plant-", ignore_cleanup_errors=True) as folder:
        finding = found_from_nothing(name, change, Path(folder), regions)
        return with_rules(finding, Path(folder) / "project")


@contextmanager
def deployed_base(folder: Path | None, regions: Sequence[str]) -> Iterator[Base]:
    """Return a base, and deploy the base if the folder has none. Without a folder, the base is removed at the end.

    Raises:
        Failure: the base cannot be deployed.
    """
    with ExitStack() as stack:
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="mjctl-plant-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(temporary))
        base = Base(folder, regions)
        stack.enter_context(base.locked())
        base.deploy()
        yield base


def _check_fit(patches: Sequence[Path]) -> None:
    """Apply each patch to a copy of the project, because a deploy before a patch that does not fit would be in vain.

    Raises:
        Failure: a patch does not fit.
    """
    for patch in patches:
        with tempfile.TemporaryDirectory(prefix="mjctl-plant-") as folder:
            copy_project(Path(folder))
            apply_patch(patch, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
