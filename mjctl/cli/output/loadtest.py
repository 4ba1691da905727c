"""How a load test looks: one line while it runs, a report at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.status import Status
from rich.text import Text

from mjctl.cli.output.tables import Column, DataTable, styled
from mjctl.loadtest.model import LoadTally, Percentiles

if TYPE_CHECKING:
    from mjctl.cli.output.console import SafeConsole
    from mjctl.clients.regions import RegionOutcome
    from mjctl.loadtest.model import LoadReport

_LINE_INTERVAL_SECONDS = 10.0


class PlayProgress:
    """On a terminal one line that changes; in a log a line every ten seconds."""

    def __init__(self, console: SafeConsole, bots: int) -> None:
        self._console = console
        self._bots = bots
        self._status = Status("signing up", console=console) if console.draws else None
        self._started = time.monotonic()
        self._next_line = self._started

    def __enter__(self) -> PlayProgress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, tallies: Mapping[str, LoadTally]) -> None:
        signed_up = sum(len(tally.signed_up) for tally in tallies.values())
        started = sum(len(tally.started) for tally in tallies.values())
        ended = sum(len(tally.ended) for tally in tallies.values())
        errors = sum(sum(tally.errors.values()) for tally in tallies.values())
        line = (
            f"{time.monotonic() - self._started:.0f} s: {signed_up}/{self._bots} bots signed up, "
            f"{started} matches started, {ended} ended, {errors} errors"
        )
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() >= self._next_line:
            self._next_line += _LINE_INTERVAL_SECONDS
            self._console.print(line)


def render(outcomes: list[RegionOutcome[LoadReport]]) -> Group:
    """One block a region."""
    parts: list[RenderableType] = []
    for outcome in outcomes:
        if outcome.value is not None:
            parts += [*_block(outcome.value), Text()]
    return Group(*parts[:-1])


def _block(report: LoadReport) -> list[RenderableType]:
    plan, tally = report.plan, report.tally
    head = styled(
        (report.region, "bold"),
        f"  {len(tally.signed_up)} bots, `{plan.mode}` in groups of {plan.players_per_match}, "
        f"{tally.playing_seconds:.1f} s of play, run {plan.run_id}",
    )
    facts = Text(
        f"matches: {len(tally.started)} started, {len(tally.ended)} ended; "
        f"{tally.frames} frames, {tally.reconnects} reconnects"
        + (f"; {tally.throttled} calls put off by the API's limits" if tally.throttled else "")
    )
    parts: list[RenderableType] = [head, facts, _latencies(tally)]
    parts += [styled((f"{count} x {error}", "red")) for error, count in tally.errors.most_common(10)]
    if tally.interrupted:
        parts.append(Text("interrupted: this is what there was until then", style="yellow"))
    parts.append(_verdict(report))
    return parts


def _latencies(tally: LoadTally) -> RenderableType:
    table = DataTable(
        Column("LATENCY (ms)"),
        Column("SAMPLES", 4, right=True),
        Column("P50", 1, right=True),
        Column("P95", 2, right=True),
        Column("P99", 1, right=True),
        Column("MAX", 3, right=True),
    )
    rows = {"input to state": tally.input_to_state_ms}
    rows |= {f"API {name.replace('_', ' ')}": samples for name, samples in sorted(tally.api_ms.items())}
    for name, samples in rows.items():
        found = Percentiles.of(samples)
        cells = ["-" if value is None else f"{value:.1f}" for value in (found.p50, found.p95, found.p99, found.max)]
        table.add_row(name, str(found.count), *cells)
    return table


def _verdict(report: LoadReport) -> Text:
    """What the look at the stores found, in words that can be checked."""
    found = report.verification
    if found is None and report.tally.interrupted:
        return Text("no match had ended, so there is none to look for", style="yellow")
    if found is None:
        return Text("no match could be started, so there is none to look for", style="red")
    if found.complete:
        return Text(
            f"looked: {found.matches} of {found.matches} matches are in PostgreSQL once, with every player, "
            f"and in DynamoDB as ended ({found.waited_seconds:.1f} s after the last one)",
            style="green",
        )
    gaps = {
        "not ended in PostgreSQL": found.missing_in_database,
        "players missing in PostgreSQL": found.missing_players_in_database,
        "not ended in DynamoDB": found.missing_in_table,
        "with other scores than the players saw": found.wrong_scores,
        "players counted twice": found.duplicated,
        "players whose standing is not the sum of their matches": found.counted_wrongly,
    }
    lines = [
        f"  {len(ids)} {gap}: {', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}" for gap, ids in gaps.items() if ids
    ]
    return Text(
        f"looked for {found.matches} matches and waited {found.waited_seconds:.1f} s; WRONG:\n" + "\n".join(lines),
        style="red",
    )
