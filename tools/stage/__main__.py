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

from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox.stage import names
from tools.checkout import ROOT
from tools.stage.checks import check_parts
from tools.stage.commands import ENVIRONMENT, Commands
from tools.stage.play import played_match
from tools.stage.steps import Failure, Steps, remaining

_ADVICE = "`make stage` continues with the resources that exist, and `make stage-down` destroys them"


def main() -> int:
    """Run the steps. Returns the exit code: 0, 1 if a step failed, 2 for wrong arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.stage", description=__doc__.splitlines()[0])
    parser.add_argument("--region", action="append", help="a region to deploy (repeatable, default: us-east-1)")
    parser.add_argument("--home", type=Path, help="mjctl's home folder; default: the folder of the checkout's regions")
    parser.add_argument("--down", action="store_true", help="destroy everything at the end")
    options = parser.parse_args()
    regions = options.region or ["us-east-1"]
    workspace = Workspace.discover(ROOT)
    known = load_environment(workspace, ENVIRONMENT).regions
    if unknown := [region for region in regions if region not in known]:
        parser.error(f"configs/{ENVIRONMENT}.yaml has no region {', '.join(unknown)}: choose from {', '.join(known)}")
    if reason := names.obstacle():
        parser.error(reason)
    started = time.monotonic()
    with ExitStack() as stack:
        if options.down and not options.home:
            options.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mjctl-stage-")))
        commands = Commands(ROOT, options.home or workspace.home)
        steps = Steps(commands, regions, down=options.down)
        try:
            steps.bring_up()
            match = steps.step("a match, as players play it", 25, lambda: played_match(commands, regions[0]))
            parts = steps.step("the other parts of the region", 10, lambda: check_parts(commands, match))
            for line in (*match.lines(), *parts, *steps.summary()):
                print(line)
            if options.down:
                steps.tear_down()
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            print(_ADVICE, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"interrupted; {_ADVICE}", file=sys.stderr)
            return 130
        finally:
            if options.down:
                commands.run("sandbox", "down")
        if left := remaining(commands) if options.down else []:
            print(f"failed: processes of the stage still run: {left}", file=sys.stderr)
            return 1
    print(f"{time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
