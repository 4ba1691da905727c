"""One client's WebSocket, driven by picows callbacks: no coroutine, task or queue for any message after the first."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from picows import WSCloseCode, WSMsgType
from picows.picows import WSFrame, WSListener, WSTransport

from gameserver.match import Match, Seat
from gameserver.protocol import (
    MAX_INPUTS_PER_SECOND,
    UNDECODABLE,
    Codec,
    Hello,
    Input,
    Ping,
    PlayMessage,
    Pong,
    ProtocolError,
    Redirect,
    RefusalCode,
    Refused,
    Say,
    ServerMessage,
    reason,
)
from gameserver.server.loop import GameLoop
from gameserver.server.metrics import Metrics

_HELLO_SECONDS: Final = 5.0
_SEND_BUFFER_BYTES: Final = 64 * 1024
"""Kernel buffer of one client: 10 to 20 s of a usual match. Left to itself, Linux lets it grow to megabytes."""

_HIGH_WATER_BYTES: Final = 32 * 1024
"""Our own buffer beyond the kernel's; from here on the client gets no frames until it has drained."""

_CLOSE_SECONDS: Final = 3.0
"""Time for the last messages to reach a client that is being closed; one that does not read must not linger."""

_DROP_ALLOWANCE: Final = 10 * MAX_INPUTS_PER_SECOND
_DEAD_PEER_MS: Final = 10_000
_HEADER: Final = 14
"""Room that picows needs before a message, to put the frame's header there without copying."""


