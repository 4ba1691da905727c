"""Bots that play together, and what all of them saw."""

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
    """What all players saw. `acknowledged`: by match and sequence, (type, payload) as told to some player."""

    tally: LoadTally = field(default_factory=LoadTally)
    acknowledged: dict[str, dict[int, tuple[str, Any]]] = field(default_factory=dict)
    contradictions: int = 0
    results: dict[str, Any] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)

    def take(self, report: MatchReport) -> None:
        known = self.acknowledged.setdefault(report.match_id, {})
        for event in report.events:
            told = (event.type, event.payload)
            self.contradictions += known.setdefault(event.sequence, told) != told
        self.contradictions += self.results.setdefault(report.match_id, report.result) != report.result
        scores = {player["player_id"]: int(player["score"]) for player in report.result["players"]}
        self.tally.ended[report.match_id] = EndedMatch(report.match_id, scores)
        self.pauses += [interruption.seconds for interruption in report.interruptions]


@dataclass
class Group:
    """Bots that play together. `seats` are filled while a match is under way; `until`: about when it ends."""

    bots: Sequence[GameClient]
    mode: str
    match_id: str = ""
    until: float = 0.0
    seats: list[PlayerConnection] = field(default_factory=list)

    async def play_once(self, played: Played) -> None:
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
        while not stop.is_set():
            try:
                await self.play_once(played)
            except (ApiError, ConnectionLost, JoinRefused) as error:
                played.tally.errors[f"{type(error).__name__}: {error}"[:200]] += 1


async def sign_up(contract: Contract, count: int, played: Played, stack: AsyncExitStack) -> list[GameClient]:
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
