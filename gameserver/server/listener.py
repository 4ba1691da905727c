"""The listening socket of the play port. It bounds the connections that have not joined a match."""

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
"""The bound of a very small server, so that its few players can still connect at the same time."""

_ACCEPTS_PER_TURN: Final = 8
"""Connections accepted in one turn of the event loop. Each costs up to a millisecond until its handshake is answered;
without a bound, a thousand waiting connections would delay ticks and health checks by as much."""


@dataclass
class _Waiting:
    """A connection that has not joined. `greeted`: its hello has arrived, so the server is working on it."""

    sock: socket.socket
    address: str
    greeted: bool = False


@dataclass
class UnjoinedLimit:
    """Bounds the connections that have not joined a match, for each peer address and in total.

    A connection counts from its TCP accept until its player has a seat (or is relayed to another server), so one that
    never sends an HTTP request counts too. At the bound, the oldest connection without a hello is closed in favour of
    the new one. So idle connections cannot keep players out, not even players who share an address with them.

    Attributes:
        total: bound for all addresses together.
        per_address: bound for one peer address; 0: only `total` applies, for a server behind a load balancer.
        metrics: where closed connections are counted, once the server has them.
    """

    total: int
    per_address: int
    metrics: Metrics | None = None
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _by_address: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, max_players: int, percent: int, per_address: int) -> UnjoinedLimit:
        """Return the limit for a server of `max_players`: `percent` of them, and at least 16."""
        return cls(max(_LEAST_UNJOINED, max_players * percent // 100), per_address)

    def __len__(self) -> int:
        return len(self._waiting)

    def admits(self, sock: socket.socket, address: str) -> bool:
        """Count a new connection. Returns False if it must be closed, because the server works on too many hellos."""
        # The kernel gives the lowest free number: the connection that had this one is closed.
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
        """Stop considering a connection for closing: its hello has arrived."""
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
                # The transport sees the end of the stream and closes itself, in whatever state it is.
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
    """A listening socket that accepts only connections within `limit`.

    The limit is applied here because nothing later sees every connection: picows calls our code only after a complete
    HTTP request, and for TLS a transport exists only after the TLS handshake.
    """

    limit: UnjoinedLimit
    _accepted_this_turn = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept one connection.

        Raises:
            BlockingIOError: no connection is waiting, or this turn of the event loop has accepted enough of them.
            ConnectionAbortedError: the connection is over the limit and has been closed. Event loops continue with the
                next connection after this error.
        """
        if self._accepted_this_turn >= _ACCEPTS_PER_TURN:
            # The socket stays readable, so the loop comes back in its next turn.
            raise BlockingIOError(errno.EAGAIN, "accepted enough connections in this turn")
        accepted, address = super().accept()
        if not self._accepted_this_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._accepted_this_turn += 1
        # IPv4 and IPv6 addresses are tuples that begin with the host.
        if not self.limit.admits(accepted, str(address[0])):
            accepted.close()
            raise ConnectionAbortedError("too many connections have not joined")
        return accepted, address

    def _next_turn(self) -> None:
        self._accepted_this_turn = 0
