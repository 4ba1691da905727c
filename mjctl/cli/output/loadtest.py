"""Text output of `mjctl loadtest`: a line of progress while the bots play, and a report at the end."""

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
    """Shows the progress of the bots: a terminal has one line that changes, a log gets a line every ten seconds."""

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
        """Show how many bots, matches and errors all regions have together.

        Args:
            tallies: region -> the counts of the region until now.
        """
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
    """Return a block of text for each region without an error."""
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
        + (f"; {tally.throttled} calls repeated because of the API's rate limits" if tally.throttled else "")
    )
    parts: list[RenderableType] = [head, facts, _latencies(tally)]
    parts += [styled((f"{count} x {error}", "red")) for error, count in tally.errors.most_common(10)]
    if tally.interrupted:
        parts.append(Text("interrupted: the report has the results until then", style="yellow"))
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
        summary = Percentiles.of(samples)
        figures = (summary.p50, summary.p95, summary.p99, summary.max)
        cells = ["-" if value is None else f"{value:.1f}" for value in figures]
        table.add_row(name, str(summary.count), *cells)
    return table


def _verdict(report: LoadReport) -> Text:
    """Return as text whether the matches are stored correctly, with the ids of wrong matches and players."""
    verification = report.verification
    if verification is None and report.tally.interrupted:
        return Text("no match had ended, so no stored result was checked", style="yellow")
    if verification is None:
        return Text("no match could be started, so no stored result was checked", style="red")
    if verification.complete:
        return Text(
            f"verified: {verification.matches} of {verification.matches} matches are in PostgreSQL once, with every "
            f"player, and in DynamoDB as ended ({verification.waited_seconds:.1f} s after the last match)",
            style="green",
        )
    gaps = {
        "matches not ended in PostgreSQL": verification.missing_in_database,
        "players missing in PostgreSQL": verification.missing_players_in_database,
        "matches not ended in DynamoDB": verification.missing_in_table,
        "matches with other scores than the players saw": verification.wrong_scores,
        "players counted twice": verification.duplicated,
        "players whose standing is not the sum of their matches": verification.counted_wrongly,
    }
    lines = [
        f"  {len(ids)} {gap}: {', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}" for gap, ids in gaps.items() if ids
    ]
    return Text(
        f"checked {verification.matches} matches and waited {verification.waited_seconds:.1f} s; WRONG:\n"
        + "\n".join(lines),
        style="red",
    )
