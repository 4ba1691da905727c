"""The WebSocket connection of one client.

The library picows calls a method of `Connection` for each frame. An input needs no coroutine, no task and no queue.
"""

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
"""Size of the kernel's send buffer for one client, which is enough for 10 to 20 s of a usual match's frames. Without a
limit, Linux lets the send buffer grow to megabytes."""

_HIGH_WATER_BYTES: Final = 32 * 1024
"""Fill level of this process's send buffer at which a client receives no more frames until the buffer has drained. The
kernel's send buffer comes in addition to this process's send buffer."""

_CLOSE_SECONDS: Final = 3.0
"""Time for the last messages to reach a client before its connection is cut, because a client that does not read would
keep the connection open."""

_DROP_ALLOWANCE: Final = 10 * MAX_INPUTS_PER_SECOND
_DEAD_PEER_MS: Final = 10_000
_HEADER: Final = 14
"""Bytes that picows needs in front of a message to write the frame's header without copying the message."""


class Seatholder(Protocol):
    """Lists the methods of a room that a connection calls; `gameserver.server.room.Room` implements them."""

    match: Match
    closing: bool
    sampled: bool

    @property
    def match_id(self) -> str: ...
    def say(self, connection: Connection, text: str) -> None: ...
    def leave(self, connection: Connection) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Forwarder(Protocol):
    """Lists the methods of a relay that a connection calls; `gameserver.server.relay.Relay` implements them."""

    def forward(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class ConnectionOwner(Protocol):
    """Lists the methods of the server that a connection calls; `gameserver.server.host.MatchHost` implements them."""

    metrics: Metrics

    def opened(self, connection: Connection) -> None: ...
    def joined(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def admit(self, connection: Connection, hello: Hello) -> None: ...


class Connection(WSListener):
    """Receives and sends the messages of one client.

    A connection first waits for the client's `Hello`, then for admission. An admitted client is seated in a room, or
    relayed to another server, until the connection is closed.

    Args:
        server: the server that admits the client.
        codec: the encoding of the messages, as the client chose it by its subprotocol.
        from_server: True if another server relays this client to this server.

    Attributes:
        room: the `Room` of the client's match; None before the client has a seat.
        seat: the client's seat in `room`; None before the client has a seat.
        message_type: the WebSocket type of the client's messages, binary or text.
        open: True from the WebSocket handshake until the connection is closed from either end.
        paused: True while the send buffer is full.
        behind: True from the moment when the send buffer is full until the server sends the client a frame with the
            whole state.
        skipped_frames: frames that the client has missed in a row because its send buffer was full.
    """

    # `__slots__` saves memory in thousands of connections, and picows finds the callbacks faster in objects without a
    # `__dict__`.
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

    # picows calls the public methods from here to `resume_writing`.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Register the connection with the server, and start the time limit for the client's `Hello`."""
        self._transport = transport
        self.open = True
        underlying = transport.underlying_transport
        underlying.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        _tune(underlying.get_extra_info("socket"))
        self._hello_timer = asyncio.get_running_loop().call_later(_HELLO_SECONDS, self._no_hello)
        self._server.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle one frame from the client: an input, a ping, a chat line, the `Hello` or a control frame."""
        # Every input of every player passes through `on_ws_frame`, so its steps are not divided into functions, whose
        # calls would take time. After this process has closed a connection, picows still delivers the frames that it
        # has already received.
        if not self.open:
            return
        # Control frames and fragments count towards the limit of messages in a second, because a flood of PINGs costs
        # as much as a flood of inputs.
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
            # RFC 6455, section 5.5.3, allows a server to answer only the newest of several PINGs. A client that does
            # not read receives no PONGs, because PONGs would fill its send buffer.
            if not self.paused:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind is not WSMsgType.PONG:
            self._malformed("send unfragmented messages of the type that belongs to the chosen subprotocol")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - given by picows
        """Tell the room, the relay and the server that the connection has ended."""
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
        """Stop frames to this client, because its send buffer is full."""
        self.paused = self.behind = True
        if self._relay is not None:
            self._relay.pause()

    def resume_writing(self) -> None:
        """Allow frames to this client again, because its send buffer has drained."""
        self.paused = False
        self.skipped_frames = 0
        if self._relay is not None:
            self._relay.resume()

    # The room and the server call the methods from here to `abort`.

    def seated(self, room: Seatholder, seat: Seat) -> None:
        """Treat the client's further messages as inputs of `seat`."""
        self.room, self.seat = room, seat
        self._server.joined(self)
        self._decode = self.codec.input_decoder(room.match.action_type).raw
        self._match = room.match

    def relayed(self, relay: Forwarder) -> None:
        """Forward the client's further messages to another server through `relay`."""
        self._relay = relay
        self._server.joined(self)

    def hold(self) -> None:
        """Leave the client's further messages in the socket until `read` is called.

        A player's input changes nothing before the next tick, so the room reads its players' sockets at the tick, one
        after the other. A read at the tick saves a wake-up and a poll of the socket for each input. The objects that a
        read has brought into the CPU's cache are also still in the cache when the frame of the tick is sent.

        On an event loop other than `GameLoop`, `hold` does nothing, and the loop reads each message when it arrives.
        """
        loop = asyncio.get_running_loop()
        if self.open and self._transport is not None and isinstance(loop, GameLoop):
            self._read_socket = loop.hold(_descriptor(self._transport))

    def read(self) -> None:
        """Read and handle the messages that have arrived, if the connection is held."""
        if self._read_socket is not None:
            self._read_socket()

    @property
    def descriptor(self) -> int:
        """Return the file descriptor of the connection's socket, or -1 once the socket is closed."""
        return _descriptor(self._transport) if self._transport is not None else -1

    @property
    def peer_certificate(self) -> bytes | None:
        """Return the certificate in DER with which the client has authenticated itself, or None."""
        if self._transport is None:
            return None
        encryption = self._transport.underlying_transport.get_extra_info("ssl_object")
        certificate: bytes | None = encryption.getpeercert(True) if encryption is not None else None
        return certificate

    def push(self, buffer: bytearray) -> None:
        """Send the message that `encode_shared` has prepared in `buffer`, without copying it.

        On a closed connection picows ignores the call.
        """
        if self._transport is not None:
            self._transport.send_reuse_external_bytearray(self.message_type, buffer, _HEADER)

    def send(self, message: ServerMessage) -> None:
        """Send one message to this client only."""
        self.send_raw(self.codec.encode(message))

    def send_raw(self, payload: bytes) -> None:
        """Send a message that is already encoded. A closed connection sends nothing."""
        if self.open and self._transport is not None:
            self._transport.send(self.message_type, payload)
            self._metrics.bytes_sent += len(payload)

    def refuse(self, code: str, message: str) -> None:
        """Send the client a refusal with its reason, and close the connection.

        Args:
            code: a value of `RefusalCode`, for the program.
            message: the reason, for a person.
        """
        self._metrics.refusals += 1
        self.send(Refused(code, message))
        self.close(WSCloseCode.TRY_AGAIN_LATER if code == RefusalCode.UNAVAILABLE else WSCloseCode.POLICY_VIOLATION)

    def redirect(self, url: str, reason: str) -> None:
        """Tell the client to connect to another server, and close the connection.

        Args:
            url: the other server's address, or "" if the client shall ask the API for one.
            reason: `owner`, `drain` or `moved`, as in the protocol's message `Redirect`.
        """
        self._metrics.redirects += 1
        self.send(Redirect(url, reason))
        self.close(WSCloseCode.SERVICE_RESTART)

    def close(self, code: WSCloseCode = WSCloseCode.OK) -> None:
        """Close the connection; further calls do nothing.

        Messages that were sent before the call of `close` are still delivered, if the client reads them within
        `_CLOSE_SECONDS`.
        """
        if self.open and self._transport is not None:
            self.open = False
            self._watch()
            self._transport.send_close(code)
            self._transport.disconnect()
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._cut)

    def abort(self) -> None:
        """Cut the connection of a client that does not read, or that sends too much.

        Frames that are still in the connection's send buffer are lost.
        """
        if self._transport is not None:
            self.open = False
            self._metrics.clients_dropped += 1
            self._cut()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _watch(self) -> None:
        """Let the event loop watch the socket again, because the room no longer reads the socket."""
        loop = asyncio.get_running_loop()
        if self._read_socket is not None and self._transport is not None and isinstance(loop, GameLoop):
            self._read_socket = None
            loop.release(_descriptor(self._transport))

    def _on_unseated(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.forward(data)
        elif not self._hello_seen:
            # A client's messages between its `Hello` and its admission are ignored.
            try:
                hello = self.codec.decode_hello(data)
            except ProtocolError as error:
                self._malformed(str(error))
                return
            self._hello_seen = True
            self._cancel_hello_timer()
            self._server.admit(self, hello)

    def _within_rate(self) -> bool:
        """Return whether a client that has sent more than a second's worth of messages is still within the limit.

        `_within_rate` reads the clock, so it is called only after `MAX_INPUTS_PER_SECOND` messages.
        """
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
            # Without `abort`, the client could continue its flood for `_CLOSE_SECONDS` after the refusal.
            self.abort()
        return False

    def _measure(self) -> None:
        """Add the received bytes to the metrics, and let the room measure the next frame's delay.

        The cost of `_measure` does not matter, because it runs only once in more than 60 messages.
        """
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
    """Encode a message once for many clients.

    Returns:
        A buffer with the encoded message, which the next call of `encode_shared` overwrites.
    """
    codec.encode_into(message, _shared, _HEADER)
    return _shared


def payload_size(buffer: bytearray) -> int:
    """Return the bytes of the message in a buffer from `encode_shared`, without the space for the frame's header."""
    return len(buffer) - _HEADER


def _descriptor(transport: WSTransport) -> int:
    number: int = transport.underlying_transport.get_extra_info("socket").fileno()
    return number


def _tune(sock: Any) -> None:
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    # The socket uses the congestion control `cubic`, because some machines use BBR by default. BBR only helps large
    # transfers, and paces each small frame by a timer.
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    # The server sends to each seated client at least twice a second, so the kernel notices a client that vanished
    # without closing its connection.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