class Seatholder(Protocol):
    """The methods of a room that a connection calls; `gameserver.server.room.Room` implements them."""

    match: Match
    closing: bool
    sampled: bool

    @property
    def match_id(self) -> str: ...
    def say(self, connection: Connection, text: str) -> None: ...
    def leave(self, connection: Connection) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Forwarder(Protocol):
    """The methods of a relay that a connection calls; `gameserver.server.relay.Relay` implements them."""

    def forward(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class ConnectionOwner(Protocol):
    """What a connection asks of the server around it."""

    metrics: Metrics

    def opened(self, connection: Connection) -> None: ...
    def joined(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def admit(self, connection: Connection, hello: Hello) -> None: ...


class Connection(WSListener):
    """States: waiting for `Hello`; being admitted; seated (`room` and `seat`) or relayed to another server; closed.

    Args:
        from_server: another server relays this client to us.

    Attributes:
        paused: its buffer is full; `behind`: it has missed frames since, and needs a full one.
    """

    # No instance dictionaries: thousands of connections, and picows looks the callbacks up on each frame.
    __slots__ = (
        "_decode",
        "_dropped",
        "_hello_seen",
        "_hello_timer",
        "_match",
        "_metrics",
        "_read_socket",
        "_received",
        "_received_bytes",
        "_relay",
        "_server",
        "_transport",
        "_window_start",
        "behind",
        "codec",
        "from_server",
        "message_type",
        "open",
        "paused",
        "room",
        "seat",
        "skipped_frames",
    )

    def __init__(self, server: ConnectionOwner, codec: Codec, *, from_server: bool = False) -> None:
        self.codec = codec
        self.from_server = from_server
        self.message_type = WSMsgType.BINARY if codec.binary else WSMsgType.TEXT
        self.room: Seatholder | None = None
        self.seat: Seat | None = None
        self.open = False
        self.paused = False
        self.behind = False
        self.skipped_frames = 0
        self._server = server
        self._metrics = server.metrics
        self._transport: WSTransport | None = None
        self._hello_seen = False
        self._hello_timer: asyncio.TimerHandle | None = None
        self._decode: Callable[[bytes], PlayMessage]
        self._match: Match
        self._read_socket: Callable[[], object] | None = None
        self._relay: Forwarder | None = None
        self._received = 0
        self._received_bytes = 0
        self._window_start = 0.0
        self._dropped = 0

    # picows callbacks

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.open = True
        underlying = transport.underlying_transport
        underlying.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        _tune(underlying.get_extra_info("socket"))
        self._hello_timer = asyncio.get_running_loop().call_later(_HELLO_SECONDS, self._no_hello)
        self._server.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # Every input of every player comes through here: it is written out instead of divided into functions.
        # picows delivers all frames of its buffer, also those after we have closed the connection.
        if not self.open:
            return
        # Control frames and fragments count too: a flood of PINGs costs as much as a flood of inputs.
        self._received += 1
        if self._received > MAX_INPUTS_PER_SECOND and not self._within_rate():
            return
        kind = frame.msg_type
        if kind != self.message_type or not frame.fin:
            self._on_other(transport, frame, kind)
            return
        seat = self.seat
        if seat is None:
            self._on_unseated(frame.get_payload_as_bytes())
            return
        payload = frame.get_payload_as_bytes()
        self._received_bytes += len(payload)
        try:
            message = self._decode(payload)
        except UNDECODABLE as error:
            self._malformed(reason(error))
            return
        if type(message) is Input:
            self._match.input(seat, message.sequence, message.action)
        elif type(message) is Ping:
            self.send(Pong(message.at))
        elif self.room is None:
            return
        elif type(message) is Say:
            self.room.say(self, message.text)
        else:
            self.room.leave(self)

    def _on_other(self, transport: WSTransport, frame: WSFrame, kind: WSMsgType) -> None:
        if kind is WSMsgType.PING:
            # RFC 6455, 5.5.3 allows to answer only the newest of several PINGs. A client that does not read gets none,
            # so that its answers do not pile up in our buffer.
            if not self.paused:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind is not WSMsgType.PONG:
            self._malformed("send whole messages of the chosen subprotocol")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - given by picows
        self.open = False
        self._read_socket = None
        self._cancel_hello_timer()
        self._metrics.bytes_received += self._received_bytes
        if self.room is not None:
            self.room.lost(self)
        if self._relay is not None:
            self._relay.close()
        self._server.closed(self)

    def pause_writing(self) -> None:
        self.paused = self.behind = True
        if self._relay is not None:
            self._relay.pause()

    def resume_writing(self) -> None:
        self.paused = False
        self.skipped_frames = 0
        if self._relay is not None:
            self._relay.resume()

    # Used by the room and the server

    def seated(self, room: Seatholder, seat: Seat) -> None:
        """From now on messages are inputs of `seat`."""
        self.room, self.seat = room, seat
        self._server.joined(self)
        self._decode = self.codec.input_decoder(room.match.action_type).raw
        self._match = room.match

    def relayed(self, relay: Forwarder) -> None:
        """From now on messages go to another server."""
        self._relay = relay
        self._server.joined(self)

    def hold(self) -> None:
        """From now on messages wait in the socket until `read`, where the loop can do that.

        A player's input changes nothing before the next tick. Read then, the players of a room one after the other,
        it costs neither a wake-up nor a look at the socket, and what reading has brought into the CPU's cache is
        still there when the frame is sent.
        """
        loop = asyncio.get_running_loop()
        if self.open and self._transport is not None and isinstance(loop, GameLoop):
            self._read_socket = loop.hold(_descriptor(self._transport))

    def read(self) -> None:
        """Take the messages that have come, if the connection is held."""
        if self._read_socket is not None:
            self._read_socket()

    @property
    def descriptor(self) -> int:
        """The number of the connection's socket; -1 once it is closed."""
        return _descriptor(self._transport) if self._transport is not None else -1

    def push(self, buffer: bytearray) -> None:
        """Send what `encode_shared` has prepared, without a copy. Nothing happens once the connection is closed."""
        if self._transport is not None:
            self._transport.send_reuse_external_bytearray(self.message_type, buffer, _HEADER)

    def send(self, message: ServerMessage) -> None:
        """Send one message to this client only."""
        self.send_raw(self.codec.encode(message))

    def send_raw(self, payload: bytes) -> None:
        """Send a message that is encoded already."""
        if self.open and self._transport is not None:
            self._transport.send(self.message_type, payload)
            self._metrics.bytes_sent += len(payload)

    def refuse(self, code: str, message: str) -> None:
        """Say why, and close."""
        self._metrics.refusals += 1
        self.send(Refused(code, message))
        self.close(WSCloseCode.TRY_AGAIN_LATER if code == RefusalCode.UNAVAILABLE else WSCloseCode.POLICY_VIOLATION)

    def redirect(self, url: str, reason: str) -> None:
        """Send the client to another server, and close."""
        self._metrics.redirects += 1
        self.send(Redirect(url, reason))
        self.close(WSCloseCode.SERVICE_RESTART)

    def close(self, code: WSCloseCode = WSCloseCode.OK) -> None:
        """Idempotent. What was sent before is delivered if the client still reads."""
        if self.open and self._transport is not None:
            self.open = False
            self._watch()
            self._transport.send_close(code)
            self._transport.disconnect()
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._cut)

    def abort(self) -> None:
        """Drop a client that does not read, or that floods; what is buffered for it is lost."""
        if self._transport is not None:
            self.open = False
            self._metrics.clients_dropped += 1
            self._cut()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _watch(self) -> None:
        """Whoever holds the connection will not read it any more."""
        loop = asyncio.get_running_loop()
        if self._read_socket is not None and self._transport is not None and isinstance(loop, GameLoop):
            self._read_socket = None
            loop.release(_descriptor(self._transport))

    def _on_unseated(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.forward(data)
        elif not self._hello_seen:
            # A client may not run ahead of its Welcome; what it sends after Hello means nothing until then.
            try:
                hello = self.codec.decode_hello(data)
            except ProtocolError as error:
                self._malformed(str(error))
                return
            self._hello_seen = True
            self._cancel_hello_timer()
            self._server.admit(self, hello)

    def _within_rate(self) -> bool:
        """Called only after more messages than a second's worth: checks how long they took."""
        now = time.monotonic()
        if now - self._window_start >= 1.0:
            self._window_start, self._received, self._dropped = now, 0, 0
            self._measure()
            return True
        if self._received <= 2 * MAX_INPUTS_PER_SECOND:
            return True
        self._metrics.inputs_dropped += 1
        self._dropped += 1
        if self._dropped > _DROP_ALLOWANCE:
            self.refuse(RefusalCode.RATE_LIMITED, f"more than {MAX_INPUTS_PER_SECOND} messages a second")
            # Not after the usual grace: until then the flood would go on.
            self.abort()
        return False

    def _measure(self) -> None:
        """Once in many messages, so that no message pays for it: count bytes, and have the room time this tick."""
        self._metrics.bytes_received += self._received_bytes
        self._received_bytes = 0
        if self.room is not None:
            self.room.sampled = True

    def _malformed(self, text: str) -> None:
        self._metrics.protocol_errors += 1
        self.refuse(RefusalCode.BAD_MESSAGE, text)

    def _no_hello(self) -> None:
        self._hello_timer = None
        if not self._hello_seen:
            self.refuse(RefusalCode.BAD_MESSAGE, f"no hello within {_HELLO_SECONDS:.0f} s")

    def _cancel_hello_timer(self) -> None:
        if self._hello_timer is not None:
            self._hello_timer.cancel()
            self._hello_timer = None


_shared = bytearray(4096)


def encode_shared(codec: Codec, message: ServerMessage) -> bytearray:
    """Encode once for many clients, into the one buffer of the process: use it up before the next call."""
    codec.encode_into(message, _shared, _HEADER)
    return _shared


def payload_size(buffer: bytearray) -> int:
    return len(buffer) - _HEADER


def _descriptor(transport: WSTransport) -> int:
    number: int = transport.underlying_transport.get_extra_info("socket").fileno()
    return number


def _tune(sock: Any) -> None:
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    # Some machines default to BBR, which paces each of these small frames by a timer; it only pays for bulk.
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    # The server sends at least twice a second, so the kernel notices a peer that vanished without a word.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
