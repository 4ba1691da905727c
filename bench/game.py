"""`make bench-game`: players that one core of our game server sustains, beside Colyseus 0.18, in one run.

Our server runs as its image holds it, compiled: JWT joins, validation, rate limits, leases, snapshots, events and
metrics are on (`--uncompiled`: as the local stack runs it). Colyseus runs the same arena and nothing else, tuned (see
game/peer/server.mjs). One core belongs to the server, another to the load generator, Redis and the emulated AWS. Per
server and room size: joins per second, CPU per client-second and memory per connection at one common count of players,
then the most players with a p99 latency below 100 ms at 19.5 ticks a second or more (game/search.py). Repetitions
alternate between the servers. The last line is one JSON object.

About 11 minutes; `--quick`, about 2.
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
from game.servers import Colyseus, OurServer, compiled_in, install_peer, versions
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
    """What all runs share."""

    folder: Path
    services: Services
    binary: Path
    tokens: Path
    server_core: int
    generator_core: int


def run(kind: type[OurServer | Colyseus], plan: Plan, setup: Setup) -> Result:
    server = kind(setup.services, setup.folder, plan.rooms_of, setup.server_core)
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
    results: dict[str, list[Result]] = {"ours": [], "colyseus": []}
    for repetition in range(repetitions):
        # Each begins as often as the other: whatever the machine does over time hits both.
        order: Sequence[type[OurServer | Colyseus]] = (OurServer, Colyseus)
        for kind in order if repetition % 2 == 0 else reversed(order):
            print(f"rooms of {plan.rooms_of}, repetition {repetition + 1}: {kind.name}", file=sys.stderr)
            result = run(kind, plan, setup)
            print(f"  {kind.name}: {result.sustained} players sustained", file=sys.stderr)
            results[kind.name].append(result)
    return results


def summarise(results: dict[str, list[Result]]) -> dict[str, Any]:
    """Medians of each server and the ratios of ours to Colyseus."""
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
    file.touch(mode=0o600)
    file.write_text("".join(f"{services.issuer.token()}\n" for _ in range(_TOKENS)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repetition, rooms of 10, shorter windows")
    parser.add_argument("--uncompiled", action="store_true", help="our server as plain Python")
    parser.add_argument("--repetitions", type=int, default=3, help="of the rooms of 10")
    parser.add_argument("--side-repetitions", type=int, default=1, help="of the rooms of 4 and 40")
    parser.add_argument("--first", type=int, default=1000, help="players at which costs are compared")
    parser.add_argument("--server-core", type=int)
    parser.add_argument("--generator-core", type=int)
    parser.add_argument("--details", type=Path, help="write every window here")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
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
        setup = Setup(folder, services, build(folder), tokens, server_core, generator_core)
        for room_size, repetitions in rooms.items():
            if repetitions:
                plan = Plan(options.first, *((2.0, 0.08) if options.quick else (3.0, 0.04)), rooms_of=room_size)
                results[room_size] = measure(plan, repetitions, setup)
        redis_version = services.redis_version()
    if options.details is not None:
        every = {size: {n: [vars(r) for r in runs] for n, runs in found.items()} for size, found in results.items()}
        options.details.write_text(json.dumps(every, indent=1))
    summaries = {f"rooms_of_{room_size}": summarise(found) for room_size, found in results.items()}
    for name, summary in summaries.items():
        for doubt, meaning in DOUBTS.items():
            if summary[doubt]:
                print(f"warning: {name}: {', '.join(summary[doubt])}: {meaning}", file=sys.stderr)
    report = {
        **summaries,
        "repetitions": rooms,
        "equal_count": options.first,
        "compiled": not options.uncompiled,
        "seconds": round(time.monotonic() - started),
        "machine": machine.describe(),
        "versions": {**versions(), "store": redis_version},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
