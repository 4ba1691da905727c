"""Probes against real sockets: only an answer of the right kind counts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from mjctl.local.probe import probe, probe_all

Serve = Callable[[bytes | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers every connection with the bytes given, or never when they are None."""
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
def test_the_right_answer_is_well(serve: Serve, scheme: str, answer: bytes) -> None:
    assert probe(f"{scheme}://127.0.0.1:{serve(answer)}") is None


@pytest.mark.parametrize(("answer", "reason"), [(b"R\0\0\0", None), (b"ESFATAL", "answered 'ESFATAL'")])
def test_a_database_that_is_starting_is_alive_but_not_ready(serve: Serve, answer: bytes, reason: str | None) -> None:
    assert probe(f"postgres://127.0.0.1:{serve(answer)}/game") == reason


@pytest.mark.parametrize(
    ("scheme", "answer", "reason"),
    [
        ("http", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 'HTTP/1.1 503 Service Unavailable'"),
        ("redis", b"-LOADING data\r\n", "answered '-LOADING data'"),
        ("postgres", b"E", "answered 'E'"),
        ("http", b"HTTP", "closed the connection without an answer"),
    ],
)
def test_any_other_answer_is_not(serve: Serve, scheme: str, answer: bytes, reason: str) -> None:
    assert probe(f"{scheme}://127.0.0.1:{serve(answer)}") == reason


def test_a_connection_alone_is_not_enough(serve: Serve) -> None:
    assert probe(f"http://127.0.0.1:{serve(None)}", 0.1) == "no answer within 0.1 s"


def test_nobody_listening(unused_port: int) -> None:
    assert probe(f"redis://127.0.0.1:{unused_port}") == "connection refused"


def test_one_that_is_silent_does_not_hide_the_others(serve: Serve, unused_port: int) -> None:
    answers = probe_all(
        {
            "silent": f"redis://127.0.0.1:{serve(None)}",
            "well": f"redis://127.0.0.1:{serve(b'+PONG')}",
            "gone": f"redis://127.0.0.1:{unused_port}",
        },
        0.3,
    )
    assert answers == {"silent": "no answer within 0.3 s", "well": None, "gone": "connection refused"}


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no probe for ftp"):
        probe("ftp://127.0.0.1:21")


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
