"""Implements one WebSocket of a player's connection.

A player's connection opens a new WebSocket each time that it connects to a server, for example when a server dies or
hands the match over.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gameserver.protocol import Codec, ProtocolError, Redirect, Refused, ServerMessage, Welcome

USER_AGENT: Final = "mjctl-game-client"
"""Value of the header `User-Agent` of each request.

The managed rules of AWS WAF block a request without this header (NoUserAgent_HEADER):
https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
"""


class SocketOwner(Protocol):
    """Describes the receiver of the messages of a `PlaySocket`."""

    def welcomed(self, welcome: Welcome, size: int) -> None: ...
    def received(self, message: ServerMessage, size: int) -> None: ...


class PlaySocket(WSListener):
    """Passes the messages of one server to `owner`, beginning with the `Welcome`.

    Args:
        owner: receiver of the messages.
        url: WebSocket address of the server.
        codec: encoding of the messages.

    Attributes:
        url: WebSocket address of the server.
        seated: True between the `Welcome` and the end of the WebSocket.
        answer: future of the server's answer to the `Hello`. The future raises ConnectionError if the server closes the
            WebSocket without an answer.
    """

    def __init__(self, owner: SocketOwner, url: str, codec: Codec) -> None:
        self.url = url
        self.seated = False
        self.answer: asyncio.Future[Welcome | Redirect | Refused] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._codec = codec
        self._type = WSMsgType.BINARY if codec.binary else WSMsgType.TEXT
        self._transport: WSTransport | None = None
        self._gone = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport. picows calls `on_ws_connected` after the handshake."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Decode a frame and pass its message to the owner. A frame that is no message closes the WebSocket."""
        if frame.msg_type is self._type:
            try:
                message = self._codec.decode_server(frame.get_payload_as_memoryview())
            except ProtocolError:
                transport.disconnect()
                return
            self._on_message(message, frame.payload_size)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - given by picows
        """Mark the WebSocket as closed. picows calls `on_ws_disconnected` at the end of the WebSocket."""
        self.seated = False
        self._gone.set()
        if not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))
            self.answer.exception()

    def send(self, message: Any) -> None:
        """Send a message, or nothing if the WebSocket is not open."""
        if self._transport is not None and not self._gone.is_set():
            self._transport.send(self._type, self._codec.encode(message))

    def drop(self) -> None:
        """Close the WebSocket at once, without a close frame."""
        self.seated = False
        if self._transport is not None:
            self._transport.disconnect()

    async def lost(self, seconds: float) -> bool:
        """Wait until the WebSocket is closed, for `seconds` at most. Returns True if the WebSocket is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _on_message(self, message: ServerMessage, size: int) -> None:
        if self.seated:
            self._owner.received(message, size)
        elif isinstance(message, Welcome):
            self.seated = True
            self._owner.welcomed(message, size)
            if not self.answer.done():
                self.answer.set_result(message)
        elif isinstance(message, Redirect | Refused) and not self.answer.done():
            self.answer.set_result(message)
