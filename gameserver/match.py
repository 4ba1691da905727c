"""Implements a match without I/O: seats, inputs, events, frames, and the snapshot that moves a match to another server.

The room of the match calls `tick` at the tick rate and `input` for each input. The room stores what `take_events` and
`snapshot` return. A match measures time in ticks, so an interrupted match continues at the tick where it stopped.
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
"""Time between two full frames, which describe the complete match."""

NEVER_JOINED_SECONDS: Final = 30.0
"""Time after which a match ends if no player has joined."""

_MAX_PLAYERS_PER_SEAT: Final = 4
"""A match takes no new player after this number of players for each seat have left it, to limit the result's size."""

_SNAPSHOT_VERSION: Final = 1


class MatchSpec(Struct, frozen=True):
    """Holds the facts about a match that the API decided when it created the match.

    Attributes:
        match_id: id of the match.
        mode: name of the mode.
        seats: number of seats.
        duration_seconds: length of the match in seconds.
        rules: name of the rules module.
        created_at_ms: Unix time of the creation in milliseconds.
        server_id: id of the game server that the API chose for the match.
        internal: True for a match of probe or load-test accounts. An internal match counts in no statistics, and other
            players cannot join it.
        moves: number of times that an owner has handed the match over to another server.
        moved_at_ms: Unix time of the last hand-over in milliseconds, or 0 before the first hand-over.
    """

    match_id: str
    mode: str
    seats: int
    duration_seconds: float
    rules: str
    created_at_ms: int
    server_id: str
    internal: bool = False
    moves: int = 0
    moved_at_ms: int = 0

    @property
    def open_list(self) -> str:
        """Return the name of the list of open matches that contains this match while it has a free seat."""
        return open_list(self.mode, internal=self.internal)


def open_list(mode: str, *, internal: bool) -> str:
    """Return the name of the list of open matches of a mode, for internal accounts or for other players.

    The name of a mode contains no colon, so two lists never have the same name.
    """
    return f"internal:{mode}" if internal else mode


class JoinError(Exception):
    """Reports that a player cannot get a seat."""


class MatchFullError(JoinError):
    """Reports that every seat is taken."""


class MatchOverError(JoinError):
    """Reports that the match has ended."""


class UnknownVersion(ValueError):
    """Reports a snapshot that another version of the server wrote."""


