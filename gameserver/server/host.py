"""Manages the matches of this server: admits players, opens and adopts matches, hands matches over and drops them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import structlog
from picows import WSCloseCode
from redis.exceptions import RedisError

from gameserver.cluster.directory import ALIVE_SECONDS, Directory, ServerInfo
from gameserver.cluster.epochs import EpochUnavailable, UnknownMatch
from gameserver.cluster.lease import LeaseHeld, Leases, NoSuchMatch
from gameserver.cluster.publisher import Outbox, Publisher
from gameserver.cluster.store import MatchStore
from gameserver.match import JoinError, MatchFullError
from gameserver.protocol import Hello, RefusalCode, sanitise_name
from gameserver.runtime.auth import InvalidToken, KeysUnavailable, Player, TokenVerifier
from gameserver.runtime.crypto import Sealer
from gameserver.server.committer import Committer
from gameserver.server.connection import Connection
from gameserver.server.identity import ServerIdentity
from gameserver.server.links import LinkRefused, Links
from gameserver.server.listener import UnjoinedLimit
from gameserver.server.metrics import Gauges, Metrics
from gameserver.server.player_log import player_came, player_went
from gameserver.server.relay import Relay, RelayError
from gameserver.server.restoring import Unreadable, restore
from gameserver.server.room import Origin, Room
from gameserver.server.scheduler import TickScheduler

log = structlog.get_logger()

_JOINED_PER_PLACE: Final = 1.25
"""Largest number of joined connections for each place of `max_players`. The number is more than 1, because players
return, and because the API sends players before it knows the newest load."""

_OPEN_PATIENCE_SECONDS: Final = 3.0
"""Longest time that a client waits for a match whose owner has just died."""

_OPEN_RETRY_SECONDS: Final = 0.05
_OWNER_HEARD_SECONDS: Final = 1.1
"""Age of the last heartbeat of a match's owner, about two intervals, up to which clients are redirected to the owner.
An owner with an older heartbeat may be dead, and waiting until its lease expires is then quicker than a redirect."""

_HANDED_OVER_SECONDS: Final = 5.0
"""Time after a hand-over in which clients who find no owner are sent to the successor that the last owner chose."""

_REDIRECTED_AT_ONCE: Final = 200
_ALTERNATES: Final = 3
_HAND_OVER_CHUNK: Final = 64
_WITHOUT_EPOCH_SECONDS: Final = 10.0
"""Time for which a match counts as waiting after DynamoDB has given no epoch. The next attempt comes within this time,
unless another server has the match."""


class _Elsewhere(Exception):
    """Reports that the client must play the match on another server.

    Attributes:
        server: the other server, or None if this server knows no other server for the match.
    """

    def __init__(self, server: ServerInfo | None) -> None:
        super().__init__(server.id if server is not None else "")
        self.server = server


class UnplayableError(Exception):
    """Reports that this server cannot run the match at the moment."""


class NoEpochError(UnplayableError):
    """Reports that DynamoDB gave this server no epoch of the match."""


class MatchHost:
    """Owns the rooms of this server, and does the rooms' work that has to wait for Redis or for other servers.

    Args:
        identity: name, addresses and capacity of this server.
        directory: the live servers and the matches of the region.
        leases: the leases of this server.
        store: writes matches to Redis.
        publisher: sends events to SNS.
        verifier: checks access tokens.
        snapshot_seconds: seconds between two snapshots of a match.
        lease_seconds: length of a lease in seconds.
        unjoined: bounds the connections that have not joined a match.
        links: protects the links to other servers, on which clients are relayed.
        sealer: encrypts chat lines; None if this server has no encryption key.

    Attributes:
        metrics: the counters of this server.
        others: the live servers apart from this server, as the heartbeat last read them.
        draining: True once this server opens no more matches.
        outdated: True while ECS has servers of a newer deployment, which replace this server.
        rooms: match id -> room.
        committer: stores the rooms.
        links: decides which servers may open a link to this server.
    """

    def __init__(
        self,
        identity: ServerIdentity,
        *,
        directory: Directory,
        leases: Leases,
        store: MatchStore,
        publisher: Publisher,
        verifier: TokenVerifier,
        snapshot_seconds: float,
        lease_seconds: float,
        unjoined: UnjoinedLimit,
        links: Links,
        sealer: Sealer | None = None,
    ) -> None:
        self.identity = identity
        self.metrics = Metrics()
        self.others: list[ServerInfo] = []
        self.draining = False
        self.outdated = False
        self.rooms: dict[str, Room] = {}
        self.committer = Committer(store, self._all_rooms, self._fenced, self._forgotten, self.metrics)
        self.publisher = publisher
        self.links = links
        publisher.on_done = self.published
        self._directory = directory
        self._leases = leases
        self._store = store
        self._verifier = verifier
        self._scheduler = TickScheduler(identity.tick_rate_hz, self.metrics)
        self._connections: set[Connection] = set()
        self._joined: set[Connection] = set()
        self._relayed: set[Connection] = set()
        self._unjoined = unjoined
        unjoined.metrics = self.metrics
        self._adopting: dict[str, asyncio.Task[Room]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listed: set[str] = set()
        self._recreating: set[str] = set()
        self._without_epoch: dict[str, float] = {}
        self._origin = Origin(
            identity.region, identity.server_id, snapshot_seconds, lease_seconds, self._alternates, sealer
        )

    @property
    def players(self) -> int:
        """Return the number of players who are connected to a seat."""
        return sum(len(room.connections) for room in self.rooms.values())

    @property
    def connections(self) -> int:
        """Return the number of open WebSocket connections."""
        return len(self._connections)

    @property
    def without_epoch(self) -> int:
        """Return the number of matches of which DynamoDB has lately given this server no epoch.

        These matches wait to be started, taken over, or written to Redis again.
        """
        since = time.monotonic() - _WITHOUT_EPOCH_SECONDS
        self._without_epoch = {match_id: at for match_id, at in self._without_epoch.items() if at > since}
        return len(self._without_epoch)

    def gauges(self) -> Gauges:
        """Return the momentary values for a scrape of the metrics."""
        return Gauges(
            players=self.players,
            connections=self.connections,
            matches=len(self.rooms),
            matches_without_epoch=self.without_epoch,
            event_backlog=self.publisher.backlog,
            event_lag_seconds=self.publisher.lag_seconds,
            events_published=self.publisher.events_published,
            publish_failures=self.publisher.calls_failed,
        )

    def see_others(self, others: list[ServerInfo]) -> None:
        """Replace the list of the other servers, and send each client the new addresses if they have changed.

        Args:
            others: the servers that take matches, the least loaded first.
        """
        before = set(self._alternates())
        self.others = others
        if before != set(self._alternates()):
            for room in self._all_rooms():
                room.tell_alternates()

    def info(self) -> ServerInfo:
        """Return this server's entry for the directory."""
        me = self.identity
        return ServerInfo(
            id=me.server_id,
            zone=me.zone,
            url=me.url,
            players=self.players,
            matches=len(self.rooms),
            max_players=me.max_players,
            draining=self.draining,
            private_url=me.private_url,
            certificate=self.links.published,
            outdated=self.outdated,
            without_epoch=self.without_epoch,
        )

    # The methods from here to `admit` are those of `connection.ConnectionOwner`, which admits clients.

    def opened(self, connection: Connection) -> None:
        """Register a new connection. Close a link of a server that is not in the directory."""
        self._connections.add(connection)
        mutual = connection.from_server and self.links.own is not None
        if mutual and not self.links.admits(connection.peer_certificate):
            log.warning("link_of_unknown_server_closed")
            connection.close(WSCloseCode.POLICY_VIOLATION)

    def joined(self, connection: Connection) -> None:
        """Register that the client of a connection has a seat, or is relayed to another server."""
        self._joined.add(connection)
        self._unjoined.forget(connection.descriptor)

    def closed(self, connection: Connection) -> None:
        """Remove a connection that has closed."""
        self._connections.discard(connection)
        self._joined.discard(connection)
        self._relayed.discard(connection)
        player_went(connection)

    def admit(self, connection: Connection, hello: Hello) -> None:
        """Seat, relay, redirect or refuse the client that has sent `hello`."""
        if len(self._joined) >= self.identity.max_players * _JOINED_PER_PLACE:
            connection.refuse(RefusalCode.UNAVAILABLE, "the server is full")
            return
        self._unjoined.greeted(connection.descriptor)
        room = self.rooms.get(hello.match_id)
        # The access token of a returning player is not checked again, because it may have expired during the match.
        if room is not None and hello.resume and self._resume(room, connection, hello.resume):
            return
        self._spawn(self._admit(connection, hello))

    async def _admit(self, connection: Connection, hello: Hello) -> None:
        try:
            player = await self._verifier.verify(hello.token) if hello.token else None
            if player is None and not hello.resume:
                raise InvalidToken("send an access token")
            room = await self.open(hello.match_id)
            if connection.open:
                self._seat(connection, hello, room, player)
        except _Elsewhere as elsewhere:
            await self._send_on(connection, hello, elsewhere.server)
        except KeysUnavailable as error:
            connection.refuse(RefusalCode.UNAVAILABLE, str(error))
        except InvalidToken as error:
            connection.refuse(RefusalCode.BAD_TOKEN, str(error))
        except NoSuchMatch:
            connection.refuse(RefusalCode.NO_SUCH_MATCH, "there is no such match, or it is over")
        except (UnplayableError, RedisError) as error:
            log.warning("admission_failed", match_id=hello.match_id, error=type(error).__name__)
            connection.refuse(RefusalCode.UNAVAILABLE, "the match is unavailable; try again in a moment")

    async def _send_on(self, connection: Connection, hello: Hello, server: ServerInfo | None) -> None:
        """Redirect the client to `server`, or relay the client if all servers share one public address."""
        shared = server is not None and server.url == self.identity.url
        if server is None or not shared or connection.from_server or not server.private_url:
            connection.redirect("" if server is None or shared else server.url, "owner")
            return
        try:
            await Relay.open(connection, hello, server.private_url, self.links.context(server))
        except (LinkRefused, RelayError) as error:
            log.info("relay_failed", match_id=hello.match_id, to=server.id, error=str(error))
            connection.redirect("", "owner")
        else:
            self.metrics.relays += 1
            if connection.open:
                self._relayed.add(connection)

    def _seat(self, connection: Connection, hello: Hello, room: Room, player: Player | None) -> None:
        if hello.resume and self._resume(room, connection, hello.resume):
            return
        if player is None:
            raise InvalidToken("the resume token does not belong to this match; send an access token")
        if player.internal != room.match.spec.internal:
            # In a match of real players, internal accounts, for example the bots of a load test, would take seats of
            # players. In an internal match, the result of a real player would not count in the statistics of players.
            raise InvalidToken("probe and load-test accounts can only play in internal matches")
        try:
            room.join(connection, player.id, sanitise_name(hello.name, player.name))
        except JoinError as error:
            code = RefusalCode.MATCH_FULL if isinstance(error, MatchFullError) else RefusalCode.MATCH_OVER
            connection.refuse(code, str(error))
        else:
            self.metrics.joins += 1
            player_came(connection, back=False)

    def _resume(self, room: Room, connection: Connection, token: str) -> bool:
        if resumed := room.resume(connection, token):
            self.metrics.resumes += 1
            player_came(connection, back=True)
        return resumed

    # The methods from here to `list_open_matches` open, adopt, finish and hand over matches.

    async def open(self, match_id: str) -> Room:
        """Return the room of a match, and adopt the match if no live server owns it.

        `open` waits for the lease of a dead owner to expire, at most `_OPEN_PATIENCE_SECONDS`.

        Raises:
            _Elsewhere: a live server owns the match, or this server drains.
            UnplayableError: the match cannot be adopted at the moment.
            NoSuchMatch: Redis has no match with this id.
            redis.exceptions.RedisError: Redis does not answer.
        """
        deadline = time.monotonic() + _OPEN_PATIENCE_SECONDS
        while True:
            if self.draining:
                raise _Elsewhere(self.others[0] if self.others else None)
            try:
                await self._leave_to_successor(match_id)
                return await self.adopt(match_id)
            except LeaseHeld:
                late = time.monotonic() > deadline
                await self._find_owner(match_id, ALIVE_SECONDS if late else _OWNER_HEARD_SECONDS)
            if late:
                raise UnplayableError(match_id)
            await asyncio.sleep(_OPEN_RETRY_SECONDS)

    async def _leave_to_successor(self, match_id: str) -> None:
        """Raise `_Elsewhere` if the last owner has just handed the match over to another server, which is alive."""
        if match_id in self.rooms:
            return
        (spec,) = await self._directory.specs([match_id])
        if spec is None or time.time() * 1000 - spec.moved_at_ms > _HANDED_OVER_SECONDS * 1000:
            return
        servers = await self._directory.servers(_OWNER_HEARD_SECONDS)
        successor = next((s for s in servers if s.id == spec.server_id and not s.draining), None)
        if successor is not None and successor.id != self.identity.server_id:
            raise _Elsewhere(successor)

    async def _find_owner(self, match_id: str, heard_within_seconds: float) -> None:
        """Raise `_Elsewhere` if the owner of the match has sent a heartbeat in the last `heard_within_seconds`."""
        owner = await self._directory.owner(match_id)
        server = next((s for s in await self._directory.servers(heard_within_seconds) if s.id == owner), None)
        if server is not None and server.id != self.identity.server_id:
            raise _Elsewhere(server)

    async def adopt(self, match_id: str) -> Room:
        """Acquire the lease of a match, load the match, and run it.

        If the match already runs on this server, `adopt` returns the match's room.

        Raises:
            LeaseHeld: another server holds the lease.
            NoSuchMatch: Redis has no match with this id.
            NoEpochError: DynamoDB gives no epoch of the match.
            UnplayableError: this server drains, or cannot restore the match.
            redis.exceptions.RedisError: Redis does not answer.
        """
        room = self.rooms.get(match_id)
        if room is not None and not room.closing:
            return room
        if self.draining:
            raise UnplayableError(match_id)
        # The sweep and several players may request one match at the same time. All calls of `adopt` for one match share
        # one task, because a second fencing token of the same server would make the first token invalid.
        task = self._adopting.get(match_id)
        if task is None:
            task = self._adopting[match_id] = self._spawn(self._adopt(match_id))
            task.add_done_callback(lambda _: self._adopting.pop(match_id, None))
        return await asyncio.shield(task)

    async def _adopt(self, match_id: str) -> Room:
        try:
            token = await self._leases.acquire(match_id)
        except (EpochUnavailable, UnknownMatch) as error:
            self._no_epoch(match_id, error)
            raise NoEpochError(match_id) from error
        except (LeaseHeld, NoSuchMatch):
            self._without_epoch.pop(match_id, None)
            raise
        self._without_epoch.pop(match_id, None)
        stored = await self._store.load(match_id)
        if stored is None:
            raise NoSuchMatch(match_id)
        try:
            match = await restore(stored, self._store, self.identity.tick_rate_hz, self.metrics)
        except Unreadable as error:
            raise UnplayableError(match_id) from error
        outbox = Outbox(match_id, token, stored.published, stored.committed, ended=match.end_taken)
        room = Room(match, outbox, self._origin, self.metrics, self.committer.wake)
        self.rooms[match_id] = room
        if room.accepting:
            self._listed.add(match_id)
        self._scheduler.add(room)
        self.publisher.track(outbox)
        self.metrics.matches_adopted += 1
        log.info("match_adopted", match_id=match_id, token=token, tick=match.tick_number, ended=match.ended)
        return room

    def published(self, match_id: str) -> None:
        """Drop an ended match, because SNS has accepted all its events, and mark it as finished in Redis."""
        room = self.rooms.get(match_id)
        if room is not None:
            self._drop(room)
            self._spawn(self._finish(room))

    async def _finish(self, room: Room) -> None:
        try:
            await self._store.finish(room.match.spec, room.outbox.token)
        except RedisError as error:
            # The match stays in the sorted set `matches:active`, so a server later adopts the match, finds all its
            # events published, and finishes the match.
            log.warning("match_not_finished", match_id=room.match_id, error=type(error).__name__)
        else:
            log.info("match_finished", match_id=room.match_id, reason=room.match.reason)

    async def hand_over(self) -> None:
        """Store the last state of every match, release the match's lease, and redirect its players to another server.

        If no other server is alive, the matches are released for the next server that starts.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        await asyncio.gather(*self._adopting.values(), return_exceptions=True)
        rooms = [room for room in self.rooms.values() if not room.closing]
        for start in range(0, len(rooms), _HAND_OVER_CHUNK):
            # The server hands over at most `_HAND_OVER_CHUNK` matches at a time, and only these matches stop. The other
            # matches continue until the server hands them over.
            chunk = rooms[start : start + _HAND_OVER_CHUNK]
            for room in chunk:
                room.closing = True
            await self.committer.commit(chunk, final=True)
            kept = [room for room in chunk if room.match_id in self.rooms]
            await asyncio.gather(*(self._release(room, self._successor(start + i)) for i, room in enumerate(kept)))

    def redirect_relayed(self) -> None:
        """Tell the relayed clients to connect again, because this server is about to stop.

        A call redirects at most `_REDIRECTED_AT_ONCE` clients, so that they do not all return at the same moment.
        """
        for connection in list(self._relayed)[:_REDIRECTED_AT_ONCE]:
            self._relayed.discard(connection)
            connection.redirect("", "drain")

    def _successor(self, index: int) -> ServerInfo | None:
        staying = [server for server in self.others if not server.outdated] or self.others
        return staying[index % len(staying)] if staying else None

    async def _release(self, room: Room, successor: ServerInfo | None) -> None:
        spec = b""
        if successor is not None:
            old = room.match.spec
            spec = msgspec.json.encode(
                msgspec.structs.replace(
                    old, server_id=successor.id, moves=old.moves + 1, moved_at_ms=time.time_ns() // 1_000_000
                )
            )
        await self._leases.release(room.match_id, room.outbox.token, spec)
        room.close(successor.url if successor is not None else "", "drain")
        self._drop(room)
        self.metrics.matches_handed_over += 1

    def _fenced(self, room: Room) -> None:
        log.warning("match_fenced", match_id=room.match_id, token=room.outbox.token)
        self.metrics.matches_fenced += 1
        room.close("", "moved")
        self._drop(room)

    def _drop(self, room: Room) -> None:
        room.closing = True
        self._scheduler.remove(room)
        self.publisher.untrack(room.match_id)
        if self.rooms.get(room.match_id) is room:
            del self.rooms[room.match_id]
        self._listed.discard(room.match_id)

    def _forgotten(self, room: Room) -> None:
        if room.match_id not in self._recreating:
            self._recreating.add(room.match_id)
            self._spawn(self._recreate(room)).add_done_callback(lambda _: self._recreating.discard(room.match_id))

    async def _recreate(self, room: Room) -> None:
        """Write a match to Redis again, from this process's memory, because Redis restarted without its data.

        Only the match's newest owner writes the match again. An owner that was stopped while another server took over
        drops the match.
        """
        token = room.outbox.token
        try:
            newest = await self._leases.confirm(room.match_id, token)
        except EpochUnavailable as error:
            # The next failed write of the match leads here again.
            self._no_epoch(room.match_id, error)
            return
        self._without_epoch.pop(room.match_id, None)
        if not newest:
            self._fenced(room)
            return
        snapshot, first, bodies = room.rescue()
        log.warning("match_recreated", match_id=room.match_id, token=token, unpublished=len(bodies))
        await self._store.recreate(room.match.spec, token, room.outbox.published, snapshot, first, bodies)

    def _no_epoch(self, match_id: str, error: Exception) -> None:
        self.metrics.epochs_unavailable += 1
        self._without_epoch[match_id] = time.monotonic()
        log.warning("epoch_unavailable", match_id=match_id, cause=str(error))

    async def list_open_matches(self) -> None:
        """Update the list of open matches: add matches that have free seats, and remove the full ones.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        for room in self._all_rooms():
            spec, accepting = room.match.spec, room.accepting
            if accepting == (spec.match_id in self._listed):
                continue
            if accepting:
                self._listed.add(spec.match_id)
                await self._directory.open_seats(spec.open_list, spec.match_id, spec.created_at_ms)
            else:
                self._listed.discard(spec.match_id)
                await self._directory.close_seats(spec.open_list, spec.match_id)

    # The process that owns this host uses `tasks` and `close`.

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """Return the background tasks that admit players and open matches."""
        return frozenset(self._tasks)

    def close(self) -> None:
        """Stop all ticks, and close every connection."""
        self._scheduler.close()
        for connection in list(self._connections):
            connection.close()

    def _all_rooms(self) -> Iterable[Room]:
        return list(self.rooms.values())

    def _alternates(self) -> list[str]:
        return [server.url for server in sorted(self.others, key=lambda server: server.id)[:_ALTERNATES]]

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        expected = (LeaseHeld, UnplayableError, NoSuchMatch, RedisError)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, expected):
            log.error("task_failed", exc_info=error)
