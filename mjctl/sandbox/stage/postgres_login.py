"""Leads a client through the first messages of PostgreSQL's protocol, as Aurora does, in front of a PostgreSQL server.

PostgreSQL in some installations supports no TLS, and no PostgreSQL can check the tokens of IAM. The server behind the
door (mjctl.sandbox.stage.database_door) trusts the members of the role `rds_iam`. If the server trusts a user, the door
asks the client for a password in clear text, as Aurora does, and lets ministack's process check the token. All other
users log in at the server with their passwords.

The formats of the messages: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from mjctl.local.terminator import GSS_REQUEST, SSL_REQUEST
from mjctl.sandbox.stage.postgres_volume import ADMINISTRATOR

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_LONGEST_MESSAGE = 1 << 16
_AUTHENTICATION_OK = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
_CLEARTEXT_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
# The server may answer with a message of this type before it asks for a password.
_NEGOTIATE_PROTOCOL = b"v"
_PASSWORD = b"p"
_CANCEL_CODE = 80_877_102
# The error code of PostgreSQL for a connection that pg_hba.conf or a log-in's method refuses.
_INVALID_AUTHORIZATION = "28000"


class PostgresLogIn:
    """Serves a connection from its first byte until the client's password or token is checked."""

    def __init__(
        self,
        client: Connection,
        server: Connection,
        context: ssl.SSLContext,
        is_refused: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        """Create an object that does not read yet.

        Args:
            client: The connection of the client.
            server: The connection to the PostgreSQL server.
            context: The TLS context with the certificate of the instance.
            is_refused: Returns whether IAM refuses a user of PostgreSQL with a token.
        """
        self._reader, self._writer = client
        self._server_reader, self._server_writer = server
        self._context = context
        self._is_refused = is_refused

    async def run(self, *, tls_required: bool) -> bool:
        """Decrypt TLS if the client wants TLS, and check a token.

        Returns:
            True if the client and the server may exchange all further bytes. The server still checks a password.

        Raises:
            ValueError: the client does not speak PostgreSQL's protocol.
            EOFError: the client or the server has closed the connection.
        """
        startup, encrypted = await self._startup()
        if int.from_bytes(startup[4:8], "big") == _CANCEL_CODE:
            # A client that has logged in cancels its query by a second connection, which needs no TLS in PostgreSQL.
            self._server_writer.write(startup)
            return True
        if tls_required and not encrypted:
            await self._refuse("no pg_hba.conf entry for host, no encryption")
            return False
        user = _user(startup)
        if user == ADMINISTRATOR:
            await self._refuse(f'pg_hba.conf rejects connection for host, user "{user}"')
            return False
        self._server_writer.write(startup)
        message = await _message(self._server_reader)
        while message[:1] == _NEGOTIATE_PROTOCOL:
            self._writer.write(message)
            message = await _message(self._server_reader)
        if message == _AUTHENTICATION_OK:
            self._writer.write(_CLEARTEXT_PASSWORD)
            answer = await _message(self._reader)
            token = answer[5:].rstrip(b"\0").decode()
            if answer[:1] != _PASSWORD or not encrypted or await self._is_refused(user, token):
                # Aurora answers with the same words for every reason.
                await self._refuse(f'PAM authentication failed for user "{user}"')
                return False
        self._writer.write(message)
        return True

    async def _startup(self) -> tuple[bytes, bool]:
        """Return the client's first message after the requests for encryption, and whether the connection uses TLS."""
        encrypted = False
        while True:
            head = await self._reader.readexactly(len(SSL_REQUEST))
            if head == GSS_REQUEST:
                self._writer.write(b"N")
            elif head == SSL_REQUEST and not encrypted:
                self._writer.write(b"S")
                await self._writer.start_tls(self._context)
                encrypted = True
            else:
                length = int.from_bytes(head[:4], "big")
                if not len(head) <= length <= _LONGEST_MESSAGE:
                    raise ValueError("a first message of an impossible length")
                return head + await self._reader.readexactly(length - len(head)), encrypted

    async def _refuse(self, message: str) -> None:
        body = f"SFATAL\0VFATAL\0C{_INVALID_AUTHORIZATION}\0M{message}\0\0".encode()
        self._writer.write(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
        await self._writer.drain()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one message with its type and its length."""
    head = await reader.readexactly(5)
    length = int.from_bytes(head[1:], "big")
    if not 4 <= length <= _LONGEST_MESSAGE:
        raise ValueError("a message of an impossible length")
    return head + await reader.readexactly(length - 4)


def _user(startup: bytes) -> str:
    """Return the user in a client's first message, which contains pairs of a name and a value."""
    parts = startup[8:].split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=False)).get(b"user", b"").decode()
