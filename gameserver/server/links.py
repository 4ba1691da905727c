"""The links of a game server to the other servers of its region, on which servers relay players to each other.

A server with its own certificate accepts and opens links by mutual TLS. Both ends of a link prove that they have
the key of a certificate in the directory of the region. Only processes that may write the state store can add a server
to the directory.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import structlog

from gameserver.cluster.directory import ServerInfo
from gameserver.runtime.own_certificate import OwnCertificate, decoded

log = structlog.get_logger()


class LinkRefused(Exception):
    """Reports that a link to a server must not be opened, because the link would not be protected as required."""


class Links:
    """Decides which servers may open a link to this server, and protects the links that this server opens.

    Args:
        own: the certificate of this server; None if the server does not make its own certificate.
        authority: context for links that verifies certificates of an authority; None to allow links without TLS. With
            `own`, the context is not used.

    Attributes:
        own: the certificate of this server; None if the server does not make its own certificate.
        accepting: context for the listener of the other servers; None without `own`.
    """

    def __init__(self, own: OwnCertificate | None = None, authority: ssl.SSLContext | None = None) -> None:
        self.own = own
        self.accepting = own.accepting() if own is not None else None
        self._authority = authority
        self._alive: set[bytes] = set()
        self._loaded: set[bytes] = set()
        self._opening: dict[bytes, ssl.SSLContext] = {}

    @property
    def published(self) -> str:
        """Return the certificate of this server for the directory; "" without a certificate."""
        return self.own.published if self.own is not None else ""

    def see(self, servers: Sequence[ServerInfo]) -> None:
        """Accept links from exactly these servers from now on. Open links stay open."""
        if self.accepting is None:
            return
        self._alive = {der for server in servers if (der := _certificate(server))}
        for der in self._alive - self._loaded:
            # OpenSSL cannot forget a certificate, so `admits` refuses the certificates of servers that are gone.
            self._loaded.add(der)
            try:
                self.accepting.load_verify_locations(cadata=der)
            except ssl.SSLError as error:
                log.warning("certificate_of_server_unreadable", error=str(error))
        self._opening = {der: context for der, context in self._opening.items() if der in self._alive}

    def admits(self, certificate: bytes | None) -> bool:
        """Return whether a server with this certificate, in DER, may open a link to this server now."""
        return certificate in self._alive

    def context(self, server: ServerInfo) -> ssl.SSLContext | None:
        """Return the context for a link to `server`; None for a link without TLS.

        Raises:
            LinkRefused: the link would be without TLS although TLS is required, or the directory contains no valid
                certificate of the server.
        """
        if self.own is None and self._authority is None:
            return None
        if not server.private_url.startswith("wss://"):
            raise LinkRefused("the address of the match's owner is without TLS")
        if self.own is None:
            return self._authority
        der = _certificate(server)
        if not der:
            raise LinkRefused("the directory has no certificate of the match's owner")
        context = self._opening.get(der)
        if context is None:
            try:
                context = self._opening[der] = self.own.connecting(der)
            except ssl.SSLError as error:
                raise LinkRefused("the certificate of the match's owner cannot be read") from error
        return context


def _certificate(server: ServerInfo) -> bytes:
    """Return the certificate of a server in DER; empty if the directory has no certificate of the server."""
    try:
        return decoded(server.certificate)
    except ValueError:
        return b""
