"""`mjctl loadtest`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.options import EnvOption, EveryRegionOption, OutputOption, RegionOption
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.errors import NotFoundError, UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.clients.regions import RegionOutcome
    from mjctl.loadtest.model import LoadPlan, LoadReport
    from mjctl.models.environment import Environment


def loadtest(
    *,
    players: Annotated[
        int, typer.Option("--players", "-n", metavar="COUNT", min=1, max=5000, help="Bots in each region.")
    ] = 10,
    duration: Annotated[
        float,
        typer.Option("--duration", "-d", metavar="SECONDS", min=1, help="Seconds in which matches are begun."),
    ] = 20.0,
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="A mode of the environment.")] = "sprint",
    matches_of: Annotated[
        int | None,
        typer.Option("--matches-of", metavar="COUNT", min=1, help="Players a match; default: its seats."),
    ] = None,
    settle: Annotated[
        float,
        typer.Option("--settle", metavar="SECONDS", min=0, help="Seconds the queue may take to drain afterwards."),
    ] = 30.0,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Let bots play, measure, then check that each match is stored.

    No match is begun that could not end in time. Afterwards every match must be in PostgreSQL and in DynamoDB as
    ended, every player in it, and every standing must be the sum of the player's matches: exit code 14 if not.
    Ctrl-C ends the play and reports what there is.

    Example: mjctl loadtest --region us-east-1 --players 20 --duration 20
    """
    from mjctl.cli.output.documents.observe import load_entry, load_fields
    from mjctl.cli.output.loadtest import PlayProgress, render
    from mjctl.cli.target import Target, conclude
    from mjctl.loadtest.run import run_loadtest

    target = Target(env, region, output, all_regions=all_regions)
    plan = _plan(target.environment, players, duration, mode, matches_of, settle)
    with PlayProgress(target.session.err, plan.players * len(target.contracts)) as progress:
        outcomes = _with_quick_loop(run_loadtest(target.contracts, plan, on_progress=progress.update))
    reports = [outcome.value for outcome in outcomes if outcome.value is not None]
    conclude(target.session, outcomes, render(outcomes), load_entry, run_id=plan.run_id, **load_fields(reports))
    _end(reports)


def _plan(
    environment: Environment, players: int, duration: float, mode: str, matches_of: int | None, settle: float
) -> LoadPlan:
    import secrets

    from mjctl.loadtest.model import LoadPlan

    rules = environment.game.modes.get(mode)
    if rules is None:
        raise NotFoundError(
            f"no mode `{mode}`",
            where=f"environment {environment.name}",
            hint=f"modes: {', '.join(environment.game.modes)}",
        )
    if duration < rules.duration_seconds:
        raise UsageError(
            f"a match of `{mode}` takes {rules.duration_seconds:g} s, more than --duration {duration:g}",
            hint=f"raise --duration to {rules.duration_seconds:g} or more, or choose a shorter --mode",
        )
    if matches_of is not None and matches_of > rules.seats:
        raise UsageError(f"`{mode}` seats {rules.seats}, --matches-of {matches_of} does not fit")
    return LoadPlan(
        run_id=secrets.token_hex(4),
        players=players,
        duration_seconds=duration,
        mode=mode,
        match_seconds=rules.duration_seconds,
        players_per_match=matches_of or min(rules.seats, players),
        settle_seconds=settle,
    )


def _with_quick_loop(work: Any) -> list[RegionOutcome[LoadReport]]:
    """The bots share one core with each other: uvloop leaves more of it to the game."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes: list[RegionOutcome[LoadReport]] = runner.run(work)
        return outcomes


def _end(reports: list[LoadReport]) -> None:
    """Raises Exit unless every region was played to the end and everything was found."""
    if any(report.tally.interrupted for report in reports):
        raise Exit(ExitCode.INTERRUPTED)
    if not all(report.verified for report in reports):
        raise Exit(ExitCode.VERIFICATION)
