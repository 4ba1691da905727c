"""Probes a region by a real log-in and a real short match, with two probe players that each region keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mjctl.clients.boto import unreachable
from mjctl.clients.internal_accounts import are_created_by_operator, remove_account, sign_up
from mjctl.clients.records import MatchInStores, read_matches
from mjctl.clients.tls import private_context
from mjctl.health.accounts import load_account, new_account, store_account
from mjctl.health.checks.fleet import NOT_SERVED
from mjctl.health.logs import log_command
from mjctl.health.model import Check, Finding, RegionContext, failed, passed, skipped, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from gameserver.client import ApiError, GameClient, MatchReport, MatchTicket

_MODE = "probe"
# Time limit of the check `match`. A match of the mode `probe` takes at most 10 s of this time limit. The other 10 s of
# the time limit are for the log-in, the start of the match and the wait for the match's stored result.
_MATCH_TIMEOUT_SECONDS = 20.0
_LOOK_INTERVAL_SECONDS = 0.1
_PERSIST_TIMEOUT_SECONDS = 6.0
_CALL_TIMEOUT_SECONDS = 4.0


def checks(_contract: Contract) -> Iterator[Check]:
    """Yield the checks `login` and `match`."""
    yield Check("login", check_login, timeout_seconds=8, severity=Severity.CRITICAL)
    yield Check("match", check_match, timeout_seconds=_MATCH_TIMEOUT_SECONDS, severity=Severity.CRITICAL)


async def check_login(context: RegionContext) -> Finding:
    """Log in as a probe player (sign up on the first use), refresh the tokens and read the player's profile."""
    if not context.contract.endpoints.served:
        return skipped(NOT_SERVED)
    started = time.perf_counter()
    async with _game_errors(context):
        player = await _player(context, 1)
        logged_in = time.perf_counter()
        await player.refresh()
        refreshed = time.perf_counter()
        profile = await player.profile()
        done = time.perf_counter()
    if not profile.get("player_id"):
        return failed(
            "the API returned a profile without a player id",
            hint=f"the API's log shows why the profile has no id: {log_command(context.contract, 'api')}",
        )
    return passed(
        f"log-in {_ms(started, logged_in)} ms, refresh {_ms(logged_in, refreshed)} ms, "
        f"profile {_ms(refreshed, done)} ms",
        login_ms=_ms(started, logged_in),
        refresh_ms=_ms(logged_in, refreshed),
        profile_ms=_ms(refreshed, done),
        player_id=profile["player_id"],
    )


