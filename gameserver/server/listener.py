"""The listening socket of the play port. The socket limits the number of connections that have not joined a match."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from gameserver.server.metrics import Metrics

log = structlog.get_logger()

_LEAST_UNJOINED: Final = 16
"""Smallest limit of connections that have not joined a match, so that the players of a very small server can connect at
the same time."""

_ACCEPTS_PER_TURN: Final = 8
"""Largest number of connections that are accepted in one turn of the event loop. Each connection costs up to a
millisecond until its handshake is answered. Without a limit, a thousand waiting connections would delay ticks and
health checks by a second."""


@dataclass
class _Waiting:
    """Describes a connection that has not joined a match.

    Attributes:
        sock: the socket of the connection.
        address: the peer's network address.
        greeted: True once the client's `Hello` has arrived, and the server is admitting the client.
    """

    sock: socket.socket
    address: str
    greeted: bool = False


@dataclass
class UnjoinedLimit:
    """Limits the connections that have not joined a match, for each peer address and in total.

    A connection counts from its TCP accept until its player has a seat or is relayed to another server, even if it
    never sends an HTTP request. At the limit a new connection takes the place of the oldest connection without a
    `Hello`, which is closed. Idle connections cannot keep players out, not even players at the same address.

    Attributes:
        total: limit for the connections of all addresses together.
        per_address: limit for the connections of one peer address; 0 if only `total` applies, for a server behind a
            load balancer.
        metrics: counts the closed connections; None until the server sets it.
    """

    total: int
    per_address: int
    metrics: Metrics | None = None
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _by_address: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, max_players: int, percent: int, per_address: int) -> UnjoinedLimit:
        """Return the limit of a server.

        Args:
            max_players: number of players that the server can serve.
            percent: most connections that have not joined, in percent of `max_players`; 16 connections are always
                allowed.
            per_address: most connections from one peer address that have not joined; 0 for no limit.
        """
        return cls(max(_LEAST_UNJOINED, max_players * percent // 100), per_address)

    def __len__(self) -> int:
        return len(self._waiting)

    def admits(self, sock: socket.socket, address: str) -> bool:
        """Count a new connection.

        Returns:
            False if the new connection must be closed. A limit is reached, in total or for `address`, and all
            connections that count for this limit have sent a `Hello`.
        """
        # The kernel reuses a descriptor only after its earlier connection was closed, so the earlier connection no
        # longer counts.
        self.forget(sock.fileno())
        if self._is_full(address):
            self._forget_closed()
            if self._is_full(address) and not self._close_oldest(address):
                self._count()
                return False
        self._waiting[sock.fileno()] = _Waiting(sock, address)
        self._by_address[address] = self._by_address.get(address, 0) + 1
        return True

    def greeted(self, descriptor: int) -> None:
        """Protect a connection from being closed for a new connection, because its `Hello` has arrived."""
        waiting = self._waiting.get(descriptor)
        if waiting is not None:
            waiting.greeted = True

    def forget(self, descriptor: int) -> None:
        """Stop counting a connection that has joined or is closed."""
        waiting = self._waiting.pop(descriptor, None)
        if waiting is None:
            return
        left = self._by_address[waiting.address] - 1
        if left:
            self._by_address[waiting.address] = left
        else:
            del self._by_address[waiting.address]

    def _is_full(self, address: str) -> bool:
        return len(self._waiting) >= self.total or self._address_is_full(address)

    def _address_is_full(self, address: str) -> bool:
        return 0 < self.per_address <= self._by_address.get(address, 0)

    def _forget_closed(self) -> None:
        for descriptor in [number for number, waiting in self._waiting.items() if waiting.sock.fileno() == -1]:
            self.forget(descriptor)

    def _close_oldest(self, address: str) -> bool:
        same_address = self._address_is_full(address)
        for descriptor, waiting in self._waiting.items():
            if not waiting.greeted and (not same_address or waiting.address == address):
                # After `shutdown` the transport of the connection reads the end of the stream in any state of the
                # transport, and closes the connection.
                with contextlib.suppress(OSError):
                    waiting.sock.shutdown(socket.SHUT_RDWR)
                self.forget(descriptor)
                self._count()
                return True
        return False

    def _count(self) -> None:
        if self.metrics is not None:
            self.metrics.unjoined_closed += 1


class LimitedListener(socket.socket):
    """Accepts only connections within `limit`.

    Only the listening socket sees every connection. The library picows calls this program only after a complete HTTP
    request, and with TLS a transport exists only after the TLS handshake.

    Attributes:
        limit: the `UnjoinedLimit`, which the owner of the socket sets before the first connection.
    """

    limit: UnjoinedLimit
    _accepted_this_turn = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept one connection.

        Raises:
            BlockingIOError: no connection is waiting, or this turn of the event loop has accepted `_ACCEPTS_PER_TURN`
                connections.
            ConnectionAbortedError: the connection is over the limit and has been closed. Event loops continue with the
                next connection after a ConnectionAbortedError.
        """
        if self._accepted_this_turn >= _ACCEPTS_PER_TURN:
            # The listening socket stays readable while connections wait, so the event loop calls `accept` again in its
            # next turn.
            raise BlockingIOError(errno.EAGAIN, "accepted enough connections in this turn")
        accepted, address = super().accept()
        if not self._accepted_this_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._accepted_this_turn += 1
        # The peer's address is a tuple that begins with the host, for IPv4 and for IPv6.
        if not self.limit.admits(accepted, str(address[0])):
            accepted.close()
            raise ConnectionAbortedError("too many connections have not joined a match")
        return accepted, address

    def _next_turn(self) -> None:
        self._accepted_this_turn = 0
