"""Handles the proxy's connections to targets, and forwards the bytes of WebSockets in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

MemberKey = tuple[str, str, int]
"""The target group, the address and the port of a target."""


class ServedPlayer(Protocol):
    """Describes the part of the proxy's connection to a client that the connection to a target uses.

    Attributes:
        transport: The connection of the client.
        active: The time of the last byte in either direction.
    """

    transport: asyncio.Transport
    active: float

    def from_target(self, data: bytes) -> None:
        """Send a part of the target's response to the client."""

    def target_lost(self, target: TargetSide) -> None:
        """Note that the target has closed its connection."""

    def tunnel_ended(self) -> None:
        """Note that a side of the WebSocket has closed its connection."""


class TargetSide(asyncio.Protocol):
    """Holds a connection to a target.

    Attributes:
        key: The key of the target.
        player: The client whose request the target serves; None while the connection waits for a request.
        transport: The connection.
    """

    transport: asyncio.Transport

    def __init__(self, key: MemberKey, forget: Callable[[MemberKey, TargetSide], None]) -> None:
        """Create the protocol of a connection.

        Args:
            key: The key of the target.
            forget: Function that is called if the target closes the connection between two requests.
        """
        self.key = key
        self.player: ServedPlayer | None = None
        self._forget = forget

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport. asyncio calls this method."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Forward bytes of a response to the client. asyncio calls this method."""
        if self.player is None:
            # A target that sends bytes without a request is broken.
            self.transport.abort()
        else:
            self.player.from_target(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection. asyncio calls this method."""
        del exc
        if self.player is None:
            self._forget(self.key, self)
        else:
            self.player.target_lost(self)

    def pause_writing(self) -> None:
        """Stop reading from the client while the target is slow. asyncio calls this method."""
        if self.player is not None:
            self.player.transport.pause_reading()

    def resume_writing(self) -> None:
        """Continue to read from the client. asyncio calls this method."""
        if self.player is not None:
            self.player.transport.resume_reading()

    def cut(self) -> None:
        """Close the connection immediately, and also the connection of the client whose request the target serves."""
        if self.player is not None:
            self.player.transport.abort()
        self.transport.abort()


class TunnelSide(asyncio.Protocol):
    """Forwards the bytes of one direction of a WebSocket. It does not parse the bytes, which saves CPU time."""

    def __init__(self, player: ServedPlayer, other: asyncio.Transport, now: Callable[[], float]) -> None:
        """Create the protocol for one of the two connections of a WebSocket: to the client or to the target.

        Args:
            player: The client of the WebSocket.
            other: The connection to which this object forwards the bytes.
            now: The clock of the event loop.
        """
        self._player = player
        self._other = other
        self._write = other.write
        self._now = now

    def data_received(self, data: bytes) -> None:
        """Forward bytes to the other connection of the WebSocket. asyncio calls this method."""
        self._player.active = self._now()
        self._write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other connection of the WebSocket. asyncio calls this method."""
        del exc
        self._other.close()
        self._player.tunnel_ended()

    def pause_writing(self) -> None:
        """Stop reading from the other connection while this connection is slow. asyncio calls this method."""
        self._other.pause_reading()

    def resume_writing(self) -> None:
        """Continue to read from the other connection of the WebSocket. asyncio calls this method."""
        self._other.resume_reading()
