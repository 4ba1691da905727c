"""Probes the health of many processes at the same time, in one thread and with one deadline.

A TCP connection does not show that a process works, because the kernel accepts connections for a stopped process too.
Every probe waits for an answer that only the process itself can send. A probe over TLS also verifies the process's
certificate.
"""

from __future__ import annotations

import functools
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from mjctl.local.credentials import REDIS_USER

# PostgreSQL's message SSLRequest consists of its length (8) and a magic number, and a running server answers it with a
# byte, also during a recovery: https://www.postgresql.org/docs/current/protocol-message-formats.html
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_PROTOCOL_3 = b"\x00\x03\x00\x00"
_AUTHENTICATION, _ERROR = b"R", b"E"
# Redis's answer to AUTH with the right password, which precedes the answer to the next command.
_PASSWORD_ACCEPTED = b"+OK\r\n"

_T = TypeVar("_T")
_READABLE, _WRITABLE = selectors.EVENT_READ, selectors.EVENT_WRITE
_Conversation: TypeAlias = Generator[int, None, str | None]
"""A generator that yields the event for which its socket must wait next, and returns the verdict of the probe."""


@dataclass(frozen=True)
class _Question:
    """Describes the request of a probe and the answers of a healthy process.

    Attributes:
        host: The host to connect to.
        port: The TCP port.
        request: The bytes to send.
        good: The beginnings of the answers of a healthy process. All elements of `good` have the same length.
        tls: True if the connection is encrypted.
        asked_first: An unencrypted request for TLS, which the server accepts with `S`; empty if the protocol has no
            such request.
    """

    host: str
    port: int
    request: bytes
    good: tuple[bytes, ...]
    tls: bool
    asked_first: bytes = b""

    @classmethod
    def of(cls, address: str, redis_password: str | None) -> _Question:
        parts = urlsplit(address)
        host, port, name = parts.hostname or "127.0.0.1", parts.port or 0, parts.path.strip("/")
        match parts.scheme:
            case "http" | "https":
                head = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                accepted = (b"HTTP/1.1 200", b"HTTP/1.0 200")
                return cls(host, port, head.encode(), accepted, tls=parts.scheme == "https")
            case "redis" | "rediss" if not name:
                # A Redis that requires a password answers PING with the error NOAUTH, which shows that Redis is alive.
                return cls(host, port, b"PING\r\n", (b"+PONG", b"-NOAU"), tls=parts.scheme == "rediss")
            case "redis" | "rediss":
                log_in = f"AUTH {REDIS_USER} {redis_password or '-'}\r\nPING\r\n"
                return cls(host, port, log_in.encode(), (_PASSWORD_ACCEPTED + b"+PONG",), tls=parts.scheme == "rediss")
            case "postgres" if not name:
                return cls(host, port, _SSL_REQUEST, (b"N", b"S"), tls=False)
            case "postgres":
                return cls(host, port, _startup_message(name), (_AUTHENTICATION,), tls=False)
            case "postgres+tls":
                # A PostgreSQL that starts or recovers answers a log-in with an error, and is alive, but not ready.
                good = (_AUTHENTICATION,) if name else (_AUTHENTICATION, _ERROR)
                return cls(host, port, _startup_message(name or parts.username or ""), good, True, _SSL_REQUEST)
        raise ValueError(f"no probe for {address}")


_REFUSED = "certificate refused: "
_ERROR_REPLIES = ("answered '-", 'answered "-')


def answered(reason: str | None) -> bool:
    """Return whether a process is alive, even if it is not healthy.

    A process whose certificate is refused is alive: the certificate may have expired, or the authority's file may have
    been replaced. A Redis that answers with an error is alive too. Redis answers BUSY while a script runs, LOADING
    while it reads its data, MISCONF while it cannot write to the disk. A restart would repair neither a refused
    certificate nor a Redis that answers with an error.
    https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors

    Args:
        reason: The value that `probe_all` returned for the process: None, or the reason why it is not healthy.
    """
    return reason is None or reason.startswith((_REFUSED, *_ERROR_REPLIES))


def probe(
    address: str,
    timeout_seconds: float = 1.0,
    ca_file: Path | None = None,
    *,
    redis_password: str | None = None,
) -> str | None:
    """Probe the process at `address` as `probe_all` does. Return None if the process is healthy, else the reason."""
    return probe_all({address: address}, timeout_seconds, ca_file, redis_password=redis_password)[address]


