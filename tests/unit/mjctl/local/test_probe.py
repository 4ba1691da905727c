"""Tests of probes with real sockets: only the expected answer shows that a process is healthy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mjctl.local import certificates
from mjctl.local.layout import Layout
from mjctl.local.probe import answered, probe, probe_all

Serve = Callable[[bytes | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server and returns its port.

    The server answers each connection with the given bytes, or never.
    """
    listeners: list[socket.socket] = []

    def start(answer: bytes | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        if answer is not None:
            threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()


def _answer(listener: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [("http", b"HTTP/1.1 200 OK\r\n\r\n"), ("redis", b"+PONG\r\n"), ("postgres", b"N"), ("postgres", b"S")],
)
def test_a_process_with_the_expected_answer_is_healthy(serve: Serve, scheme: str, answer: bytes) -> None:
    assert probe(f"{scheme}://127.0.0.1:{serve(answer)}", 10) is None


@pytest.mark.parametrize(("answer", "reason"), [(b"R\0\0\0", None), (b"ESFATAL", "answered 'ESFATAL'")])
def test_a_database_that_is_starting_is_alive_but_not_ready(serve: Serve, answer: bytes, reason: str | None) -> None:
    assert probe(f"postgres://127.0.0.1:{serve(answer)}/game", 10) == reason


@pytest.mark.parametrize(
    ("scheme", "answer", "reason"),
    [
        ("http", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 'HTTP/1.1 503 Service Unavailable'"),
        ("redis", b"-LOADING data\r\n", "answered '-LOADING data'"),
        ("postgres", b"E", "answered 'E'"),
        ("http", b"HTTP", "closed the connection without an answer"),
    ],
)
def test_a_process_with_another_answer_is_not_healthy(serve: Serve, scheme: str, answer: bytes, reason: str) -> None:
    assert probe(f"{scheme}://127.0.0.1:{serve(answer)}", 10) == reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"+OK\r\n+PONG\r\n", None),
        (b"+OK\r\n-BUSY a script\r\n", "answered '-BUSY a script'"),
        (b"-WRONGPASS invalid\r\n-NOAUTH required\r\n", "answered '-WRONGPASS invalid'"),
    ],
)
def test_the_verdict_of_a_redis_that_refuses_the_command_has_its_reason(
    serve: Serve, answer: bytes, reason: str | None
) -> None:
    verdict = probe(f"redis://127.0.0.1:{serve(answer)}/0", 10, redis_password="x")
    assert verdict == reason
    assert answered(verdict)


def test_a_process_that_accepts_the_connection_and_sends_nothing_is_not_healthy(serve: Serve) -> None:
    assert probe(f"http://127.0.0.1:{serve(None)}", 0.1) == "no answer within 0.1 s"


def test_a_port_without_a_process_is_refused(unused_port: int) -> None:
    assert probe(f"redis://127.0.0.1:{unused_port}") == "connection refused"


def test_a_silent_process_does_not_delay_the_verdicts_of_other_processes(serve: Serve, unused_port: int) -> None:
    answers = probe_all(
        {
            "silent": f"redis://127.0.0.1:{serve(None)}",
            "well": f"redis://127.0.0.1:{serve(b'+PONG')}",
            "gone": f"redis://127.0.0.1:{unused_port}",
        },
        2,
    )
    assert answers == {"silent": "no answer within 2 s", "well": None, "gone": "connection refused"}


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no probe for ftp"):
        probe("ftp://127.0.0.1:21")


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def authority(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "local" / "us-east-1")
    certificates.issue(layout)
    return layout


@pytest.fixture
def serve_tls(authority: Layout) -> Iterator[Callable[..., int]]:
    """Return a function that starts a server with the region's certificate and returns its port.

    `granted` is the server's unencrypted answer to a request for TLS.
    """
    listeners: list[socket.socket] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.tls_certificate, authority.tls_key)

    def answer(listener: socket.socket, reply: bytes, granted: bytes) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if granted:
                        connection.recv(8)
                        connection.sendall(granted)
                    with context.wrap_socket(connection, server_side=True) as encrypted:
                        encrypted.recv(4096)
                        encrypted.sendall(reply)

    def start(reply: bytes, granted: bytes = b"") -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=answer, args=(listener, reply, granted), daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("address", "answer", "granted"),
    [
        ("https://127.0.0.1:{}/healthz", b"HTTP/1.1 200 OK\r\n\r\n", b""),
        ("rediss://127.0.0.1:{}", b"+PONG\r\n", b""),
        ("postgres+tls://127.0.0.1:{}/game", b"R\0\0\0", b"S"),
        ("postgres+tls://game@127.0.0.1:{}", b"R\0\0\0", b"S"),
        ("postgres+tls://game@127.0.0.1:{}", b"ESFATAL", b"S"),
    ],
)
def test_a_process_with_tls_and_the_expected_answer_is_healthy(
    serve_tls: Callable[..., int], authority: Layout, address: str, answer: bytes, granted: bytes
) -> None:
    assert probe(address.format(serve_tls(answer, granted)), 10, authority.tls_authority) is None


@pytest.mark.parametrize(
    ("address", "answer", "granted", "reason"),
    [
        ("rediss://127.0.0.1:{}", b"-LOADING\r\n", b"", "answered '-LOADING'"),
        ("rediss://127.0.0.1:{}", b"", b"", "closed the connection without an answer"),
        ("postgres+tls://127.0.0.1:{}/game", b"ESFATAL", b"S", "answered 'ESFATAL'"),
        ("postgres+tls://127.0.0.1:{}/game", b"R\0\0\0", b"N", "answered 'N'"),
    ],
)
def test_a_process_with_tls_and_another_answer_is_not_healthy(
    serve_tls: Callable[..., int], authority: Layout, address: str, answer: bytes, granted: bytes, reason: str
) -> None:
    assert probe(address.format(serve_tls(answer, granted)), 10, authority.tls_authority) == reason


def test_a_certificate_of_another_authority_is_refused(serve_tls: Callable[..., int], tmp_path: Path) -> None:
    other = Layout(tmp_path / "local" / "elsewhere")
    certificates.issue(other)
    reason = probe(f"rediss://127.0.0.1:{serve_tls(b'+PONG')}", 10, other.tls_authority)
    assert reason is not None
    assert reason.startswith("certificate refused: ")
    assert answered(reason), "a refused certificate must not cause a restart of the process"


def test_a_process_that_does_not_answer_the_handshake_is_silent(serve: Serve, authority: Layout) -> None:
    answers = probe_all({"silent": f"https://127.0.0.1:{serve(None)}/"}, 0.3, authority.tls_authority)
    assert answers == {"silent": "no answer within 0.3 s"}


def test_a_process_that_answers_without_tls_is_not_healthy(serve: Serve, authority: Layout) -> None:
    reason = probe(f"https://127.0.0.1:{serve(b'HTTP/1.1 200 OK')}/", 10, authority.tls_authority)
    assert reason is not None
    assert "wrong version number" in reason


def test_a_missing_authority_is_a_reason_and_does_not_stop_the_probes(
    serve: Serve, serve_tls: Callable[..., int], tmp_path: Path
) -> None:
    answers = probe_all(
        {"tls": f"rediss://127.0.0.1:{serve_tls(b'+PONG')}", "clear": f"redis://127.0.0.1:{serve(b'+PONG')}"},
        5,
        tmp_path / "gone.pem",
    )
    assert answers == {"tls": f"certificate refused: {tmp_path}/gone.pem: No such file or directory", "clear": None}
