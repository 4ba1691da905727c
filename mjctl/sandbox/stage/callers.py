"""Finds the ECS task or the Lambda function whose process has opened a connection.

Every process of a machine opens its loopback connections from 127.0.0.1, so the client's address does not show which
task or function has opened a connection.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mjctl.sandbox.stage.containers import TASK_LABEL, ContainerEngine

_CONNECTIONS = Path("/proc/net/tcp")
_PROCESSES = Path("/proc")
# Environment variable that ministack sets in the process of each Lambda function.
_FUNCTION_VARIABLE = "_LAMBDA_FUNCTION_ARN"


class NetworkCaller(NamedTuple):
    """Names the ECS task or the Lambda function to which a process belongs.

    Attributes:
        kind: `task` or `function`.
        arn: The ARN of the task or of the function.
    """

    kind: str
    arn: str


def pid_of_peer(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Return the id of a process of this user that has opened a connection to this process, or None.

    The search takes some milliseconds, because Linux has no table of the processes by socket. `pid_of_peer` reads the
    open files of all processes.

    Args:
        peer: The IPv4 address and the port of the client's end of the connection.
        own: The IPv4 address and the port of this process's end of the connection.
    """
    wanted = [_hexadecimal(*peer), _hexadecimal(*own)]
    # The meaning of the columns: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    rows = (line.split() for line in _CONNECTIONS.read_text(encoding="ascii").splitlines()[1:])
    inode = next((fields[9] for fields in rows if fields[1:3] == wanted), "0")
    if inode == "0":
        return None
    link = f"socket:[{inode}]"
    # Search the newest processes first: a task or a function opens most connections soon after its start.
    pids = sorted(map(int, filter(str.isdigit, os.listdir(_PROCESSES))), reverse=True)
    return next((pid for pid in pids if link in _open_files(pid)), None)


def _open_files(pid: int) -> Iterator[str]:
    folder = _PROCESSES / str(pid) / "fd"
    # Skip a process that ends during the search, and processes of other users, whose open files this user cannot read.
    with suppress(OSError):
        for file in os.listdir(folder):
            with suppress(OSError):
                yield os.readlink(folder / file)


def caller_of(pid: int, engine: ContainerEngine) -> NetworkCaller | None:
    """Return the ECS task or the Lambda function to which a process belongs, or None for any other process."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        ancestors = {pid, *(parent.pid for parent in process.parents())}
        for container in engine.running():
            if container.is_task and container.pid in ancestors:
                return NetworkCaller("task", str(container.labels[TASK_LABEL]))
        if arn := process.environ().get(_FUNCTION_VARIABLE):
            return NetworkCaller("function", arn)
    return None


def _hexadecimal(address: str, port: int) -> str:
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return f"{number:08X}:{port:04X}"
