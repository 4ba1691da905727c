"""Finds the user whose process is at the other end of a loopback connection."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_CONNECTIONS = Path("/proc/net/tcp")


def user_of_peer(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Return the user id of the process that has opened a connection to this process.

    Args:
        peer: The address and the port of the other end.
        own: The address and the port of this end.

    Returns:
        None if the connection has ended.
    """
    wanted = [_hexadecimal(*peer), _hexadecimal(*own)]
    # The columns: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    for line in _CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return int(fields[7])
    return None


def _hexadecimal(address: str, port: int) -> str:
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return f"{number:08X}:{port:04X}"
