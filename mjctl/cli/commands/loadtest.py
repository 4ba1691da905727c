"""`mjctl loadtest`: lets bots play, measures latencies and checks the stored results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl import event_loop
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
        int, typer.Option("--players", "-n", metavar="COUNT", min=1, max=5000, help="Number of bots in each region.")
    ] = 10,
    duration: Annotated[
        float,
        typer.Option("--duration", "-d", metavar="SECONDS", min=1, help="Seconds for which the bots play matches."),
    ] = 20.0,
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="Mode of the matches, from the environment's file.")
    ] = "sprint",
    matches_of: Annotated[
        int | None,
        typer.Option(
            "--matches-of",
            metavar="COUNT",
            min=1,
            help="Number of bots in a match. Default: the number of seats of the mode, but at most --players.",
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            min=0,
            help="Largest number of seconds to wait after the play until every result is stored. A result that is "
            "not stored --settle seconds after the play counts as missing.",
        ),
    ] = 30.0,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Let bots play, measure, then check that each match is stored.

    The bots have internal accounts, which count in no statistics. A match starts only if it can end within --duration.

    After the play, the command checks the stored results. PostgreSQL and DynamoDB must contain every match as ended,
    and PostgreSQL also every player of the match. The standing of each player must be the sum of the player's matches.
    Exit code 14 if a result is missing or wrong.

    Ctrl-C ends the play, and the command reports the results so far.

    Example: mjctl loadtest --region us-east-1 --players 20 --duration 20
    """
    from mjctl.cli.output.documents.observe import load_entry, load_fields
    from mjctl.cli.output.loadtest import PlayProgress, render
    from mjctl.cli.target import Target, conclude
    from mjctl.loadtest.run import run_loadtest

    target = Target(env, region, output, all_regions=all_regions)
    plan = _plan(target.environment, players, duration, mode, matches_of, settle)
    with PlayProgress(target.session.err, plan.players * len(target.contracts)) as progress:
        on_stage = any(contract.names_file for contract in target.contracts.values())
        run = target.run if on_stage else _with_quick_loop
        outcomes = run(run_loadtest(target.contracts, plan, on_progress=progress.update))
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
            f"the environment has no mode `{mode}`",
            where=f"environment {environment.name}",
            hint=f"its modes: {', '.join(environment.game.modes)}",
        )
    if duration < rules.duration_seconds:
        raise UsageError(
            f"a match of the mode `{mode}` takes {rules.duration_seconds:g} s, longer than --duration {duration:g}",
            hint=f"raise --duration to {rules.duration_seconds:g} or more, or choose a shorter --mode",
        )
    if matches_of is not None and matches_of > rules.seats:
        raise UsageError(
            f"a match of the mode `{mode}` has {rules.seats} seats, fewer than --matches-of {matches_of}",
            hint=f"lower --matches-of to {rules.seats} or less",
        )
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
    """Run the bots with uvloop.

    All bots share one CPU core, and uvloop uses less CPU time than asyncio's own event loop. uvloop cannot resolve the
    names of a stage (mjctl.clients.stage_names).
    """
    import uvloop

    outcomes: list[RegionOutcome[LoadReport]] = event_loop.run(work, uvloop.new_event_loop)
    return outcomes


def _end(reports: list[LoadReport]) -> None:
    """End with an exit code other than 0 if the play was interrupted or a result is missing or wrong."""
    if any(report.tally.interrupted for report in reports):
        raise Exit(ExitCode.INTERRUPTED)
    if not all(report.verified for report in reports):
        raise Exit(ExitCode.VERIFICATION)
