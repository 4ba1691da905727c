"""Finds the user of the process that has opened a loopback connection to this process.

The stage's servers use this module to accept only connections from the user who runs the stage.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

_CONNECTIONS = Path("/proc/net/tcp")
# The query for one socket: https://man7.org/linux/man-pages/man7/sock_diag.7.html. The structures are nlmsghdr,
# inet_diag_sockid, inet_diag_req_v2 and the beginning of inet_diag_msg of <linux/inet_diag.h>.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_LISTENING = 10
_TIMEOUT_SECONDS = 1.0
_ANSWER_BYTES = 8192
_HEADER = struct.Struct("=IHHII")
_SOCKET = struct.Struct("!HH16s16s4s8s")
_REQUEST = struct.Struct("=BBBxI")
_ANSWER = struct.Struct("=BBBB48sIIIII")
_ANY_COOKIE = b"\xff" * 8


def user_of_peer(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Return the user id of the process that has opened a connection to this process.

    Args:
        peer: The IPv4 address and the port from which the connection was opened.
        own: The IPv4 address and the port at which this process has accepted the connection.

    Returns:
        None if the process that opened the connection has closed its socket. Linux reports user 0 for a closed
        socket. Without this check, a process of another user could appear to be root after it has closed its socket.
    """
    with suppress(OSError):
        return _ask_kernel(peer, own)
    # This kernel cannot answer for one socket. The function prefers the kernel's answer, because the table of all
    # sockets takes longer to read.
    return _read_table(peer, own)


def is_own_user(peer: tuple[str, int], own: tuple[str, int]) -> bool:
    """Return whether a process of the current user has opened a connection to this process, and has it still open."""
    return user_of_peer(peer, own) == os.geteuid()


def _ask_kernel(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    addresses = [socket.inet_aton(address).ljust(16, b"\0") for address, _ in (peer, own)]
    wanted = _SOCKET.pack(peer[1], own[1], *addresses, b"\0" * 4, _ANY_COOKIE)
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + wanted
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_TIMEOUT_SECONDS)
        kernel.sendto(header + request, (0, 0))
        answer = kernel.recv(_ANSWER_BYTES)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        # An answer that is not of the type SOCK_DIAG_BY_FAMILY contains a negative error number.
        number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if number == errno.ENOENT:
            return None
        raise OSError(number, os.strerror(number))
    _, state, _, _, identity, _, _, _, user, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    same = _SOCKET.unpack(identity)[:2] == (peer[1], own[1])
    return int(user) if same and state != _LISTENING and inode != 0 else None


def _read_table(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    wanted = [_hexadecimal(*peer), _hexadecimal(*own)]
    # The columns of the table: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    for line in _CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted and fields[9] != "0":
            return int(fields[7])
    return None


def _hexadecimal(address: str, port: int) -> str:
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return f"{number:08X}:{port:04X}"
