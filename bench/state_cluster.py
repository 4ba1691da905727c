"""Compares the CPU time per player of this project's game server with a state store in cluster mode and without (`make
bench-state-cluster`).

Both servers run at the same time on the same core, compiled, with the same number of players, as in the comparison of
two revisions (game_revisions.py). Each server has its own Redis. One Redis runs in cluster mode with one shard, as the
state store on AWS by default. The result is the median of the ratios of the two CPU times in windows of 10 s.

A run with six rounds of three windows takes about six minutes. The last line of the output is a JSON object.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from game import machine
from game.generator import build
from game_revisions import PROJECT, Contender, compared, compile_tree, measure, options_for, reserve_cores


def main() -> None:
    """Run the benchmark, and print its results."""
    options = options_for(__doc__).parse_args()
    cores = reserve_cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-state-cluster-")))
        compile_tree(PROJECT, folder / "without")
        shutil.copytree(folder / "without", folder / "with")
        binary = build(folder)
        contenders = {
            name: Contender(folder / name, binary, options.players, cores, stack, state_cluster=name == "with")
            for name in ("without", "with")
        }
        results = measure(contenders, options.rounds, options.windows)
    report = {**compared(results, "without", "with"), "players": options.players, "machine": machine.describe()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
