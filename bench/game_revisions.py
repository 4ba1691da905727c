"""Compares the CPU time per player of two game servers: the server of this checkout and the server of another revision
(`make bench-revisions REVISION=v0.1.0`).

Both servers run at the same time on the same core, compiled, with the same number of players. A change of the machine's
speed therefore affects both servers alike. Each server has its own Redis, emulated AWS and load generator, and all
these processes share another core. In each window of 10 s, the benchmark computes the ratio of the two CPU times. The
result is the median of the ratios. In half of the rounds, the server of the other revision starts first.

The other revision must understand the settings and the Redis keys of this checkout's benchmark. A run with five rounds
of three windows takes about five minutes. The last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from game import machine
from game.generator import Generator, build
from game.search import Plan, Search
from game.servers import OurServer, compiled_in
from game.services import Services
from game_server import make_tokens

from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
ROOM_SIZE = 10
_COMPILE = "import sys; from pathlib import Path; from gameserver.compilation import compile_into; "


def compile_tree(tree: Path, folder: Path) -> None:
    """Compile the game server in the checkout `tree` for a server whose files are in `folder`."""
    folder.mkdir()
    program = f"{_COMPILE}compile_into(Path({str(compiled_in(folder))!r}))"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, "-c", program], cwd=tree, env=environment, check=True, stderr=subprocess.DEVNULL)


class Contender:
    """Runs the game server of one revision and the server's services."""

    def __init__(
        self,
        folder: Path,
        binary: Path,
        players: int,
        cores: tuple[int, int],
        stack: ExitStack,
        *,
        state_cluster: bool = False,
    ) -> None:
        """Start the services of the server.

        Args:
            folder: folder of the compiled server and of its logs.
            binary: path of the compiled load generator.
            players: number of players.
            cores: the CPU core of the game servers, and the CPU core of all other processes.
            stack: the exit stack that ends the services.
            state_cluster: True to run the server's Redis in cluster mode with one shard.
        """
        self._folder, self._binary, self._cores = folder, binary, cores
        self._plan = Plan(players, 10.0, 0.04, ROOM_SIZE)
        (folder / "services").mkdir()
        self._services = stack.enter_context(Services(folder / "services", cores[1], state_cluster=state_cluster))
        make_tokens(self._services, folder / "tokens")

    def start(self, stack: ExitStack) -> Search:
        """Start the server and let the players join. The exit stack `stack` ends the server."""
        server_core, other_core = self._cores
        server = OurServer(self._services, self._folder, ROOM_SIZE, server_core)
        stack.callback(server.close)
        generator = Generator(
            self._binary,
            server.protocol,
            server.port,
            ROOM_SIZE,
            self._folder / "tokens",
            other_core,
            self._folder / "loadgen.log",
        )
        stack.callback(generator.close)
        search = Search(server, generator, self._plan, server_core=server_core, generator_core=other_core)
        search.bring(self._plan.first)
        return search


def measure(contenders: dict[str, Contender], rounds: int, windows: int) -> dict[str, list[dict[str, Any]]]:
    """Measure both servers at the same time. Returns the windows of each server, in the same order."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        with ExitStack() as stack:
            searches = {name: contenders[name].start(stack) for name in order}
            with ThreadPoolExecutor(len(searches)) as pool:
                for _ in range(windows):
                    measured = {name: pool.submit(search.window) for name, search in searches.items()}
                    for name, window in measured.items():
                        results[name].append(window.result())
    return results


def options_for(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every comparison of two servers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=500, help="number of players of each server")
    parser.add_argument("--rounds", type=int, default=6, help="how often both servers start")
    parser.add_argument("--windows", type=int, default=3, help="windows of 10 s in each round")
    return parser


def reserve_cores() -> tuple[int, int]:
    """Let this process use one core. Returns the core of the game servers, and the core of all other processes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this benchmark needs two cores: one for the servers and one for everything else")
    os.sched_setaffinity(0, {cores[0]})
    machine.raise_file_limit()
    return cores[-1], cores[0]


def compared(results: dict[str, list[dict[str, Any]]], base: str, other: str) -> dict[str, Any]:
    """Return the median CPU time of each server, and the ratios of the server `other` to the server `base`."""
    costs = {name: [w["server_cpu"] * 1000 / w["clients"] for w in windows] for name, windows in results.items()}
    ratios = [round(cost / before, 3) for before, cost in zip(costs[base], costs[other], strict=True)]
    return {
        "cpu_ms_per_client_second": {name: round(statistics.median(values), 4) for name, values in costs.items()},
        f"ratio_{other}_to_{base}": round(statistics.median(ratios), 3),
        "ratios": ratios,
    }


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = options_for(__doc__)
    parser.add_argument("revision", help="the other revision, as git names it")
    options = parser.parse_args()
    cores = reserve_cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-revisions-")))
        other = folder / "checkout"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(other), options.revision], check=True)
        stack.callback(subprocess.run, [*git, "remove", "--force", str(other)], check=True)
        compile_tree(other, folder / "other")
        compile_tree(PROJECT, folder / "this")
        binary = build(folder)
        contenders = {
            name: Contender(folder / name, binary, options.players, cores, stack) for name in ("other", "this")
        }
        results = measure(contenders, options.rounds, options.windows)
    report = {
        **compared(results, "other", "this"),
        "revision": options.revision,
        "players": options.players,
        "machine": machine.describe(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
