"""Relays a client's messages to and from the server that owns its match.

Behind a load balancer all servers share one public address, so a redirected client could reach a server other than the
owner. The owner treats a relayed client like other clients, with the same limits, acknowledgements and rules for slow
clients.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gameserver.protocol import MAX_SERVER_FRAME_BYTES, Hello
from gameserver.runtime.tls import BUFFER_BYTES
from gameserver.server.connection import Connection

RELAYED_HEADER: Final = "X-Relayed"
"""Request header of a connection that another server relays. A connection with this header is never relayed again."""

_CONNECT_SECONDS: Final = 1.0
_STRANGER_SECONDS: Final = 0.6
"""Time after which a refused link is opened again. The time is longer than the interval of heartbeats, because an owner
refuses the links of a server that has started after the owner's last heartbeat."""


class RelayError(Exception):
    """Reports that the connection to the match's owner could not be opened."""


class Relay(WSListener):
    """Connects one client to the owner of the client's match. The owner's answers go to the client."""

    def __init__(self, client: Connection) -> None:
        self._client = client
        self._transport: WSTransport | None = None

    @classmethod
    async def open(
        cls, client: Connection, hello: Hello, private_url: str, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Connect to the owner at `private_url`, and send it the client's `Hello`.

        Args:
            client: the connection of the client.
            hello: the first message of the client.
            private_url: WebSocket address at which other servers reach the owner.
            ssl_context: context for the link, as `Links.context` returns it; None for a link without TLS.

        Raises:
            RelayError: the owner does not answer, or refuses the link.
        """
        relay = cls(client)
        try:
            await relay._connect(private_url, ssl_context)
            if relay._transport is None and ssl_context is not None:
                await asyncio.sleep(_STRANGER_SECONDS)
                await relay._connect(private_url, ssl_context)
        except (OSError, WSError, TimeoutError) as error:
            raise RelayError(str(error) or type(error).__name__) from error
        # `ws_connect` returns without an error if the owner closes the connection before its answer. With TLS 1.3 an
        # owner that refuses the certificate of this server does so, because the client ends the handshake first.
        if relay._transport is None:
            raise RelayError("the match's owner closed the connection")
        if not client.open:
            relay.close()
            return
        client.relayed(relay)
        relay.forward(client.codec.encode(hello))

    async def _connect(self, private_url: str, ssl_context: ssl.SSLContext | None) -> None:
        await ws_connect(
            lambda: self,
            private_url,
            ssl_context=ssl_context,
            extra_headers={"Sec-WebSocket-Protocol": self._client.codec.name, RELAYED_HEADER: "1"},
            websocket_handshake_timeout=_CONNECT_SECONDS,
            max_frame_size=MAX_SERVER_FRAME_BYTES,
            **({} if ssl_context is None else BUFFER_BYTES),
        )

    def forward(self, data: bytes) -> None:
        """Send the owner a message that the client sent."""
        if self._transport is not None:
            self._transport.send(self._client.message_type, data)

    def pause(self) -> None:
        """Stop reading from the owner because the client is too slow, so that the owner's buffer fills up as well."""
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read from the owner again because the client has drained its buffer."""
        if self._transport is not None:
            self._transport.underlying_transport.resume_reading()

    def close(self) -> None:
        """Close the connection to the owner."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport of the connection that picows has opened."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send the client a message of the owner, or close the client's connection when the owner closes its own."""
        if frame.msg_type is self._client.message_type:
            self._client.send_raw(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            self._client.close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - given by picows
        """Close the client's connection because the owner is gone, so that the client looks for the new owner."""
        self._transport = None
        self._client.close(WSCloseCode.SERVICE_RESTART)