def probe_all(
    addresses: Mapping[str, str],
    timeout_seconds: float = 1.0,
    ca_file: Path | None = None,
    *,
    redis_password: str | None = None,
) -> dict[str, str | None]:
    """Probe all processes at the same time.

    The form of an address says what a probe tests:

    - `http://host:port/path`: the process answers with status 200.
    - `redis://host:port`: Redis is alive, because it answers PING.
    - `redis://host:port/0`: Redis is ready, because it accepts the password and answers PING.
    - `postgres://host:port`: PostgreSQL is alive, because it answers an SSL request.
    - `postgres://host:port/name`: PostgreSQL is ready, because it asks user `name` of database `name` to log in.
    - `https://...`, `rediss://...`, `postgres+tls://host:port/name`: the probe of `http`, `redis` or `postgres` over
      TLS.
    - `postgres+tls://name@host:port`: PostgreSQL is alive, because it answers user `name` over TLS, even with an error.

    Args:
        addresses: The address of each process, by the process's name.
        timeout_seconds: The longest time that all probes together take.
        ca_file: The authority that must have issued the certificates; None for the system's authorities.
        redis_password: The password of Redis, which only an address with the path `/0` needs.

    Returns:
        By the process's name, None if the process is healthy, else the reason in a few words.
    """
    results: dict[str, str | None] = {}
    # The TLS context is created for the first TLS probe and shared by all probes, because reading the authority's file
    # takes as long as a handshake.
    trust = functools.cache(lambda: _trusting(ca_file))
    deadline = time.monotonic() + timeout_seconds
    with selectors.DefaultSelector() as selector:
        for name, address in addresses.items():
            question = _Question.of(address, redis_password)
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
            connection.connect_ex((question.host, question.port))
            conversation = _encrypted(connection, question, trust) if question.tls else _plain(connection, question)
            selector.register(connection, _WRITABLE, (name, conversation))
            # Run the probe's generator to its first `yield`, which waits for the connection.
            next(conversation)
        while selector.get_map() and (remaining := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(remaining):
                _advance(selector, key, results)
        for key in list(selector.get_map().values()):
            results[key.data[0]] = f"no answer within {timeout_seconds:g} s"
            _close(selector, key)
    return results


def _advance(selector: selectors.BaseSelector, key: selectors.SelectorKey, results: dict[str, str | None]) -> None:
    name, conversation = key.data
    try:
        wanted = next(conversation)
    except StopIteration as ended:
        results[name] = ended.value
        _close(selector, key)
    except (ssl.SSLCertVerificationError, _AuthorityUnreadable) as error:
        results[name] = _REFUSED + getattr(error, "verify_message", str(error))
        _close(selector, key)
    except OSError as error:
        results[name] = (error.strerror or str(error)).lower()
        _close(selector, key)
    else:
        selector.modify(key.fileobj, wanted, key.data)


def _close(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    key.data[1].close()
    key.fileobj.close()  # type: ignore[union-attr]


def _startup_message(name: str) -> bytes:
    body = _PROTOCOL_3 + b"".join(word.encode() + b"\x00" for word in ("user", name, "database", name, ""))
    return (len(body) + 4).to_bytes(4, "big") + body


class _AuthorityUnreadable(Exception):
    """Reports that the authority's file, with which a certificate is verified, cannot be read."""


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _AuthorityUnreadable(f"{ca_file}: {error.strerror or error}") from error


def _plain(connection: socket.socket, question: _Question) -> _Conversation:
    yield from _connected(connection)
    connection.send(question.request)
    return _verdict((yield from _receive(connection, len(question.good[0]))), question.good)


def _encrypted(connection: socket.socket, question: _Question, trust: Callable[[], ssl.SSLContext]) -> _Conversation:
    yield from _connected(connection)
    if question.asked_first:
        connection.send(question.asked_first)
        granted = yield from _receive(connection, 1)
        if granted != b"S":
            return _verdict(granted, (b"S",))
    # Give TLS a copy of the socket: wrapping a socket detaches its descriptor, which the selector still needs.
    wrapped = trust().wrap_socket(connection.dup(), server_hostname=question.host, do_handshake_on_connect=False)
    try:
        yield from _until_done(wrapped.do_handshake)
        wrapped.send(question.request)
        return _verdict((yield from _receive(wrapped, len(question.good[0]))), question.good)
    finally:
        wrapped.close()


def _connected(connection: socket.socket) -> Generator[int, None, None]:
    yield _WRITABLE
    failure = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))


def _until_done(step: Callable[[], _T]) -> Generator[int, None, _T]:
    """Repeat `step` until it need not wait for its socket, and return the result of `step`."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield _READABLE
        except ssl.SSLWantWriteError:
            yield _WRITABLE
        except BlockingIOError:
            yield _READABLE


def _receive(connection: socket.socket, size: int) -> Generator[int, None, bytes]:
    """Return at least `size` bytes, or fewer bytes if the process closes the connection."""
    received = b""
    while len(received) < size:
        chunk: bytes = yield from _until_done(lambda: connection.recv(4096))
        if not chunk:
            break
        received += chunk
    return received


def _verdict(answer: bytes, good: tuple[bytes, ...]) -> str | None:
    if answer.startswith(good):
        return None
    if len(answer) < len(good[0]):
        return "closed the connection without an answer"
    # A busy Redis accepts the password and then answers PING with an error: leave the answer to the password out of the
    # reason.
    line = answer.removeprefix(_PASSWORD_ACCEPTED).split(b"\r\n", 1)[0][:60].decode("ascii", "replace")
    return f"answered {line!r}"
