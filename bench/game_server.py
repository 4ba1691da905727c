"""Measures how many players a core sustains, with this project's game server and with Colyseus 0.18 (`make
bench-game`).

This project's game server runs compiled, as in its image, with rate limits, leases, snapshots, events, metrics and
checks of access tokens and inputs on. `--uncompiled` runs this project's game server as plain Python, as target
`local` does. Colyseus runs the game `arena` only; docs/benchmarks.md describes the transport and the flags of Colyseus.
The measured server has a core for itself. The load generator, Redis and the emulated AWS share another core.

For each server and room size the benchmark measures joins per second, CPU per client-second and memory per connection
at a common number of players. After these measurements the benchmark searches for the most players with a p99 latency
below 100 ms and at least 19.5 ticks a second (game/search.py). The order of the two servers changes with each
repetition. The last line of the output is a JSON object.

A run takes about 12 minutes, with `--quick` about 2 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from game import machine
from game.generator import Generator, build
from game.search import Plan, Result, Search
from game.servers import (
    NODE_ENV,
    SEMI_SPACE_MIB,
    Colyseus,
    OurServer,
    compiled_in,
    install_peer,
    node_flags,
    versions,
)
from game.services import Services

from gameserver.compilation import compile_into

MAIN_ROOM = 10
SIDE_ROOMS = (4, 40)
_TOKENS = 6000
DOUBTS = {
    "generator_limited": "the load generator may have been the bottleneck",
    "disturbed": "other processes took time of the server's core; measure again on a quiet machine",
    "cut_short": "the time for a run was over before the search ended",
}


@dataclass(frozen=True)
class Setup:
    """Holds the values that all measurements share.

    Attributes:
        folder: temporary folder for logs and files.
        services: Redis, the emulated AWS and the issuer of tokens.
        binary: path of the compiled load generator.
        tokens: file with an access token in each line.
        server_core: number of the CPU core of the measured server.
        generator_core: number of the CPU core of the load generator and the services.
        semi_space_mib: size in MiB of a semi-space of the peer's V8 heap.
    """

    folder: Path
    services: Services
    binary: Path
    tokens: Path
    server_core: int
    generator_core: int
    semi_space_mib: int


def run(kind: type[OurServer | Colyseus], plan: Plan, setup: Setup) -> Result:
    """Start a server and the load generator, measure the server by `plan`, and stop the two processes."""
    server: OurServer | Colyseus
    if kind is Colyseus:
        server = Colyseus(setup.folder, plan.rooms_of, setup.server_core, setup.semi_space_mib)
    else:
        server = OurServer(setup.services, setup.folder, plan.rooms_of, setup.server_core)
    try:
        log = setup.folder / f"loadgen-{kind.name}.log"
        generator = Generator(
            setup.binary, kind.protocol, server.port, plan.rooms_of, setup.tokens, setup.generator_core, log
        )
        try:
            return Search(
                server, generator, plan, server_core=setup.server_core, generator_core=setup.generator_core
            ).run()
        finally:
            generator.close()
    finally:
        server.close()


def measure(plan: Plan, repetitions: int, setup: Setup) -> dict[str, list[Result]]:
    """Measure both servers `repetitions` times. Returns the results by the server's name."""
    results: dict[str, list[Result]] = {"ours": [], "colyseus": []}
    for repetition in range(repetitions):
        # Measure the two servers in alternating order, so that a change of the machine's speed over time affects both
        # servers alike.
        order: Sequence[type[OurServer | Colyseus]] = (OurServer, Colyseus)
        for kind in order if repetition % 2 == 0 else reversed(order):
            print(f"rooms of {plan.rooms_of}, repetition {repetition + 1}: {kind.name}", file=sys.stderr)
            result = run(kind, plan, setup)
            print(f"  {kind.name}: {result.sustained} players sustained", file=sys.stderr)
            results[kind.name].append(result)
    return results


