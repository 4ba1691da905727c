"""One WebSocket of a player's connection; a connection has several in its life when servers die or hand over."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gameserver.protocol import Codec, ProtocolError, Redirect, Refused, ServerMessage, Welcome


class SocketOwner(Protocol):
    """Who the socket works for."""

    def welcomed(self, welcome: Welcome, size: int) -> None: ...
    def received(self, message: ServerMessage, size: int) -> None: ...


class PlaySocket(WSListener):
    """Reports to its owner from the welcome on. `answer` is the server's answer to the hello."""

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
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
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
        self.seated = False
        self._gone.set()
        if not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))
            self.answer.exception()

    def send(self, message: Any) -> None:
        if self._transport is not None and not self._gone.is_set():
            self._transport.send(self._type, self._codec.encode(message))

    def drop(self) -> None:
        self.seated = False
        if self._transport is not None:
            self._transport.disconnect()

    async def lost(self, seconds: float) -> bool:
        """Wait until the connection is gone, at most so long."""
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
