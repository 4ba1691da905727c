"""One match without I/O: who sits where, what happened, what every client is told, and how it moves between servers.

The owner drives it: `tick` at the tick rate, inputs as they come, and `take_events` + `snapshot` for the store. Time is
counted in ticks, so a match that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from gameserver.events import (
    MatchEnded,
    MatchEvent,
    MatchStarted,
    Payload,
    PlayerChatted,
    PlayerJoined,
    PlayerLeft,
    PlayerResult,
    RuleEvent,
    Score,
    as_mapping,
)
from gameserver.protocol import HEARTBEAT_HZ, Event, Frame, Full, PlayerInfo
from gameserver.ranking import ranking
from gameserver.rules import load_rules, reportable_events

FULL_FRAME_SECONDS: Final = 5.0
NEVER_JOINED_SECONDS: Final = 30.0
"""A match that nobody joined ends after this long."""

_MAX_PLAYERS_PER_SEAT: Final = 4
"""Players over the whole match, for each seat: bounds the result when players keep coming and going."""

_SNAPSHOT_VERSION: Final = 1


class MatchSpec(Struct, frozen=True):
    """What the API decided when it made the match.

    Attributes:
        server_id: where the match is meant to run first.
        internal: a match of probe or load-test accounts. It counts in no statistics, and no other player meets it.
    """

    match_id: str
    mode: str
    seats: int
    duration_seconds: float
    rules: str
    created_at_ms: int
    server_id: str
    internal: bool = False

    @property
    def open_list(self) -> str:
        """Name of the list of open matches that this one belongs to."""
        return open_list(self.mode, internal=self.internal)


def open_list(mode: str, *, internal: bool) -> str:
    """Return the name of the list of open matches for these players. A mode's name has no colon."""
    return f"internal:{mode}" if internal else mode


class JoinError(Exception):
    """A player cannot be seated."""


class MatchFullError(JoinError):
    """Every seat is taken."""


class MatchOverError(JoinError):
    """The match has ended."""


class UnknownVersion(ValueError):
    """A snapshot that another version of the server has made."""


class Seat(Struct, gc=False):
    """A player in the match. `left`: gave the seat up; the score stays for the result."""

    slot: int
    player_id: str
    name: str
    resume_digest: bytes
    sequence: int = 0
    score: int = 0
    left: bool = False
    connected: bool = False


class _Version(Struct):
    version: int


class _Snapshot(_Version):
    sequence: int
    tick: int
    started_at_ms: int
    ended: bool
    reason: str
    result: dict[str, Any] | None
    seats: list[Seat]
    world: Any


