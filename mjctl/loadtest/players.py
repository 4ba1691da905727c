"""Runs the bots of one region: the bots sign up, and play one match after another until the test ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.firewall_tokens import past_rate_limit
from mjctl.clients.internal_accounts import (
    are_created_by_operator,
    create_account,
    mark_internal,
    new_password,
    remove_account,
)
from mjctl.clients.operator_pass import OperatorPass
from mjctl.clients.tls import private_context
from mjctl.loadtest.model import EndedMatch, LoadPlan, LoadTally
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError

if TYPE_CHECKING:
    from gameserver.client import GameClient, MatchReport, MatchTicket

T = TypeVar("T")

_CALL_TIMEOUT_SECONDS = 10.0
# Seconds by which a match may take longer than the length of its mode, because bots must join and the match may move to
# another server.
_MATCH_GRACE_SECONDS = 15.0
# Seconds that bots wait after a failed call or match, so that they do not overload a region that is full or limits the
# rate of calls.
_RETRY_SECONDS = 1.0
_TOO_MANY_REQUESTS = 429
_BUSY = "busy"
_ATTEMPTS = 20


@asynccontextmanager
async def playing(
    contract: Contract, plan: LoadPlan, tally: LoadTally, stop: asyncio.Event
) -> AsyncIterator[list[GameClient]]:
    """Sign up the bots and let them play in groups, one match after another, before the block of the `async with`.

    The block begins when the last match has ended. If another task sets `stop`, the bots leave their matches and the
    block begins within seconds. After the block, the accounts that the operator has created are removed.

    Args:
        contract: the region's contract.
        plan: the plan of the load test.
        tally: the counters of the region, which the bots update while they play.
        stop: the event that ends the load test early.

    Yields:
        The bots that signed up, logged in.

    Raises:
        UnreachableError: no bot could sign up, or Cognito does not answer.
        NotFoundError: the user pool has no group `internal`.
        PermissionDeniedError: the operator may not create accounts.
    """
    async with AsyncExitStack() as stack:
        clients = stack.enter_context(RegionClients(contract))
        if are_created_by_operator(contract):
            stack.push_async_callback(_remove_all, contract, clients, plan, tally)
        play_headers = await stack.enter_async_context(past_rate_limit(contract, clients, plan.duration_seconds))
        bots = await _until(stop, _sign_up_all(contract, clients, plan, tally, stack, play_headers))
        if not bots:
            yield []
            return
        started = time.monotonic()
        groups = [bots[at : at + plan.players_per_match] for at in range(0, len(bots), plan.players_per_match)]
        deadline = started + plan.duration_seconds
        await _until(stop, asyncio.gather(*(_play_in_turn(group, plan, tally, deadline) for group in groups)))
        tally.playing_seconds = time.monotonic() - started
        yield bots


async def _sign_up_all(
    contract: Contract,
    clients: RegionClients,
    plan: LoadPlan,
    tally: LoadTally,
    stack: AsyncExitStack,
    play_headers: Mapping[str, str],
) -> list[GameClient]:
    from gameserver.client import GameClient

    gate = asyncio.Semaphore(plan.sign_up_concurrency)
    failures: list[Exception] = []
    tls = private_context(contract)
    operator_pass = OperatorPass(contract, clients)

    async def sign_up(number: int) -> GameClient | None:
        bot = await stack.enter_async_context(
            GameClient(
                contract.endpoints.api,
                timeout_seconds=_CALL_TIMEOUT_SECONDS,
                ssl_context=tls,
                headers=operator_pass.headers,
                play_headers=play_headers,
            )
        )
        name, email = _name(plan, number), _email(plan, number)
        password = new_password()
        by_operator = are_created_by_operator(contract)
        async with gate:
            try:
                if by_operator:
                    tally.signed_up[name] = await create_account(contract, clients, email, password)
                else:
                    tally.signed_up[name] = await timed(tally, "signup", lambda: bot.sign_up(email, password, name))
                    # Put the account into the group `internal` before the log-in, because the token from the log-in
                    # contains the groups of the account.
                    await mark_internal(contract, clients, tally.signed_up[name])
                await timed(tally, "login", lambda: bot.log_in(email, password))
                if by_operator:
                    await timed(tally, "rename", lambda: bot.rename(name))
            except _play_errors() as error:
                _count(tally, "sign-up", error)
                failures.append(error)
                tally.signed_up.pop(name, None)
                return None
        return bot

    # Without `return_exceptions`, sign-ups would still run after the first error, although the exit stack has closed
    # their clients.
    outcomes = await asyncio.gather(*map(sign_up, range(1, plan.players + 1)), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    bots = [bot for bot in outcomes if isinstance(bot, GameClient)]
    if failures and not bots:
        raise unreachable(contract, "the game's API", contract.endpoints.api, failures[0]) from failures[0]
    return bots


async def _remove_all(contract: Contract, clients: RegionClients, plan: LoadPlan, tally: LoadTally) -> None:
    """Remove the accounts of all bots, and count those that could not be removed as errors."""
    gate = asyncio.Semaphore(plan.sign_up_concurrency)

    async def remove(number: int) -> None:
        async with gate:
            try:
                await remove_account(contract, clients, _email(plan, number))
            except MjctlError as error:
                _count(tally, "remove account", error)

    await asyncio.gather(*(remove(number) for number in range(1, plan.players + 1)))


def _name(plan: LoadPlan, number: int) -> str:
    return f"bot-{plan.run_id}-{number}"


def _email(plan: LoadPlan, number: int) -> str:
    return f"{_name(plan, number)}@example.com"


async def _play_in_turn(group: Sequence[GameClient], plan: LoadPlan, tally: LoadTally, deadline: float) -> None:
    """Play the matches of one group of bots. After the first match, no match starts that would end after `deadline`."""
    while True:
        try:
            async with asyncio.timeout(plan.match_seconds + _MATCH_GRACE_SECONDS):
                await _play_one(group, plan, tally)
        except _play_errors() as error:
            _count(tally, "match", error)
            await asyncio.sleep(_RETRY_SECONDS)
        if time.monotonic() + plan.match_seconds > deadline:
            return


async def _play_one(group: Sequence[GameClient], plan: LoadPlan, tally: LoadTally) -> None:
    ticket = await timed(tally, "create_match", lambda: group[0].create_match(plan.mode, "new"))
    tally.started.add(ticket.match_id)
    outcomes = await asyncio.gather(*(_join_and_play(bot, ticket) for bot in group), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            _count(tally, "play", outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            _take(tally, outcome)


async def _join_and_play(bot: GameClient, ticket: MatchTicket) -> MatchReport:
    from gameserver.client import Bot

    connection = await bot.join(ticket)
    try:
        return await Bot(connection).play()
    finally:
        await connection.close()


def _take(tally: LoadTally, report: MatchReport) -> None:
    tally.input_to_state_ms.extend(report.latency_ms)
    tally.frames += report.frames
    tally.reconnects += report.reconnects
    scores = {player["player_id"]: int(player["score"]) for player in report.result["players"]}
    known = tally.ended.setdefault(report.match_id, EndedMatch(report.match_id, scores))
    if known.scores != scores:
        tally.errors["play: two players saw different results of one match"] += 1


async def timed(tally: LoadTally, name: str, call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call of the API, and add the duration of the call to the tally.

    If the API rejects the call because of too many requests or a full region, the call is repeated after a second.

    Args:
        tally: receives the duration and the number of repeated calls.
        name: name of the call in the tally.
        call: the function that makes the call.

    Raises:
        ApiError: the API rejected the call 20 times because of too many requests or a full region, or once for another
            reason.
    """
    from gameserver.client import ApiError

    for attempt in range(1, _ATTEMPTS + 1):
        started = time.perf_counter()
        try:
            value = await call()
        except ApiError as error:
            throttled = error.status == _TOO_MANY_REQUESTS or error.code == _BUSY
            if not throttled or attempt == _ATTEMPTS:
                raise
            tally.throttled += 1
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            tally.api_ms[name].append((time.perf_counter() - started) * 1000)
            return value
    raise AssertionError("the last attempt of a call of the API neither returned nor raised")


async def _until(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Return the result of `work`, or cancel `work` and return None as soon as another task sets `stop`."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopped.cancel()
        task.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


def _count(tally: LoadTally, where: str, error: Exception) -> None:
    tally.errors[f"{where}: {str(error) or type(error).__name__}"[:200]] += 1


def _play_errors() -> tuple[type[Exception], ...]:
    """Return the types of the errors of a bot that are counted and do not end the load test."""
    from gameserver.client import ApiError, ConnectionLost, JoinRefused

    return (ApiError, ConnectionLost, JoinRefused, TimeoutError)
