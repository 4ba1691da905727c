"""Measures the interruptions when game servers are killed, stopped and restarted during matches (`make
bench-failover`).

The benchmark deploys a local region in a temporary folder. Groups of bots play match after match. At random moments the
owner of a match is killed (SIGKILL) or stopped (SIGSTOP). A stopped server continues after the take-over, unless the
watchdog has killed it first. After the attacks, all servers are restarted in turn while 200 players play. A queue on
the events topic receives all events, each with the id of the server that wrote the event. The last line of the output
is a JSON object. A run takes about 9 minutes; smaller `--runs` and `--players` shorten the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failover.players import Group, Played, sign_up
from failover.records import Absence, Recorder, audit
from failover.region import REGION, SEATS, Home, Region, until

from gameserver.client import PlayerConnection
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import state
from mjctl.fleet.control import restart
from mjctl.models.contract import Contract

GROUPS = 4
_RESUMED_WITHIN_SECONDS = 20.0
_TIME_LEFT_SECONDS = 8.0
_ANY_MATCH_SECONDS = 60.0
_WATCH_AFTER_WAKING_SECONDS = 1.0


@dataclass
class Attacks:
    """Counts the outcomes of one kind of attack, SIGKILL or SIGSTOP.

    Attributes:
        runs: number of attacks with the signal.
        resumed: number of attacks after which all players returned in time.
        matches: number of matches that the attacked servers owned.
        matches_resumed: number of matches to which all players returned in time.
        seconds: for each player the seconds from the last message of the old server to the welcome of the new server.
        woken: number of stopped servers that continued.
        killed_by_watchdog: number of stopped servers that the watchdog killed before they continued.
        writes_after_take_over: number of checks that found a write or a lease of a match's former owner.
        snapshots_checked: number of checks for a write or a lease of a match's former owner.
        absences: periods in which stopped servers did not own their former matches.
    """

    runs: int = 0
    resumed: int = 0
    matches: int = 0
    matches_resumed: int = 0
    seconds: list[float] = field(default_factory=list)
    woken: int = 0
    killed_by_watchdog: int = 0
    writes_after_take_over: int = 0
    snapshots_checked: int = 0
    absences: list[Absence] = field(default_factory=list)


async def attack(region: Region, groups: Sequence[Group], number: signal.Signals, attacks: Attacks) -> None:
    """Send a signal to the owner of a random match at a random moment, and wait until other servers run its matches.

    Args:
        region: the local region whose servers are attacked.
        groups: the groups of bots that play.
        number: the signal, SIGKILL or SIGSTOP.
        attacks: the counts of this kind of attack, which the function updates.
    """
    await region.all_serve()
    await asyncio.sleep(random.random())
    ready: list[Group] = []

    async def any_ready() -> bool:
        ready[:] = [g for g in groups if g.seats and g.until - time.monotonic() > _TIME_LEFT_SECONDS]
        return bool(ready)

    if not await until(any_ready, _ANY_MATCH_SECONDS):
        raise RuntimeError("no match is under way")
    owner = await region.directory.owner(random.choice(ready).match_id)
    pid = await region.pid(owner) if owner else None
    if owner is None or pid is None:
        return await attack(region, groups, number, attacks)
    process = os.pidfd_open(pid)
    try:
        hit = [g for g in groups if g.seats and await region.directory.owner(g.match_id) == owner]
        before = {seat: seat.reconnects for group in hit for seat in group.seats}
        matches = [group.match_id for group in hit]
        signal.pidfd_send_signal(process, number)
        stopped_ms = time.time() * 1000

        async def all_back() -> bool:
            return all(_back(seat, count) for seat, count in before.items())

        await until(all_back, _RESUMED_WITHIN_SECONDS)
        resumed = [all(_back(s, n) for s, n in before.items() if s.match_id == match) for match in matches]
        attacks.runs += 1
        attacks.resumed += all(resumed)
        attacks.matches += len(matches)
        attacks.matches_resumed += sum(resumed)
        attacks.seconds += [s.samples.interruptions[n].seconds for s, n in before.items() if s.reconnects > n]
        if number is signal.SIGSTOP:
            await _wake(region, process, owner, matches, attacks)
            now_ms = time.time() * 1000
            attacks.absences += [Absence(match, owner, stopped_ms, now_ms) for match in matches]
    finally:
        os.close(process)
    return None


def _back(seat: PlayerConnection, reconnects_before: int) -> bool:
    over = seat.ended.done() and not seat.ended.cancelled() and seat.ended.exception() is None
    return over or seat.reconnects > reconnects_before


async def _wake(region: Region, process: int, owner: str, matches: Sequence[str], attacks: Attacks) -> None:
    """Continue the stopped owner `owner`.

    Check that other servers keep the leases of the stopped owner's matches, and that no snapshot returns to an earlier
    tick.
    """
    await asyncio.sleep(random.uniform(0.0, 3.0))
    try:
        signal.pidfd_send_signal(process, signal.SIGCONT)
    except ProcessLookupError:
        attacks.killed_by_watchdog += 1
        return
    attacks.woken += 1
    ticks = {match: await region.snapshot_tick(match) for match in matches}
    deadline = time.monotonic() + _WATCH_AFTER_WAKING_SECONDS
    while time.monotonic() < deadline:
        for match, newest in ticks.items():
            tick = await region.snapshot_tick(match)
            holder = await region.directory.owner(match)
            attacks.writes_after_take_over += tick >= 0 and (tick < newest or holder == owner)
            attacks.snapshots_checked += 1
            ticks[match] = tick
        await asyncio.sleep(0.02)


async def under_attack(region: Region, groups: Sequence[Group], runs: int, played: Played) -> dict[str, Attacks]:
    """Run all attacks with SIGKILL and SIGSTOP while the groups play. Returns the counts by signal."""
    stop = asyncio.Event()
    playing = []
    for group in groups:
        playing.append(asyncio.create_task(group.play_until(stop, played)))
        # Start the groups' matches at different times, so that the matches also end at different times and there is
        # always a match to attack.
        await asyncio.sleep(2.0)
    outcomes = {}
    for number in (signal.SIGKILL, signal.SIGSTOP):
        attacks = outcomes[number.name] = Attacks()
        for run in range(1, runs + 1):
            await attack(region, groups, number, attacks)
            print(f"{number.name} {run}: {attacks.resumed} resumed, {attacks.seconds[-1:]} s", file=sys.stderr)
    stop.set()
    await asyncio.gather(*playing)
    return outcomes


async def rolling(region: Region, groups: Sequence[Group], played: Played) -> dict[str, Any]:
    """Restart every server in turn while all groups play, and return the counts."""
    await region.all_serve()
    playing = [asyncio.create_task(group.play_once(played)) for group in groups]
    while not all(group.seats for group in groups):
        if failed := [task for task in playing if task.done()]:
            failed[0].result()
        await asyncio.sleep(0.05)
    changes = await restart(region.contract, [], lambda text: print(text, file=sys.stderr))
    outcomes = await asyncio.gather(*playing, return_exceptions=True)
    ended = {group.match_id for group in groups if group.match_id in played.results}
    return {
        "players": sum(len(group.bots) for group in groups),
        "servers": len(changes),
        "matches": len(groups),
        "matches_handed_over": sum(change.matches for change in changes),
        "matches_dropped": len(groups) - len(ended) + sum(isinstance(outcome, Exception) for outcome in outcomes),
        "pauses": len(played.pauses),
        "pause_seconds_p50": _median(played.pauses),
        "pause_seconds_longest": round(max(played.pauses, default=0.0), 3),
    }


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None


def _summary(attacks: Attacks) -> dict[str, Any]:
    return {
        "runs": attacks.runs,
        "runs_resumed": attacks.resumed,
        "matches": attacks.matches,
        "matches_resumed": attacks.matches_resumed,
        "players_resumed": len(attacks.seconds),
        "resume_seconds_p50": _median(attacks.seconds),
        "resume_seconds_max": round(max(attacks.seconds, default=0.0), 3),
        "woken": attacks.woken,
        "killed_by_watchdog": attacks.killed_by_watchdog,
        "writes_after_take_over": attacks.writes_after_take_over,
        "snapshots_checked": attacks.snapshots_checked,
    }


async def measure(contract: Contract, runs: int, players: int) -> dict[str, Any]:
    """Run the attacks and the rolling restart, audit the events after each of these phases, and return all figures."""
    attacked, exchanged = Played(), Played()
    with RegionClients(contract) as clients:
        async with state(contract, clients) as redis, AsyncExitStack() as stack:
            region = Region(contract, clients, redis)
            recorder = Recorder(region)
            bots = await sign_up(contract, max(players, GROUPS * SEATS), attacked, stack)
            async with recorder.recording():
                small = [Group(bots[at * SEATS : (at + 1) * SEATS], "failover") for at in range(GROUPS)]
                outcomes = await under_attack(region, small, runs, attacked)
                absences = outcomes[signal.SIGSTOP.name].absences
                after_attacks = await audit(region, recorder, attacked, absences)
                large = [Group(bots[at : at + 10], "rolling") for at in range(0, players, 10)]
                rolled = await rolling(region, large, exchanged)
                after_rolling = await audit(region, recorder, exchanged, earlier=attacked.tally)
    return {
        **{name.lower(): _summary(attacks) for name, attacks in outcomes.items()},
        "after_attacks": after_attacks,
        "rolling_restart": rolled,
        "after_rolling": after_rolling,
    }


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=50, help="number of attacks with each of the signals SIGKILL and SIGSTOP"
    )
    parser.add_argument(
        "--players", type=int, default=200, help="number of players during the rolling restart, a multiple of 10"
    )
    arguments = parser.parse_args()
    # Turn SIGTERM into SystemExit, so that `finally` destroys the region also if another process terminates the
    # benchmark.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="mjctl-failover-"))
    home = Home(folder)
    try:
        home.mjctl("deploy", "--region", REGION, "--auto-approve")
        result = asyncio.run(measure(home.contract(), arguments.runs, arguments.players))
    finally:
        home.mjctl("destroy", "--all-regions", "--auto-approve")
        shutil.rmtree(folder)
    result |= {
        "seconds": round(time.monotonic() - began, 1),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
