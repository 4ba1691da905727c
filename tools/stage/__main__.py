"""Deploys the production stacks to a sandbox on this machine, and plays a match: `make stage`.

Usage: python -m tools.stage [--region REGION]... [--home FOLDER] [--down]

Each step prints its number, its duration and an estimate of the remaining time. The steps run the same commands that an
operator would type. At the end, the stage keeps running. With `--down`, the last step destroys everything, and checks
that no process and no address is left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tools.checkout import ROOT
from tools.stage.commands import Commands
from tools.stage.play import played_match
from tools.stage.steps import Failure, Steps, processes_of


def main() -> int:
    """Run the steps, and return the exit code: 1 if a step failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.stage", description=__doc__.splitlines()[0])
    parser.add_argument("--region", action="append", help="a region to deploy (repeatable, default: us-east-1)")
    parser.add_argument("--home", type=Path, help="mjctl's home folder; default: the folder of the checkout's regions")
    parser.add_argument("--down", action="store_true", help="destroy everything at the end")
    options = parser.parse_args()
    regions = options.region or ["us-east-1"]
    started = time.monotonic()
    with ExitStack() as stack:
        if options.down and not options.home:
            options.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mjctl-stage-")))
        commands = Commands(ROOT, options.home or ROOT / ".mjctl")
        steps = Steps(commands, regions, down=options.down)
        try:
            steps.bring_up()
            match = steps.step("a match, as players play it", 25, lambda: played_match(commands, regions[0]))
            for line in (*match.lines(), *steps.summary()):
                print(line)
            if options.down:
                steps.tear_down()
        except Failure as failure:
            print(f"\nfailed: {failure}", file=sys.stderr)
            return 1
        finally:
            if options.down:
                commands.run("sandbox", "down")
                if left := processes_of(commands):
                    print(f"processes are left: {left}", file=sys.stderr)
    print(f"{time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
