from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gameserver.server.listener import UnjoinedLimit
from gameserver.server.metrics import Metrics


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    opened = [socket.socketpair() for _ in range(8)]
    for _, theirs in opened:
        theirs.settimeout(0)
    yield opened
    for pair in opened:
        for sock in pair:
            sock.close()


def _is_closed(theirs: socket.socket) -> bool:
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False


def test_the_limit_is_a_share_of_the_places_and_at_least_sixteen() -> None:
    assert UnjoinedLimit.of(2000, 25, 100).total == 500
    assert UnjoinedLimit.of(10, 25, 100).total == 16


def test_the_oldest_connection_without_a_hello_from_the_same_address_is_closed(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    limit = UnjoinedLimit(total=100, per_address=2, metrics=Metrics())
    assert limit.admits(pairs[0][0], "b")
    for ours, _ in pairs[1:3]:
        assert limit.admits(ours, "a")
    limit.greeted(pairs[1][0].fileno())
    assert limit.admits(pairs[3][0], "a")
    assert [_is_closed(theirs) for _, theirs in pairs[:4]] == [False, False, True, False]
    assert limit.metrics is not None
    assert (len(limit), limit.metrics.unjoined_closed) == (3, 1)


def test_a_connection_is_refused_while_all_others_have_sent_a_hello(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    limit = UnjoinedLimit(total=2, per_address=0)
    for ours, _ in pairs[:2]:
        assert limit.admits(ours, "a")
        limit.greeted(ours.fileno())
    assert not limit.admits(pairs[2][0], "b")
    assert not any(_is_closed(theirs) for _, theirs in pairs[:2])
    limit.forget(pairs[0][0].fileno())
    assert limit.admits(pairs[2][0], "b")


def test_a_closed_connection_does_not_count_and_its_descriptor_can_be_reused(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    limit = UnjoinedLimit(total=100, per_address=1, metrics=Metrics())
    assert limit.admits(pairs[0][0], "a")
    number = pairs[0][0].fileno()
    pairs[0][0].close()
    assert limit.admits(pairs[1][0], "a")
    pairs[2][0].detach()
    reused = socket.socket(fileno=pairs[1][0].fileno())
    try:
        # The limit has not noticed the end of an earlier connection with the descriptor of `reused`, and still counts
        # the earlier connection.
        assert limit.admits(reused, "c")
    finally:
        reused.detach()
    limit.forget(number)
    limit.forget(-1)
    assert len(limit) == 1
    assert limit.metrics is not None
    assert limit.metrics.unjoined_closed == 0
