"""A match that this server runs: its connections, its ticks, and its changes that are not stored yet."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from gameserver.cluster.publisher import Outbox
from gameserver.cluster.store import Commit
from gameserver.events import MatchEnded, MatchEvent, RefusedEvent, encode, needs_snapshot
from gameserver.match import Match, Seat
from gameserver.protocol import (
    ChatLine,
    Codec,
    Ended,
    MatchInfo,
    RefusalCode,
    ServerMessage,
    Servers,
    Unsaid,
    Welcome,
)
from gameserver.runtime.crypto import Sealer
from gameserver.server.chat import Chat, NotSaid
from gameserver.server.connection import Connection, encode_shared, payload_size
from gameserver.server.metrics import Metrics

log = structlog.get_logger()

_EVENT_INTERVAL_SECONDS: Final = 0.1
"""Time between two writes of one match's events, unless a client waits for a write. A write of several events costs
little more than a write of a single event."""

_JOIN_UNTIL: Final = 0.8
"""Share of a match's length after which the API sends no more players to it."""

_UNWELCOMED_SECONDS: Final = 4.0
"""Time for which the seat is kept of a player whose connection ended before the `Welcome`."""

_SLOW_SECONDS: Final = 5.0
"""Time after which a client that has not drained its buffer is disconnected. The client may return with its resume
token."""


@dataclass(frozen=True)
class Origin:
    """Holds the settings that all rooms of a server share.

    Attributes:
        region: region of the server.
        server_id: id of the server.
        snapshot_seconds: seconds between two snapshots of a match.
        lease_seconds: length of a lease in seconds.
        alternates: returns the addresses of other servers, for clients whose server dies.
        sealer: encrypts chat lines; None if this server has no encryption key.
    """

    region: str
    server_id: str
    snapshot_seconds: float
    lease_seconds: float
    alternates: Callable[[], list[str]]
    sealer: Sealer | None = None


class _InFlight(NamedTuple):
    """Describes the contents of the commit that is being written, because further events can occur during the write.

    Attributes:
        events: number of pending events in the commit.
        welcomes: number of players who receive their `Welcome` once the commit is stored.
        sequence: sequence number of the newest event that the commit's snapshot covers.
    """

    events: int
    welcomes: int
    sequence: int