class Seat(Struct, gc=False):
    """Describes a player in the match.

    Attributes:
        slot: number of the seat.
        player_id: id of the player.
        name: name that the other players see.
        resume_digest: first 16 bytes of the SHA-256 of the player's resume token.
        sequence: sequence number of the player's last input that the match has applied.
        score: the score that the player had when leaving, or 0 while the player has the seat.
        left: True after the player has given up the seat. The result of the match still contains the score of a player
            who has left.
        connected: True while the player has a connection.
    """

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
    """Holds the tick rate of a match, and its length and the intervals of its frames in ticks.

    Attributes:
        tick_rate_hz: ticks in one second.
        duration_ticks: length of the match in ticks.
        full_frame_ticks: ticks between two full frames.
        heartbeat_ticks: ticks without a frame after which the match sends a frame even if nothing has changed.
    """

    tick_rate_hz: int
    duration_ticks: int
    full_frame_ticks: int
    heartbeat_ticks: int

    @classmethod
    def of(cls, spec: MatchSpec, tick_rate_hz: int) -> Clock:
        """Return the clock of a match with this tick rate."""
        return cls(
            tick_rate_hz=tick_rate_hz,
            duration_ticks=max(1, round(spec.duration_seconds * tick_rate_hz)),
            full_frame_ticks=round(FULL_FRAME_SECONDS * tick_rate_hz),
            heartbeat_ticks=max(1, tick_rate_hz // HEARTBEAT_HZ),
        )


class Match:
    """Runs a match.

    The argument `now_ms` of a method is the Unix time in milliseconds, with which the match only dates events.

    Args:
        spec: facts about the match.
        tick_rate_hz: ticks in one second.

    Raises:
        LookupError: this server cannot load the rules.

    Attributes:
        spec: facts about the match.
        clock: the tick rate of the match, and its length and intervals in ticks.
        action_type: the type of a player's input.
        rules: the instance of the rules, which holds the state of the game.
        tick_number: number of ticks since the first player joined.
        started_at_ms: Unix time in milliseconds at which the first player joined, or 0 if no player has joined yet.
        result: payload of the event `match.ended`, or None before the end of the match.
        reason: why the match ended, or "" before the end of the match.
        fault: the error because of which the scores of the rules cannot be stored, or None. A match with a fault ends
            with the reason `error`.
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
        """Return True once a player has joined."""
        return self.started_at_ms > 0

    @property
    def ended(self) -> bool:
        """Return True once the match has ended."""
        return self.result is not None

    @property
    def seated(self) -> int:
        """Return the number of players with a seat."""
        return len(self._seats)

    @property
    def has_events(self) -> bool:
        """Return True if `take_events` has not yet returned all events."""
        return bool(self._events)

    @property
    def sequence(self) -> int:
        """Return the sequence number of the newest event, 0 before the first event."""
        return self._sequence

    @property
    def taken_sequence(self) -> int:
        """Return the sequence number of the newest event that `take_events` returned or that `restore` read."""
        return self._sequence - len(self._events)

    @property
    def end_taken(self) -> bool:
        """Return True once `take_events` has returned the event `match.ended`."""
        return self.ended and not self._events

    def players(self) -> list[PlayerInfo]:
        """Return the players with a seat."""
        return [PlayerInfo(s.slot, s.player_id, s.name, s.connected) for s in self._seats.values()]

    def join(self, player_id: str, name: str, now_ms: int) -> tuple[Seat, str]:
        """Give a player a seat. A player who already has a seat keeps the seat and gets a new resume token.

        Args:
            player_id: id of the player.
            name: name to show to other players.
            now_ms: Unix time in milliseconds.

        Returns:
            The seat and the resume token.

        Raises:
            MatchOverError: the match has ended.
            MatchFullError: every seat is taken, or too many players have left the match.
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
        """Return the seat of a resume token, or None if the player has left or the token was replaced."""
        digest = _digest(token)
        return next((s for s in self._seats.values() if hmac.compare_digest(s.resume_digest, digest)), None)

    def leave(self, slot: int, now_ms: int) -> None:
        """Free a player's seat for good. If no other player has a seat, the match ends with the reason `abandoned`."""
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
        """Apply an input, unless `sequence` is at most the sequence number of the player's last applied input."""
        if sequence <= seat.sequence or seat.left or self.result is not None:
            return
        seat.sequence = sequence
        self.rules.apply(seat.slot, action)
        self._acks += (seat.slot, sequence)

    def say(self, seat: Seat, sealed: bytes, now_ms: int) -> bool:
        """Record the encrypted chat line of a player.

        Returns:
            False if the player has left or the match has ended.
        """
        if seat.left or self.ended:
            return False
        self._record(PlayerChatted(seat.player_id, sealed, seat.slot), now_ms)
        return True

    def tick(self, now_ms: int) -> Frame | Full | None:
        """Advance the match by one tick.

        Returns:
            The frame for all clients, or None if nothing changed and fewer than `heartbeat_ticks` have passed since the
            last frame.

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
        """Return a full frame for a client that missed frames."""
        return Full(self.tick_number, self.players(), self.rules.view())

    def end(self, reason: str, now_ms: int) -> None:
        """End the match.

        After a call of `end` the attribute `result` does not change. The reason becomes `error` if the rules' scores
        cannot be stored.
        """
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
        """Return the events that the match has recorded since the last call of `take_events`, in order."""
        events, self._events = self._events, []
        return events

    def acknowledge(self, stored: Iterable[MatchEvent]) -> None:
        """Mark events as stored, so that the next frame sends these events to the clients."""
        self._stored += [Event(event.sequence, event.type, _public(event)) for event in stored]

    def snapshot(self) -> bytes:
        """Return the encoded state after all events up to `sequence`, from which another server restores the match."""
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
        cls,
        spec: MatchSpec,
        tick_rate_hz: int,
        snapshot: bytes | None,
        events: Iterable[MatchEvent] = (),
        *,
        used_sequence: int = 0,
    ) -> Match:
        """Restore a match from its last snapshot and the events that were stored after that snapshot.

        Args:
            spec: facts about the match.
            tick_rate_hz: ticks in one second.
            snapshot: what `snapshot` returned, or None if the match has no snapshot.
            events: stored events. Events that the snapshot covers are skipped.
            used_sequence: largest sequence number that an event of the match may have, also if the event is lost. The
                next event of the match gets a larger number.

        Raises:
            LookupError: this server cannot load the rules.
            UnknownVersion: another version of the server wrote the snapshot.
            ValueError: the snapshot or an event is damaged, or the rules raise an exception for the snapshot or an
                event.
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
            # The methods `load` and `replay` of a studio's rules can raise any exception. An exception of `load` or
            # `replay` means that the state cannot be restored.
            raise ValueError(f"damaged state: {type(error).__name__}: {error}") from error
        match._sequence = max(match._sequence, used_sequence)
        return match

    @classmethod
    def aborted(cls, spec: MatchSpec, tick_rate_hz: int, sequence: int, now_ms: int) -> Match:
        """Return a match that has ended without results of players, in the place of a match that no server can restore.

        Args:
            spec: facts about the match.
            tick_rate_hz: ticks in one second.
            sequence: sequence number of the last stored event.
            now_ms: Unix time in milliseconds.
        """
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
        """Return the score of each slot. If the scores cannot be stored, set `fault` and return an empty dict."""
        try:
            return msgspec.convert(self.rules.scores(), dict[int, Score])
        except Exception as error:
            # A single score that a database refuses would prevent the storage of the whole result, so report no scores.
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
        """Apply an event that was stored after the snapshot.

        An event after the snapshot is a chat line or an event of the rules, because the server stores a snapshot
        together with each event of another type.
        """
        if event.sequence <= self._sequence:
            return
        self._sequence = event.sequence
        if event.type == PlayerChatted.TYPE:
            return
        self.rules.replay(RuleEvent(event.type, int(event.payload.get("slot", -1)), event.payload))


def _public(event: MatchEvent) -> dict[str, Any]:
    """Return the payload of an event without the encrypted field `sealed`, which no client can decrypt."""
    return {name: value for name, value in event.payload.items() if name != _SEALED}


_SEALED: Final = "sealed"
_encode_snapshot = msgspec.msgpack.Encoder().encode
_decode_snapshot = msgspec.msgpack.Decoder(_Snapshot).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()[:16]
