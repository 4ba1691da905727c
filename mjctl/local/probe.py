"""Asking processes whether they are well: many at once, one thread, one deadline.

A TCP connection alone proves nothing: the kernel completes it for a process that is stopped. So every probe waits for
an answer that only the process itself can give.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# Messages of https://www.postgresql.org/docs/current/protocol-message-formats.html
# SSLRequest: the length (8) and a magic number. Any live postmaster answers one byte, while it recovers too.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_PROTOCOL_3 = b"\x00\x03\x00\x00"


@dataclass
class _Exchange:
    """One question under way. `expected`: beginnings of a good answer, all of one length."""

    name: str
    socket: socket.socket
    request: bytes
    expected: tuple[bytes, ...]
    received: bytes = b""

    @property
    def complete(self) -> bool:
        return len(self.received) >= len(self.expected[0])

    @property
    def verdict(self) -> str | None:
        if self.received.startswith(self.expected):
            return None
        first_line = self.received.split(b"\r\n", 1)[0][:60].decode("ascii", "replace")
        return f"answered {first_line!r}"


def probe(address: str, timeout_seconds: float = 1.0) -> str | None:
    """Ask one process. None when it is well, else the reason; see `probe_all`."""
    return probe_all({address: address}, timeout_seconds)[address]


def probe_all(addresses: Mapping[str, str], timeout_seconds: float = 1.0) -> dict[str, str | None]:
    """Ask every process at the same time.

    `addresses`: name -> `http://host:port/path` (200 expected), `redis://host:port` (answers PING),
    `postgres://host:port` (alive: answers an SSL request) or `postgres://host:port/name` (ready: asks the user `name`
    of the database `name` to authenticate).
    Returns name -> None when well, else the reason in a few words. Takes `timeout_seconds` at most.
    """
    results: dict[str, str | None] = {}
    deadline = time.monotonic() + timeout_seconds
    with selectors.DefaultSelector() as selector:
        for name, address in addresses.items():
            exchange = _open(name, address)
            selector.register(exchange.socket, selectors.EVENT_WRITE, exchange)
        while selector.get_map() and (remaining := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(remaining):
                if _advance(selector, key.data, results):
                    _close(selector, key.data)
        for key in list(selector.get_map().values()):
            results[key.data.name] = f"no answer within {timeout_seconds:g} s"
            _close(selector, key.data)
    return results


def _open(name: str, address: str) -> _Exchange:
    parts = urlsplit(address)
    host, port = parts.hostname or "127.0.0.1", parts.port or 0
    expected: tuple[bytes, ...]
    if parts.scheme == "http":
        request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        expected = (b"HTTP/1.1 200", b"HTTP/1.0 200")
    elif parts.scheme == "redis":
        request, expected = b"PING\r\n", (b"+PONG",)
    elif parts.scheme == "postgres" and parts.path:
        request, expected = _startup_message(parts.path.strip("/")), (b"R",)
    elif parts.scheme == "postgres":
        request, expected = _SSL_REQUEST, (b"N", b"S")
    else:
        raise ValueError(f"no probe for {address}")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.connect_ex((host, port))
    return _Exchange(name, connection, request, expected)


def _startup_message(name: str) -> bytes:
    body = _PROTOCOL_3 + b"".join(word.encode() + b"\x00" for word in ("user", name, "database", name, ""))
    return (len(body) + 4).to_bytes(4, "big") + body


def _advance(selector: selectors.BaseSelector, exchange: _Exchange, results: dict[str, str | None]) -> bool:
    """One step of an exchange whose socket is ready: send once connected, then receive. True when it is over."""
    try:
        if exchange.request:
            failure = exchange.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure))
            exchange.socket.send(exchange.request)
            exchange.request = b""
            selector.modify(exchange.socket, selectors.EVENT_READ, exchange)
            return False
        chunk = exchange.socket.recv(4096)
    except OSError as error:
        results[exchange.name] = (error.strerror or str(error)).lower()
        return True
    exchange.received += chunk
    if exchange.complete:
        results[exchange.name] = exchange.verdict
        return True
    if not chunk:
        results[exchange.name] = "closed the connection without an answer"
        return True
    return False


def _close(selector: selectors.BaseSelector, exchange: _Exchange) -> None:
    selector.unregister(exchange.socket)
    exchange.socket.close()