@dataclass(frozen=True)
class Clock:
    """What one tick means for a match."""

    tick_rate_hz: int
    duration_ticks: int
    full_frame_ticks: int
    heartbeat_ticks: int

    @classmethod
    def of(cls, spec: MatchSpec, tick_rate_hz: int) -> Clock:
        return cls(
            tick_rate_hz=tick_rate_hz,
            duration_ticks=max(1, round(spec.duration_seconds * tick_rate_hz)),
            full_frame_ticks=round(FULL_FRAME_SECONDS * tick_rate_hz),
            heartbeat_ticks=max(1, tick_rate_hz // HEARTBEAT_HZ),
        )


class Match:
    """See the module. Methods that take `now_ms` want Unix milliseconds; they only date events, never decide.

    Raises (constructor):
        LookupError: the rules are not installed here.

    Attributes:
        fault: why the rules' scores could not be stored; the match has then ended with the reason `error`.
    """

    def __init__(self, spec: MatchSpec, tick_rate_hz: int) -> None:
        self.spec = spec
        self.clock = Clock.of(spec, tick_rate_hz)
        rules = load_rules(spec.rules)
        seed = int.from_bytes(hashlib.sha256(spec.match_id.encode()).digest()[:8])
        self.action_type: Any = rules.action_type
        self._reportable = reportable_events(rules)
        self.rules = rules(seed=seed, seats=spec.seats, tick_rate_hz=tick_rate_hz)
        self.tick_number = 0
        self.started_at_ms = 0
        self.result: dict[str, Any] | None = None
        self.reason = ""
        self.fault: Exception | None = None
        self._idle_ticks = 0
        self._quiet_ticks = 0
        self._sequence = 0
        self._seats: dict[int, Seat] = {}
        self._departed: list[Seat] = []
        self._acks: list[int] = []
        self._events: list[MatchEvent] = []
        self._stored: list[Event] = []

    @property
    def started(self) -> bool:
        return self.started_at_ms > 0

    @property
    def ended(self) -> bool:
        return self.result is not None

    @property
    def seated(self) -> int:
        return len(self._seats)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    @property
    def sequence(self) -> int:
        """Of the last event."""
        return self._sequence

    @property
    def taken_sequence(self) -> int:
        """Of the last event that `take_events` has given out, or that was there when the match was restored."""
        return self._sequence - len(self._events)

    @property
    def end_taken(self) -> bool:
        """Whether `match.ended` is among those."""
        return self.ended and not self._events

    def players(self) -> list[PlayerInfo]:
        return [PlayerInfo(s.slot, s.player_id, s.name, s.connected) for s in self._seats.values()]

    def join(self, player_id: str, name: str, now_ms: int) -> tuple[Seat, str]:
        """Seat a player, or give a seated one a new resume token. Returns the seat and the token.

        Raises:
            MatchOverError, MatchFullError
        """
        if self.ended:
            raise MatchOverError("the match is over")
        token = secrets.token_urlsafe(16)
        seat = next((s for s in self._seats.values() if s.player_id == player_id), None)
        if seat is not None:
            seat.resume_digest = _digest(token)
            return seat, token
        slot = next((slot for slot in range(self.spec.seats) if slot not in self._seats), None)
        if slot is None or len(self._departed) >= _MAX_PLAYERS_PER_SEAT * self.spec.seats:
            raise MatchFullError("every seat is taken")
        if not self.started:
            self.started_at_ms = now_ms
            self._record(MatchStarted(self.spec.mode, self.spec.seats, self.spec.internal), now_ms)
        seat = Seat(slot, player_id, name, _digest(token))
        self._seats[slot] = seat
        self.rules.add_player(slot)
        self._record(PlayerJoined(player_id, name, slot), now_ms)
        return seat, token

    def resume(self, token: str) -> Seat | None:
        """The seat that `token` was given for, if it is still held."""
        digest = _digest(token)
        return next((s for s in self._seats.values() if hmac.compare_digest(s.resume_digest, digest)), None)

    def leave(self, slot: int, now_ms: int) -> None:
        """The player gives up the seat for good."""
        seat = self._seats.get(slot)
        if seat is None or self.ended:
            return
        seat.score = self._scores().get(slot, 0)
        seat.left = True
        del self._seats[slot]
        self._departed.append(seat)
        self.rules.remove_player(slot)
        self._record(PlayerLeft(seat.player_id, slot), now_ms)
        if self.fault is not None or not self._seats:
            self.end("abandoned", now_ms)

    def input(self, seat: Seat, sequence: int, action: Any) -> None:
        """Apply one input; a repeated or outdated sequence is ignored."""
        if sequence <= seat.sequence or seat.left or self.result is not None:
            return
        seat.sequence = sequence
        self.rules.apply(seat.slot, action)
        self._acks += (seat.slot, sequence)

    def say(self, seat: Seat, sealed: bytes, now_ms: int) -> bool:
        """Record what a player said. False: too late."""
        if seat.left or self.ended:
            return False
        self._record(PlayerChatted(seat.player_id, sealed, seat.slot), now_ms)
        return True

    def tick(self, now_ms: int) -> Frame | Full | None:
        """Advance by one tick. Returns what every client is told; None when there is nothing to tell.

        Raises:
            RefusedEvent: the rules reported an event that cannot be stored.
        """
        if self.ended:
            return None
        if not self.started:
            self._idle_ticks += 1
            if self._idle_ticks >= NEVER_JOINED_SECONDS * self.clock.tick_rate_hz:
                self.end("abandoned", now_ms)
            return None
        self.tick_number += 1
        for event in self.rules.step():
            self._record_rule(event, now_ms)
        if self.tick_number >= self.clock.duration_ticks:
            self.end("time", now_ms)
        elif self.rules.finished():
            self.end("finished", now_ms)
        return self._frame()

    def full(self) -> Full:
        """Everything, for one client that missed frames."""
        return Full(self.tick_number, self.players(), self.rules.view())

    def end(self, reason: str, now_ms: int) -> None:
        """End the match; `result` is final from here on. The reason is `error` if the scores cannot be stored."""
        if self.ended:
            return
        players = self._ranking()
        self.reason = reason = reason if self.fault is None else "error"
        ended = MatchEnded(
            mode=self.spec.mode,
            reason=reason,
            started_at_ms=self.started_at_ms or self.spec.created_at_ms,
            ended_at_ms=now_ms,
            players=players,
            internal=self.spec.internal,
        )
        self.result = as_mapping(ended)
        self._record(ended, now_ms)

    def take_events(self) -> list[MatchEvent]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        return events

    def acknowledge(self, stored: Iterable[MatchEvent]) -> None:
        """These events are safe; the next frame tells the clients."""
        self._stored += [Event(event.sequence, event.type, _public(event)) for event in stored]

    def snapshot(self) -> bytes:
        """All that another server needs to go on from here; it covers every event up to `sequence`."""
        return _encode_snapshot(
            _Snapshot(
                version=_SNAPSHOT_VERSION,
                sequence=self._sequence,
                tick=self.tick_number,
                started_at_ms=self.started_at_ms,
                ended=self.ended,
                reason=self.reason,
                result=self.result,
                seats=[*self._seats.values(), *self._departed],
                world=self.rules.dump(),
            )
        )

    @classmethod
    def restore(
        cls, spec: MatchSpec, tick_rate_hz: int, snapshot: bytes | None, events: Iterable[MatchEvent] = ()
    ) -> Match:
        """Rebuild a match from its last snapshot and the events stored after it.

        Raises:
            LookupError: the rules are not installed here.
            UnknownVersion, ValueError: the snapshot or an event is damaged, or the rules do not take it.
        """
        match = cls(spec, tick_rate_hz)
        try:
            if snapshot is not None:
                match._load(snapshot)
            for event in events:
                match._replay(event)
        except UnknownVersion:
            raise
        except Exception as error:
            # Rules are anybody's code: whatever they raise, the next attempt would end in the same way.
            raise ValueError(f"damaged state: {type(error).__name__}: {error}") from error
        return match

    @classmethod
    def aborted(cls, spec: MatchSpec, tick_rate_hz: int, sequence: int, now_ms: int) -> Match:
        """A match that cannot be restored: ended, with no result for anybody. `sequence`: of the last stored event."""
        match = cls(spec, tick_rate_hz)
        match._sequence = sequence
        match.end("aborted", now_ms)
        return match

    def _frame(self) -> Frame | Full | None:
        changes = self.rules.changes()
        acks, self._acks = self._acks, []
        stored, self._stored = self._stored, []
        if self.tick_number % self.clock.full_frame_ticks == 0:
            self._quiet_ticks = 0
            return Full(self.tick_number, self.players(), self.rules.view(), acks, stored)
        if changes is None and not acks and not stored:
            self._quiet_ticks += 1
            if self._quiet_ticks < self.clock.heartbeat_ticks:
                return None
        self._quiet_ticks = 0
        return Frame(self.tick_number, acks, changes, stored)

    def _record(self, payload: Payload, now_ms: int) -> None:
        self._sequence += 1
        self._events.append(MatchEvent.of(self._sequence, payload, now_ms))

    def _record_rule(self, event: RuleEvent, now_ms: int) -> None:
        payload = self._reportable.check(event)
        seat = self._seats.get(event.slot)
        if seat is not None:
            self._sequence += 1
            payload = {"player_id": seat.player_id, "slot": event.slot, **payload}
            self._events.append(MatchEvent(self._sequence, event.type, now_ms, payload))

    def _ranking(self) -> list[PlayerResult]:
        scores = self._scores()
        seats = [*self._departed, *self._seats.values()]
        return ranking((s.player_id, s.name, s.score if s.left else scores.get(s.slot, 0)) for s in seats)

    def _scores(self) -> dict[int, int]:
        """Return the score of each slot, or none if the rules' scores cannot be stored: see `fault`."""
        try:
            return msgspec.convert(self.rules.scores(), dict[int, Score])
        except Exception as error:
            # A score that a database refuses would keep the result of the whole match out of it.
            self.fault = error
            return {}

    def _load(self, raw: bytes) -> None:
        if _decode_version(raw).version != _SNAPSHOT_VERSION:
            raise UnknownVersion(f"snapshot version {_decode_version(raw).version} is not {_SNAPSHOT_VERSION}")
        saved = _decode_snapshot(raw)
        self.rules.load(saved.world)
        self._sequence, self.tick_number = saved.sequence, saved.tick
        self.started_at_ms, self.reason, self.result = saved.started_at_ms, saved.reason, saved.result
        for seat in saved.seats:
            seat.connected = False
            if seat.left:
                self._departed.append(seat)
            else:
                self._seats[seat.slot] = seat

    def _replay(self, event: MatchEvent) -> None:
        """Joining, leaving and the end are always stored together with a snapshot; what is left is the rules' own."""
        if event.sequence <= self._sequence:
            return
        self._sequence = event.sequence
        if event.type == PlayerChatted.TYPE:
            return
        self.rules.replay(RuleEvent(event.type, int(event.payload.get("slot", -1)), event.payload))


def _public(event: MatchEvent) -> dict[str, Any]:
    """The payload without what no client can open."""
    return {name: value for name, value in event.payload.items() if name != _SEALED}


_SEALED: Final = "sealed"
_encode_snapshot = msgspec.msgpack.Encoder().encode
_decode_snapshot = msgspec.msgpack.Decoder(_Snapshot).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()[:16]