async def check_match(context: RegionContext) -> Finding:
    """Let two probe players play a short match, and check that the match's result reaches PostgreSQL and DynamoDB.

    A private PostgreSQL is checked through the API: the player's profile contains the number of matches in PostgreSQL.
    """
    from gameserver.client import ApiError

    if not context.contract.endpoints.served:
        return skipped(NOT_SERVED)
    async with _game_errors(context):
        players = await asyncio.gather(_player(context, 1), _player(context, 2))
        before = int((await players[0].profile())["matches"])
        try:
            ticket = await players[0].create_match(_MODE, "new")
        except ApiError as error:
            if error.code == "region_closed":
                return _closed(context.contract, error)
            raise
        reports = await asyncio.gather(*(_play(player, ticket) for player in players))
    ended = time.perf_counter()
    record = await _await_record(context, ticket.match_id)
    kept_ms = _ms(ended, time.perf_counter())
    scores = {player["player_id"]: player["score"] for player in reports[0].result["players"]}
    evidence: dict[str, object] = {
        "match_id": ticket.match_id,
        "server": ticket.server_id,
        "zone": ticket.zone,
        "frames": sum(report.frames for report in reports),
        "reconnects": sum(report.reconnects for report in reports),
        "persisted_after_ms": kept_ms,
    }
    private = context.contract.database.access == "private"
    if not record.ended_in_all(database=not private):
        return failed(
            f"the match was played, but {_PERSIST_TIMEOUT_SECONDS:g} s later its state is "
            f"{record.database_state or 'absent'} in PostgreSQL and {record.table_state or 'absent'} in DynamoDB",
            hint="if the check `worker`, `queue` or `dead-letters` fails, follow the advice of that check. If the "
            "checks of the worker and the queues pass, look again: the match's result may still be in the queue",
            **evidence,
        )
    if (not private and dict(record.database_scores) != scores) or dict(record.table_scores) != scores:
        return failed(
            "the stored result differs from what the players saw",
            hint=f"search for the match {ticket.match_id} in the log of the worker: "
            f"{log_command(context.contract, 'worker')}",
            **evidence,
        )
    if not await _await_profile(context, players[0], more_than=before):
        return failed(
            "the result is stored, but the API still returns the player's profile without this match",
            hint="the cache has an old profile: `mjctl cache invalidate --namespace profile "
            f"--env {context.contract.environment} --region {context.contract.region}` removes all profiles from the "
            "cache; the log of the worker shows why the old profile was not removed: "
            f"{log_command(context.contract, 'worker')}",
            **evidence,
        )
    samples = sorted(sample for report in reports for sample in report.latency_ms)
    # If the rules module has no pilot, the probe players send no inputs, so no latency of inputs can be measured.
    latency = "without inputs, "
    if samples:
        evidence["latency_p50_ms"] = round(samples[len(samples) // 2], 2)
        evidence["latency_max_ms"] = round(samples[-1], 2)
        latency = f"latency p50 {evidence['latency_p50_ms']} ms, "
    return passed(
        f"played on {ticket.server_id}, {latency}result in PostgreSQL and DynamoDB {kept_ms} ms after its end",
        **evidence,
    )


def _closed(contract: Contract, error: ApiError) -> Finding:
    """Return a warning for a region that `mjctl failover` has closed, as a reminder to open the region again."""
    return warned(
        f"the region accepts no new matches since a failover; the API sends players to {', '.join(error.regions)}",
        hint=f"`mjctl failover --env {contract.environment} --region {contract.region} --restore` opens the region "
        "again",
        closed=True,
        elsewhere=error.regions,
    )


async def _await_record(context: RegionContext, match_id: str) -> MatchInStores:
    """Read a match from PostgreSQL and DynamoDB until it has ended in both, for at most 6 seconds."""
    give_up_at = time.monotonic() + _PERSIST_TIMEOUT_SECONDS
    while True:
        database = context.contract.database.access == "direct"
        records = await read_matches(context.contract, context.clients, [match_id], database=database)
        record = records[match_id]
        if record.ended_in_all(database=database) or time.monotonic() > give_up_at:
            return record
        await asyncio.sleep(_LOOK_INTERVAL_SECONDS)


async def _await_profile(context: RegionContext, player: GameClient, *, more_than: int) -> bool:
    """Return True if the player's profile from the API counts the new match within 6 seconds."""
    give_up_at = time.monotonic() + _PERSIST_TIMEOUT_SECONDS
    async with _game_errors(context):
        while int((await player.profile())["matches"]) <= more_than:
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(_LOOK_INTERVAL_SECONDS)
    return True


async def _player(context: RegionContext, number: int) -> GameClient:
    """Return the client of probe player `number`, logged in, which the checks `login` and `match` share."""
    return await context.shared(f"player-{number}", lambda: _log_in(context, number))


async def _log_in(context: RegionContext, number: int) -> GameClient:
    from gameserver.client import ApiError, GameClient

    player = await context.stack.enter_async_context(
        GameClient(
            context.contract.endpoints.api,
            timeout_seconds=_CALL_TIMEOUT_SECONDS,
            ssl_context=private_context(context.contract),
            headers=context.operator_pass.headers,
        )
    )
    pool = context.contract.identity.user_pool_id
    account = load_account(context.private_dir, number, pool)
    if account is not None:
        try:
            await player.log_in(account.email, account.password)
            return player
        except ApiError as error:
            # Sign up again only after status 401, which means that the user pool lost the probe player's account when
            # the region's data was reset.
            if error.status != 401:
                raise
            if are_created_by_operator(context.contract):
                await remove_account(context.contract, context.clients, account.email)
    account = new_account(number, pool)
    await sign_up(context.contract, context.clients, player, account.email, account.password, account.display_name)
    store_account(context.private_dir, number, account)
    return player


async def _play(player: GameClient, ticket: MatchTicket) -> MatchReport:
    from gameserver.client import Bot

    connection = await player.join(ticket)
    try:
        return await Bot(connection).play()
    finally:
        await connection.close()


@asynccontextmanager
async def _game_errors(context: RegionContext) -> AsyncIterator[None]:
    """Turn errors of the game client into errors for operators."""
    from gameserver.client import ApiError, ConnectionLost, JoinRefused, PilotError

    try:
        yield
    except PilotError as error:
        raise ConfigError(
            f"the pilot of the probe's rules failed: {error}",
            hint="correct the pilot in the rules module that the mode `probe` names in the environment's file",
        ) from error
    except ApiError as error:
        api = context.contract.endpoints.api
        if error.status == 0:
            raise unreachable(context.contract, "the HTTP API", api, error) from error
        raise UnreachableError(f"the HTTP API rejected a request: {error}", where=api) from error
    except (ConnectionLost, JoinRefused) as error:
        raise UnreachableError(f"a probe player could not join or stay in the match: {error}") from error


def _ms(start: float, end: float) -> int:
    return round((end - start) * 1000)
