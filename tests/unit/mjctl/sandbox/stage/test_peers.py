"""Tests that the user at the other end of a connection is found, also on a kernel that cannot answer for one socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from mjctl.sandbox.stage import peers

Finder = Callable[[tuple[str, int], tuple[str, int]], int | None]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the owner of a socket")


@pytest.fixture(params=[peers.user_of_peer, peers._read_table])
def find(request: pytest.FixtureRequest) -> Finder:
    finder: Finder = request.param
    return finder


def test_a_connection_of_this_process_belongs_to_this_user(find: Finder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, peer = server.accept()
        with accepted:
            assert find(peer, accepted.getsockname()) == os.geteuid()
            assert peers.is_own_user(peer, accepted.getsockname())
            assert client.getsockname() == peer


def test_a_closed_connection_belongs_to_no_user(find: Finder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, peer = server.accept()
        with accepted:
            client.close()
            assert find(peer, accepted.getsockname()) is None


def test_an_address_without_a_connection_belongs_to_no_user(find: Finder) -> None:
    assert find(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_connection_of_another_user_belongs_to_that_user(find: Finder) -> None:
    program = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "connection = socket.socket()\n"
        "connection.connect(('127.0.0.1', int(sys.argv[1])))\n"
        "sys.stdin.read()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        port = str(server.getsockname()[1])
        with subprocess.Popen([sys.executable, "-I", "-c", program, port], stdin=subprocess.PIPE) as other:
            accepted, peer = server.accept()
            with accepted:
                assert find(peer, accepted.getsockname()) == 65534
                assert not peers.is_own_user(peer, accepted.getsockname())
            other.communicate()
