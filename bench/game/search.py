"""Searches for the number of players that a server sustains, with the same procedure for every server.

The search starts with the same number of players for every server, and raises the number by a quarter until a number
fails. Then the search halves the gap between the last number that passed and the first number that failed, until the
gap is small. A number of players passes if one of two windows keeps the limits for latency and tick rate. The search
measures the second window if the first window fails, because a disturbance of the machine may be the cause.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from game import machine
from game.generator import Generator
from game.servers import Server

LATENCY_P99_MS = 100.0
TICK_RATE_HZ = 19.5
MOST_PLAYERS = 12_000
GENERATOR_CPU = 0.85
GENERATOR_LAG_MS = 5.0
OTHERS_ON_SERVER_CORE = 0.03
_SETTLE_SECONDS = 1.0
_WARM_SECONDS = 3.0
"""Time before the costs are measured, in which V8 compiles the code and Python specialises it."""

_RUN_SECONDS = 100.0
_CLIMB = 1.25


@dataclass(frozen=True)
class Plan:
    """Describes a search.

    Attributes:
        first: number of players in the first window, in which the servers' CPU and memory are compared.
        window_seconds: length of a window of measurement.
        gap: relative gap between a number of players that passed and a number that failed, at which the search stops.
        rooms_of: number of players in a room.
    """

    first: int
    window_seconds: float
    gap: float
    rooms_of: int

    def whole_rooms(self, players: float) -> int:
        """Return the multiple of the room size that is nearest to `players`, and at least a single room."""
        return max(1, round(players / self.rooms_of)) * self.rooms_of


@dataclass
class Result:
    """Holds the figures of one search on one server.

    Attributes:
        sustained: the most players at which a window kept the limits for latency and tick rate.
        at_sustained: the figures of the window with `sustained` players.
        joins_per_second: players who joined in a second at the start of the search.
        memory_per_connection_kib: growth of the server's resident memory in KiB for each player of the first window.
        cpu_ms_per_client_second: CPU time of the server in ms for each player and second of the first window.
        at_first: the figures of the first window.
        evidence: counters of the server, which show that the server's features were on.
        cut_short: True if the time limit ended the search before the gap was small enough; `sustained` may then be too
            low.
        windows: the figures of all windows of the search.
    """

    sustained: int = 0
    at_sustained: dict[str, Any] = field(default_factory=dict)
    joins_per_second: float = 0.0
    memory_per_connection_kib: float = 0.0
    cpu_ms_per_client_second: float = 0.0
    at_first: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, float] = field(default_factory=dict)
    cut_short: bool = False
    windows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def generator_limited(self) -> bool:
        """Return whether the load generator was near its own limit in a window that failed."""
        return any(
            not window["passed"]
            and (window["generator_cpu"] > GENERATOR_CPU or window["lag_p99_ms"] > GENERATOR_LAG_MS)
            for window in self.windows
        )

    @property
    def disturbed(self) -> bool:
        """Return whether other processes used more of the server's core than `OTHERS_ON_SERVER_CORE` (median)."""
        return bool(statistics.median(w["others_on_server_core"] for w in self.windows) > OTHERS_ON_SERVER_CORE)


class Search:
    """Runs one search on a freshly started server."""

    def __init__(
        self, server: Server, generator: Generator, plan: Plan, *, server_core: int, generator_core: int
    ) -> None:
        self._server = server
        self._generator = generator
        self._plan = plan
        self._server_core = server_core
        self._generator_core = generator_core
        self._rooms = 0
        self._result = Result()

    def run(self) -> Result:
        """Measure CPU and memory in the first window, and then find out how many players the server sustains."""
        self._first()
        self._sustained()
        self._result.evidence = self._server.evidence()
        return self._result

    def _first(self) -> None:
        plan, result, pid = self._plan, self._result, self._server.process.pid
        idle = machine.resident_bytes(pid)
        joined = self.bring(plan.whole_rooms(plan.first))
        result.joins_per_second = joined.joined / joined.seconds
        if joined.players < joined.wanted:
            joined = self.bring(plan.whole_rooms(plan.first))
        if joined.players < joined.wanted:
            raise RuntimeError(f"{self._server.name}: only {joined.players} of {joined.wanted} players joined")
        time.sleep(_WARM_SECONDS)
        window = self.window()
        result.at_first = window
        result.cpu_ms_per_client_second = window["server_cpu"] * 1000 / window["clients"]
        result.memory_per_connection_kib = (machine.resident_bytes(pid) - idle) / joined.players / 1024

    def _sustained(self) -> None:
        plan, deadline = self._plan, time.monotonic() + _RUN_SECONDS
        low, high, count = 0, 0, plan.whole_rooms(plan.first)
        while True:
            if time.monotonic() > deadline:
                self._result.cut_short = True
                break
            if self._passes(count):
                low = count
            else:
                high = count
            if not high:
                count = plan.whole_rooms(low * _CLIMB)
                if count > MOST_PLAYERS:
                    break
            elif high - low <= max(plan.gap * high, plan.rooms_of):
                break
            else:
                count = plan.whole_rooms((low + high) / 2)
                if count in {low, high}:
                    break
        self._result.sustained = low

    def _passes(self, count: int) -> bool:
        joined = self.bring(count)
        if joined.players < joined.wanted:
            self._say(f"{joined.players} of {count} players joined")
            return False
        for _ in range(2):
            window = self.window()
            if window["passed"]:
                self._result.at_sustained = window
                return True
        return False

    def bring(self, count: int) -> Any:
        """Let players join or leave until `count` players play, and return the generator's report."""
        rooms = count // self._plan.rooms_of
        if rooms > self._rooms:
            self._server.make_room(self._generator, rooms - self._rooms)
        self._rooms = rooms
        return self._generator.players(count)

    def window(self) -> dict[str, Any]:
        """Measure the server and its players in one window, and return the figures."""
        time.sleep(_SETTLE_SECONDS)
        before = self._usage()
        window = self._generator.measure(self._plan.window_seconds)
        server_cpu, server_core, generator_core = (
            (after - earlier) / window["seconds"] for earlier, after in zip(before, self._usage(), strict=True)
        )
        window["server_cpu"] = round(server_cpu, 3)
        window["others_on_server_core"] = round(max(0.0, server_core - server_cpu), 3)
        window["generator_core_busy"] = round(generator_core, 3)
        window["passed"] = (
            window["latency_p99_ms"] < LATENCY_P99_MS
            and window["frames_hz"] >= TICK_RATE_HZ
            and not any(window["errors"].values())
        )
        self._result.windows.append(window)
        self._say(
            "{clients} players: p50 {latency_p50_ms} p99 {latency_p99_ms} max {latency_max_ms} ms, {frames_hz:.2f} Hz, "
            "server {server_cpu:.0%} (others on its core {others_on_server_core:.0%}), generator {generator_cpu:.0%} "
            "(core {generator_core_busy:.0%}, lag p99 {lag_p99_ms} ms), {frame_bytes:.0f} B a frame{}".format(
                "" if window["passed"] else " - fails", **window
            )
        )
        return window

    def _usage(self) -> tuple[float, float, float]:
        """Return three CPU times in seconds: of the server, of the server's core, and of the generator's core."""
        return (
            machine.cpu_seconds(self._server.process.pid),
            machine.busy_seconds(self._server_core),
            machine.busy_seconds(self._generator_core),
        )

    def _say(self, text: str) -> None:
        print(f"  {self._server.name}: {text}", file=sys.stderr)
