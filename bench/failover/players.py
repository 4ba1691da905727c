"""Bots that play matches in groups, and a record of the events that the bots received."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from failover.region import MODES
from gameserver.client import ApiError, Bot, ConnectionLost, GameClient, JoinRefused, MatchReport, PlayerConnection
from mjctl.loadtest.model import EndedMatch, LoadTally
from mjctl.loadtest.players import timed
from mjctl.models.contract import Contract


@dataclass
class Played:
    """Records the events and the results that all players have received.

    Attributes:
        tally: counts of started and ended matches, calls and errors.
        acknowledged: match id -> sequence number -> (type, payload) of the events that a player received.
        contradictions: number of events and results that differed between two players of a match.
        results: match id -> result of the match.
        pauses: duration in seconds of each interruption of a player's connection.
    """

    tally: LoadTally = field(default_factory=LoadTally)
    acknowledged: dict[str, dict[int, tuple[str, Any]]] = field(default_factory=dict)
    contradictions: int = 0
    results: dict[str, Any] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)

    def take(self, report: MatchReport) -> None:
        """Record the report of one player about an ended match."""
        known = self.acknowledged.setdefault(report.match_id, {})
        for event in report.events:
            content = (event.type, event.payload)
            self.contradictions += known.setdefault(event.sequence, content) != content
        self.contradictions += self.results.setdefault(report.match_id, report.result) != report.result
        scores = {player["player_id"]: int(player["score"]) for player in report.result["players"]}
        self.tally.ended[report.match_id] = EndedMatch(report.match_id, scores)
        self.pauses += [interruption.seconds for interruption in report.interruptions]


@dataclass
class Group:
    """Plays matches with a group of bots.

    Attributes:
        bots: the clients of the bots, which are logged in.
        mode: mode of the matches that the group plays.
        match_id: id of the current or last match.
        until: approximate end of the current match, as a value of time.monotonic().
        seats: the bots' connections to the current match; empty between two matches.
    """

    bots: Sequence[GameClient]
    mode: str
    match_id: str = ""
    until: float = 0.0
    seats: list[PlayerConnection] = field(default_factory=list)

    async def play_once(self, played: Played) -> None:
        """Play a match, and record the events and the result in `played`."""
        ticket = await timed(played.tally, "create_match", lambda: self.bots[0].create_match(self.mode, "new"))
        played.tally.started.add(ticket.match_id)
        until = time.monotonic() + MODES[self.mode]["duration_seconds"]
        seats = await asyncio.gather(*(bot.join(ticket) for bot in self.bots))
        self.match_id, self.until, self.seats = ticket.match_id, until, seats
        try:
            for outcome in await asyncio.gather(*(Bot(seat).play() for seat in seats), return_exceptions=True):
                if isinstance(outcome, BaseException):
                    played.tally.errors[f"{type(outcome).__name__}: {outcome}"[:200]] += 1
                else:
                    played.take(outcome)
        finally:
            self.seats = []
            for seat in seats:
                await seat.close()

    async def play_until(self, stop: asyncio.Event, played: Played) -> None:
        """Play match after match until `stop` is set, and count the errors in `played`."""
        while not stop.is_set():
            try:
                await self.play_once(played)
            except (ApiError, ConnectionLost, JoinRefused) as error:
                played.tally.errors[f"{type(error).__name__}: {error}"[:200]] += 1


async def sign_up(contract: Contract, count: int, played: Played, stack: AsyncExitStack) -> list[GameClient]:
    """Sign up and log in `count` bots. The exit stack `stack` closes the bots' clients at its end."""
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> GameClient:
        bot = await stack.enter_async_context(GameClient(contract.endpoints.api, timeout_seconds=15.0))
        name, password = f"failover-{number}", f"{secrets.token_urlsafe(18)}aA1"
        email = f"{name}@example.com"
        async with gate:
            played.tally.signed_up[name] = await timed(
                played.tally, "signup", lambda: bot.sign_up(email, password, name)
            )
            await timed(played.tally, "login", lambda: bot.log_in(email, password))
        return bot

    return list(await asyncio.gather(*(one(number) for number in range(count))))