def summarise(results: dict[str, list[Result]]) -> dict[str, Any]:
    """Return the medians of each server, the ratios of this project's server to Colyseus, and doubts about the runs."""
    figures: dict[str, Callable[[Result], float]] = {
        "clients_sustained": lambda r: r.sustained,
        "p99_ms_at_sustained": lambda r: r.at_sustained.get("latency_p99_ms", 0.0),
        "tick_rate_hz_at_sustained": lambda r: r.at_sustained.get("frames_hz", 0.0),
        "cpu_ms_per_client_second": lambda r: r.cpu_ms_per_client_second,
        "memory_per_connection_kib": lambda r: r.memory_per_connection_kib,
        "joins_per_second": lambda r: r.joins_per_second,
        "p50_ms_at_equal_count": lambda r: r.at_first["latency_p50_ms"],
        "p99_ms_at_equal_count": lambda r: r.at_first["latency_p99_ms"],
        "frame_bytes": lambda r: r.at_first["frame_bytes"],
    }
    summary: dict[str, Any] = {
        name: {figure: round(statistics.median(map(read, runs)), 3) for figure, read in figures.items()}
        for name, runs in results.items()
    }
    ours, peer = summary["ours"], summary["colyseus"]
    for figure in ("clients_sustained", "cpu_ms_per_client_second", "memory_per_connection_kib", "joins_per_second"):
        summary[f"ratio_{figure}"] = round(ours[figure] / peer[figure], 2) if peer[figure] else None
    summary["each_clients_sustained"] = {name: [r.sustained for r in runs] for name, runs in results.items()}
    doubts: dict[str, Callable[[Result], bool]] = {
        "generator_limited": lambda r: r.generator_limited,
        "disturbed": lambda r: r.disturbed,
        "cut_short": lambda r: r.cut_short,
    }
    for doubt, holds in doubts.items():
        summary[doubt] = [f"{name} {i + 1}" for name, runs in results.items() for i, r in enumerate(runs) if holds(r)]
    summary["our_counters"] = results["ours"][-1].evidence
    return summary


def make_tokens(services: Services, file: Path) -> None:
    """Write access tokens of different players into `file`, which only this user can read."""
    file.touch(mode=0o600)
    file.write_text("".join(f"{services.issuer.token()}\n" for _ in range(_TOKENS)))


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="measure each server once, with rooms of 10 players and shorter windows"
    )
    parser.add_argument(
        "--uncompiled", action="store_true", help="run this project's server as plain Python, not compiled"
    )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="how often each server is measured with rooms of 10 players"
    )
    parser.add_argument(
        "--side-repetitions",
        type=int,
        default=1,
        help="how often each server is measured with rooms of 4 and of 40 players",
    )
    parser.add_argument(
        "--first", type=int, default=1000, help="number of players at which the servers' CPU and memory are compared"
    )
    parser.add_argument(
        "--semi-space", type=int, default=SEMI_SPACE_MIB, help="--max-semi-space-size of Colyseus's Node, in MiB"
    )
    parser.add_argument("--server-core", type=int, help="number of the CPU core of the measured server")
    parser.add_argument(
        "--generator-core", type=int, help="number of the CPU core of the load generator, Redis and the emulated AWS"
    )
    parser.add_argument("--details", type=Path, help="file for the JSON with the figures of every window")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this benchmark needs two cores: one for the server and one for the load generator")
    server_core = options.server_core if options.server_core is not None else cores[-1]
    generator_core = options.generator_core if options.generator_core is not None else cores[0]
    os.sched_setaffinity(0, {generator_core})
    machine.raise_file_limit()
    started = time.monotonic()
    install_peer()
    rooms = {MAIN_ROOM: options.repetitions, **dict.fromkeys(SIDE_ROOMS, options.side_repetitions)}
    if options.quick:
        rooms = {MAIN_ROOM: 1}
    results: dict[int, dict[str, list[Result]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-game-") as name, Services(Path(name), generator_core) as services:
        folder = Path(name)
        tokens = folder / "tokens"
        make_tokens(services, tokens)
        if not options.uncompiled:
            compile_into(compiled_in(folder))
        setup = Setup(folder, services, build(folder), tokens, server_core, generator_core, options.semi_space)
        for room_size, repetitions in rooms.items():
            if repetitions:
                plan = Plan(options.first, *((2.0, 0.08) if options.quick else (3.0, 0.04)), rooms_of=room_size)
                results[room_size] = measure(plan, repetitions, setup)
        redis_version = services.redis_version()
    if options.details is not None:
        every = {size: {n: [vars(r) for r in runs] for n, runs in both.items()} for size, both in results.items()}
        options.details.write_text(json.dumps(every, indent=1))
    summaries = {f"rooms_of_{room_size}": summarise(both) for room_size, both in results.items()}
    for name, summary in summaries.items():
        for doubt, meaning in DOUBTS.items():
            if summary[doubt]:
                print(f"warning: {name}: {', '.join(summary[doubt])}: {meaning}", file=sys.stderr)
    report = {
        **summaries,
        "repetitions": rooms,
        "equal_count": options.first,
        "compiled": not options.uncompiled,
        "peer": {"transport": "ws", "node_flags": node_flags(options.semi_space), "NODE_ENV": NODE_ENV},
        "seconds": round(time.monotonic() - started),
        "machine": machine.describe(),
        "versions": {**versions(), "store": redis_version},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
