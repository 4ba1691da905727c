"""Carries a client's messages to and from the owner of its match, when clients can only reach the servers' one address.

Behind a load balancer every server has the same public address, so a redirect would end anywhere. The owner treats a
relayed client as any other: limits, acknowledgements and slow-client rules are its own.
"""

from __future__ import annotations

import ssl
from typing import Final

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gameserver.protocol import MAX_SERVER_FRAME_BYTES, Hello
from gameserver.server.connection import Connection

RELAYED_HEADER: Final = "X-Relayed"
"""Marks a connection that already comes from another server: it is never relayed again."""

_CONNECT_SECONDS: Final = 1.0


class RelayError(Exception):
    """The owner does not take the connection."""


class Relay(WSListener):
    """The connection to the owner, for one client."""

    def __init__(self, client: Connection) -> None:
        self._client = client
        self._transport: WSTransport | None = None

    @classmethod
    async def open(
        cls, client: Connection, hello: Hello, private_url: str, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Connect `client` to the owner at `private_url`, and hand it the hello; with `ssl_context` never in clear.

        Raises: RelayError.
        """
        if ssl_context is not None and not private_url.startswith("wss://"):
            raise RelayError("the owner does not speak TLS")
        relay = cls(client)
        try:
            await ws_connect(
                lambda: relay,
                private_url,
                ssl_context=ssl_context,
                extra_headers={"Sec-WebSocket-Protocol": client.codec.name, RELAYED_HEADER: "1"},
                websocket_handshake_timeout=_CONNECT_SECONDS,
                max_frame_size=MAX_SERVER_FRAME_BYTES,
            )
        except (OSError, WSError, TimeoutError) as error:
            raise RelayError(str(error) or type(error).__name__) from error
        if not client.open:
            relay.close()
            return
        client.relayed(relay)
        relay.forward(client.codec.encode(hello))

    def forward(self, data: bytes) -> None:
        """From the client to the owner."""
        if self._transport is not None:
            self._transport.send(self._client.message_type, data)

    def pause(self) -> None:
        """The client does not keep up: let the owner notice."""
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.underlying_transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is self._client.message_type:
            self._client.send_raw(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            self._client.close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - given by picows
        self._transport = None
        self._client.close(WSCloseCode.SERVICE_RESTART)