class Room:
    """Runs one match that this server owns, with the connections of its players.

    The scheduler calls `tick`. The committer calls `due`, `prepare`, `stored` and `not_stored`.

    Args:
        match: the match.
        outbox: the position of the match's events on their way to SNS.
        origin: settings that all rooms of the server share.
        metrics: the counters of the server.
        wake: makes the committer start its next round at once.

    Attributes:
        closing: True once the match moves to another server or is dropped.
        sampled: True if the delay of the next frame's inputs is measured.
    """

    def __init__(
        self, match: Match, outbox: Outbox, origin: Origin, metrics: Metrics, wake: Callable[[], None]
    ) -> None:
        self.match = match
        self.outbox = outbox
        self.closing = False
        self.sampled = False
        self._origin = origin
        self._metrics = metrics
        self._wake_committer = wake
        self._chat = Chat(match.spec.match_id, origin.sealer)
        self._saying: set[asyncio.Task[None]] = set()
        self._by_slot: dict[int, Connection] = {}
        self._audience: dict[Codec, list[Connection]] = {}
        self._waiting: list[tuple[Connection, Seat, str]] = []
        self._pending: list[MatchEvent] = []
        self._urgent = True
        self._in_flight = _InFlight(0, 0, 0)
        self._commits = 0
        self._epoch_start = match.taken_sequence + 1
        self._stored_at = time.monotonic()
        self._snapshot_at = self._stored_at - random.random() * origin.snapshot_seconds
        self._end_stored = match.end_taken
        self._read_at = self._stored_at

    @property
    def match_id(self) -> str:
        """Return the id of the match."""
        return self.match.spec.match_id

    @property
    def accepting(self) -> bool:
        """Return whether the API may send new players to the match, which needs a free seat and enough remaining
        time."""
        match = self.match
        late = match.tick_number > _JOIN_UNTIL * match.clock.duration_ticks
        return not (self.closing or match.ended or late) and match.seated < match.spec.seats > 1

    @property
    def connections(self) -> list[Connection]:
        """Return the connections of the seated players."""
        return list(self._by_slot.values())

    # The methods from here to `detach` seat players, and handle the messages of players.

    def join(self, connection: Connection, player_id: str, name: str) -> None:
        """Seat a player. The player receives the `Welcome` once the seat is stored.

        Raises:
            JoinError: the match is full or over.
        """
        seat, token = self.match.join(player_id, name, _now_ms())
        self._take(connection, seat)
        self._waiting.append((connection, seat, token))
        self._store_soon()

    def resume(self, connection: Connection, token: str) -> bool:
        """Give a returning player the earlier seat again.

        Returns:
            False if the resume token belongs to no player of this match, or to a player who has left.
        """
        seat = self.match.resume(token)
        if seat is None:
            return False
        self._take(connection, seat)
        self._welcome(connection, seat, token)
        return True

    def leave(self, connection: Connection) -> None:
        """Free the seat of a player who leaves the match, and close the connection."""
        seat = connection.seat
        if seat is not None:
            self.match.leave(seat.slot, _now_ms())
            self._store_soon()
            connection.close()

    def say(self, connection: Connection, text: str) -> None:
        """Send a player's chat line to all players of the match, as soon as the line is encrypted."""
        if connection.seat is not None:
            task = asyncio.ensure_future(self._say(connection, connection.seat, text))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _say(self, connection: Connection, seat: Seat, raw: str) -> None:
        try:
            text = self._chat.accept(seat.slot, raw)
            sealed = await self._chat.seal(seat.player_id, text)
        except NotSaid as unsaid:
            self._metrics.chat_unsaid += 1
            connection.send(Unsaid(unsaid.reason))
            return
        if not self.closing and self.match.say(seat, sealed, _now_ms()):
            self._metrics.chat_lines += 1
            self._broadcast(ChatLine(seat.slot, text))

    def lost(self, connection: Connection) -> None:
        """Detach a connection that has ended.

        The player keeps the seat, but a player who has not received a `Welcome` yet loses the seat after
        `_UNWELCOMED_SECONDS`.
        """
        seat = connection.seat
        unwelcomed = any(waiting is connection for waiting, _, _ in self._waiting)
        self.detach(connection)
        if seat is not None and unwelcomed:
            asyncio.get_running_loop().call_later(_UNWELCOMED_SECONDS, self._free, seat)

    def _free(self, seat: Seat) -> None:
        if not (seat.connected or seat.left or self.closing or self.match.ended):
            self.match.leave(seat.slot, _now_ms())
            self._store_soon()

    def detach(self, connection: Connection) -> None:
        """Remove a connection from the room. The player keeps the seat."""
        audience = self._audience.get(connection.codec, [])
        if connection in audience:
            audience.remove(connection)
        seat = connection.seat
        if seat is not None and self._by_slot.get(seat.slot) is connection:
            del self._by_slot[seat.slot]
            seat.connected = False

    # The methods from here to `_fail` advance the match and send frames.

    def tick(self, now_ms: int) -> None:
        """Read the players' messages, advance the match by one tick, and send every client the frame.

        The match stands still if Redis has stored no write of the match for the length of a lease.

        Args:
            now_ms: the time in milliseconds since 1970.
        """
        now = time.monotonic()
        for audience in self._audience.values():
            # `read` removes closed connections from `audience`, so the loop runs over a copy of `audience`.
            for connection in list(audience):
                connection.read()
        read_before, self._read_at = self._read_at, now
        if self.closing or now - self._stored_at > self._origin.lease_seconds:
            return
        try:
            message = self.match.tick(now_ms)
        except Exception as error:
            # A fault in the rules of one match must not stop the other matches.
            self._fail(error, now_ms)
            return
        if message is not None:
            self._metrics.inputs += len(message.acks) // 2
            self._broadcast(message)
            if self.sampled:
                self.sampled = False
                self._metrics.input_to_state.append(time.monotonic() - read_before)
        if self.match.ended and not self._end_stored:
            self._store_soon()

    def _broadcast(self, message: ServerMessage) -> None:
        metrics = self._metrics
        for codec, audience in self._audience.items():
            if not audience:
                continue
            buffer = encode_shared(codec, message)
            size = payload_size(buffer)
            behind: list[Connection] = []
            for connection in audience:
                if connection.behind:
                    behind.append(connection)
                else:
                    connection.push(buffer)
            sent = len(audience) - len(behind)
            metrics.frames_sent += sent
            metrics.bytes_sent += sent * size
            for connection in behind:
                self._catch_up(connection)

    def _catch_up(self, connection: Connection) -> None:
        if not connection.paused:
            connection.behind = False
            connection.send(self.match.full())
            return
        self._metrics.frames_skipped += 1
        connection.skipped_frames += 1
        if connection.skipped_frames > _SLOW_SECONDS * self.match.clock.tick_rate_hz:
            connection.abort()

    def _fail(self, error: Exception, now_ms: int) -> None:
        self._metrics.matches_failed += 1
        rules = self.match.spec.rules
        if isinstance(error, RefusedEvent):
            log.error(
                "event_refused", match_id=self.match_id, rules=rules, event_type=error.event_type, cause=str(error)
            )
        else:
            log.error("match_failed", match_id=self.match_id, rules=rules, exc_info=error)
        self.match.end("error", now_ms)
        self._store_soon()

    # The committer calls `due`, `prepare`, `stored` and `not_stored` to store the match.

    def due(self, now: float) -> bool:
        """Return whether the committer should store this match now.

        Args:
            now: the current time.monotonic().
        """
        if self.closing:
            return False
        if self._urgent:
            return True
        if self._end_stored:
            return now - self._stored_at >= self._origin.lease_seconds / 3
        if self._snapshot_due(now):
            return True
        return (bool(self._pending) or self.match.has_events) and now - self._stored_at >= _EVENT_INTERVAL_SECONDS

    def prepare(self, now: float, *, final: bool = False) -> Commit:
        """Return the next write of this match.

        The events stay pending, and each further write contains them, until `stored` confirms a write.

        Args:
            now: the current time.monotonic().
            final: True to include a snapshot even if none is due.
        """
        self._urgent = False
        self._pending += self.match.take_events()
        if self.match.fault is not None:
            self._metrics.matches_failed += 1
            log.error(
                "scores_refused", match_id=self.match_id, rules=self.match.spec.rules, cause=str(self.match.fault)
            )
            self.match.fault = None
        self._in_flight = _InFlight(len(self._pending), len(self._waiting), self.match.sequence)
        self._commits += 1
        snapshot = None
        if final or self._waiting or self._snapshot_due(now) or any(map(needs_snapshot, self._pending)):
            snapshot = self.match.snapshot()
            self._snapshot_at = now
        return Commit(
            match_id=self.match_id,
            token=self.outbox.token,
            number=self._commits,
            first_sequence=self._pending[0].sequence if self._pending else 0,
            bodies=self._encode_pending(),
            snapshot=snapshot,
            seats_taken=self.match.seated,
        )

    def _encode_pending(self) -> list[bytes]:
        origin, epoch, start = self._origin, self.outbox.token, self._epoch_start
        return [
            encode(event, self.match_id, origin.region, origin.server_id, epoch=epoch, epoch_start=start)
            for event in self._pending
        ]

    def rescue(self) -> tuple[bytes, int, list[bytes]]:
        """Return what must be written to Redis if Redis has lost the match.

        Returns:
            A snapshot, the sequence number of the first event that SNS has not accepted, and these events' bodies. The
            snapshot covers all events.
        """
        self._pending += self.match.take_events()
        recent = self.outbox.recent
        bodies = [event.body for event in recent] + self._encode_pending()
        first = recent[0].sequence if recent else self.outbox.committed + 1
        return self.match.snapshot(), first, bodies

    def stored(self, commit: Commit, now: float) -> None:
        """Handle a write that Redis has stored.

        Clients receive the events of a write, and its `Welcome` messages, only after Redis has stored the write.

        Args:
            commit: the write, as `prepare` returned it.
            now: time.monotonic() when the write was sent.
        """
        covered = self._in_flight
        done, self._pending = self._pending[: covered.events], self._pending[covered.events :]
        self._stored_at = now
        if done:
            self.outbox.commit(commit.first_sequence, commit.bodies)
            self.match.acknowledge(done)
        if commit.snapshot is not None:
            self.outbox.snapshotted = covered.sequence
            welcomes, self._waiting = self._waiting[: covered.welcomes], self._waiting[covered.welcomes :]
            for connection, seat, token in welcomes:
                if self._by_slot.get(seat.slot) is connection:
                    self._welcome(connection, seat, token)
        if done and done[-1].type == MatchEnded.TYPE:
            self._finish()

    def tell_alternates(self) -> None:
        """Send all clients the addresses of the other servers, because these addresses have changed."""
        self._broadcast(Servers(self._origin.alternates()))

    def not_stored(self) -> None:
        """Repeat a failed write as soon as possible, with a snapshot, because Redis may have lost the old snapshot."""
        self._urgent = True
        self._snapshot_at = 0.0

    def close(self, url: str, reason: str) -> None:
        """Stop the match on this server, and redirect its clients.

        Args:
            url: address of the new owner, or "" if the clients shall ask the API for one.
            reason: `owner`, `drain` or `moved`, as in the protocol's message `Redirect`.
        """
        self.closing = True
        for connection in [*self._by_slot.values(), *(waiting[0] for waiting in self._waiting)]:
            connection.redirect(url, reason)
        self._waiting.clear()

    def _snapshot_due(self, now: float) -> bool:
        return not self._end_stored and now - self._snapshot_at >= self._origin.snapshot_seconds

    def _take(self, connection: Connection, seat: Seat) -> None:
        previous = self._by_slot.get(seat.slot)
        if previous is not None and previous is not connection:
            self.detach(previous)
            previous.refuse(RefusalCode.REPLACED, "the player has connected from elsewhere")
        self._by_slot[seat.slot] = connection
        seat.connected = True
        connection.seated(self, seat)

    def _welcome(self, connection: Connection, seat: Seat, token: str) -> None:
        match = self.match
        info = MatchInfo(
            match_id=self.match_id,
            mode=match.spec.mode,
            rules=match.spec.rules,
            server_id=self._origin.server_id,
            slot=seat.slot,
            player_id=seat.player_id,
            resume=token,
            tick_rate_hz=match.clock.tick_rate_hz,
            duration_ticks=match.clock.duration_ticks,
            seats=match.spec.seats,
            players=match.players(),
            alternates=self._origin.alternates(),
        )
        connection.send(Welcome(info, match.tick_number, match.rules.view(), seat.sequence))
        if self._end_stored:
            connection.send(Ended(match.result))
            connection.close()
        else:
            self._audience.setdefault(connection.codec, []).append(connection)
            connection.hold()

    def _finish(self) -> None:
        self._end_stored = True
        self.outbox.ended = True
        self._metrics.matches_ended += 1
        for connection in self.connections:
            connection.send(Ended(self.match.result))
            connection.close()

    def _store_soon(self) -> None:
        self._urgent = True
        self._wake_committer()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
