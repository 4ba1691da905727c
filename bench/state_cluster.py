"""Compares the CPU time per player of this project's game server with a state store in cluster mode and without (`make
bench-state-cluster`).

Both servers run at the same time on the same core, compiled, with the same number of players, as in the comparison of
two revisions (game_revisions.py). Each server has its own Redis. One Redis runs in cluster mode with one shard, as the
state store on AWS by default. The result is the median of the ratios of the two CPU times in windows of 10 s.

A run with six rounds of three windows takes about six minutes. The last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from game import machine
from game.generator import build
from game_revisions import PROJECT, Contender, compile_tree, measure


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=500, help="number of players of each server")
    parser.add_argument("--rounds", type=int, default=6, help="how often both servers start")
    parser.add_argument("--windows", type=int, default=3, help="windows of 10 s in each round")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this benchmark needs two cores: one for the servers and one for everything else")
    os.sched_setaffinity(0, {cores[0]})
    machine.raise_file_limit()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-state-cluster-")))
        compile_tree(PROJECT, folder / "without")
        shutil.copytree(folder / "without", folder / "with")
        binary = build(folder)
        contenders = {
            name: Contender(
                folder / name, binary, options.players, (cores[-1], cores[0]), stack, state_cluster=name == "with"
            )
            for name in ("without", "with")
        }
        results = measure(contenders, options.rounds, options.windows)
    costs = {name: [w["server_cpu"] * 1000 / w["clients"] for w in windows] for name, windows in results.items()}
    ratios = [round(after / before, 3) for before, after in zip(costs["without"], costs["with"], strict=True)]
    report = {
        "cpu_ms_per_client_second": {name: round(statistics.median(values), 4) for name, values in costs.items()},
        "ratio_with_to_without": round(statistics.median(ratios), 3),
        "ratios": ratios,
        "players": options.players,
        "machine": machine.describe(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
