"""Runs a Valkey or Redis server as a node of an emulated ElastiCache replication group.

A node listens only on a Unix socket in the stage's private folder. Clients and other nodes connect to the door, a
proxy in front of the nodes of a replication group (mjctl.sandbox.stage.cache_door).
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from mjctl.files import write_private
from mjctl.local.programs import redis_binary
from mjctl.sandbox.stage.containers import Container, ContainerCommand, ContainerEngine
from mjctl.sandbox.stage.rounds import end_processes_in

IMAGE = "mjctl/valkey"
ADMINISTRATOR = "mjctl-stage"
"""The name of the user with which the stage configures each node, and with which a replica logs in to its primary."""

# The port at which the nodes of a cluster exchange messages. Clients use another port.
BUS_PORT = 16379

_ANSWER_SECONDS = 5.0
_CONFIGURATION = "valkey.conf"

Reply = Any


class ValkeyError(Exception):
    """Reports that a node answered with an error, or did not answer."""


class ValkeyConnection:
    """Sends commands to a node over the node's Unix socket. This module must not import mjctl's Redis client."""

    def __init__(self, path: Path, user: str, password: str) -> None:
        """Connect and log in.

        Raises:
            ValkeyError: the node does not answer, or refuses the log-in.
        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_ANSWER_SECONDS)
        try:
            self._socket.connect(str(path))
            self._file: BinaryIO = self._socket.makefile("rb")
            self.command("AUTH", user, password)
        except OSError as error:
            self._socket.close()
            raise ValkeyError(f"{path.name} does not answer: {error}") from None

    def __enter__(self) -> ValkeyConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def command(self, *parts: str) -> Reply:
        """Send a command and return its reply: str, int, list or None.

        Raises:
            ValkeyError: the node answered with an error, or not in time.
        """
        encoded = [part.encode() for part in parts]
        message = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in encoded)
        try:
            self._socket.sendall(message)
            return self._reply()
        except OSError as error:
            raise ValkeyError(f"{parts[0]}: {error}") from None

    def _reply(self) -> Reply:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ValkeyError("the node closed the connection")
        kind, text = line[:1], line[1:-2].decode()
        match kind:
            case b"+":
                return text
            case b"-":
                raise ValkeyError(text)
            case b":":
                return int(text)
            case b"$":
                return None if int(text) < 0 else self._file.read(int(text) + 2)[:-2].decode(errors="replace")
            case b"*":
                return None if int(text) < 0 else [self._reply() for _ in range(int(text))]
        raise ValkeyError(f"unknown reply {line!r}")


class ValkeyNode:
    """Runs the process of one node of a replication group.

    Attributes:
        member: The id of the node in ElastiCache. The name of the node's container contains this id.
        address: The loopback address of the node.
        socket: The Unix socket of the process.
        configured: The users and parameters that the stage has set in the running process, or None after a start of the
            process.
    """

    def __init__(self, engine: ContainerEngine, member: str, sockets: Path, password: str) -> None:
        """Create the container without starting its process.

        Args:
            engine: The engine of the stage.
            member: The id of the node in ElastiCache, unique in the stage.
            sockets: The folder for the Unix socket.
            password: The password of `ADMINISTRATOR`.
        """
        self.member = member
        self._password = password
        self._container: Container = engine.containers.create(IMAGE, name=f"cache-{member}")
        self.address = self._container.address
        # The path of a Unix socket has at most 107 bytes, so this path cannot contain the id of the node.
        self.socket = sockets / f"valkey-{self.address.partition('.')[2]}.sock"
        self.configured: object = None
        self.answered_at = 0.0

    @property
    def folder(self) -> Path:
        """Return the folder of the node's data, which survives restarts."""
        return self._container.folder

    @property
    def container_name(self) -> str:
        """Return the name of the node's container. The stage reserves the node's address for this name."""
        return self._container.name

    @property
    def log_in(self) -> tuple[str, str]:
        """Return the name and the password with which other nodes log in to this node."""
        return ADMINISTRATOR, self._password

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self._container.running

    @property
    def ended(self) -> bool:
        """Return whether the process was started and has ended."""
        return self._container.pid is not None and not self._container.running

    def start(self, port: int, primary: str | None, *, cluster: bool = False, name: str = "") -> None:
        """Start the process on the data of its last run.

        Args:
            port: The port at which clients reach the node.
            primary: The address of the primary whose replica the node becomes, or None.
            cluster: True for cluster mode, in which a node reads its role from a file in its folder.
            name: The node's DNS name, which cluster mode announces to clients.
        """
        digest = hashlib.sha256(self._password.encode()).hexdigest()
        users = self.folder / "users.acl"
        if not users.exists():
            write_private(users, f"user default off\nuser {ADMINISTRATOR} on #{digest} ~* &* +@all\n")
        settings = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "bind": self.address,
            "bind-source-addr": self.address,
            "protected-mode": "no",
            "daemonize": "no",
            "set-proc-title": "no",
            "dir": f'"{self.folder}"',
            "aclfile": f'"{users}"',
            "masteruser": ADMINISTRATOR,
            "masterauth": self._password,
            # The node stores writes in an append-only file only, as in a local region. Writes survive the end of all
            # processes.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            # A replica that was disconnected from its primary for a short time continues without a full copy.
            "repl-backlog-size": "8mb",
            "repl-diskless-sync-delay": "0",
            "replica-announce-ip": self.address,
            "replica-announce-port": str(port),
        }
        if cluster:
            settings |= {
                "cluster-enabled": "yes",
                "cluster-port": str(BUS_PORT),
                "cluster-announce-ip": self.address,
                "cluster-announce-port": str(port),
                "cluster-announce-bus-port": str(BUS_PORT),
                "cluster-announce-hostname": name,
                "cluster-preferred-endpoint-type": "hostname",
                "cluster-node-timeout": "5000",
                # The stage decides about failovers, like the control plane of ElastiCache.
                "cluster-replica-no-failover": "yes",
            }
        elif primary:
            settings["replicaof"] = f"{primary} {port}"
        write_private(self.folder / _CONFIGURATION, "".join(f"{key} {value}\n" for key, value in settings.items()))
        end_processes_in(self.folder)
        self.configured = None
        self._container.start()
        self.answered_at = time.monotonic()

    def connect(self) -> ValkeyConnection:
        """Connect as administrator.

        Raises:
            ValkeyError: the node does not answer.
        """
        connection = ValkeyConnection(self.socket, ADMINISTRATOR, self._password)
        self.answered_at = time.monotonic()
        return connection

    def kill(self) -> None:
        """Kill the process."""
        self._container.kill()

    def remove(self) -> None:
        """Kill the process and delete its data."""
        import shutil

        self._container.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.socket.unlink(missing_ok=True)


def recipe(container: Container) -> ContainerCommand:
    """Return the command that starts a node with the configuration file that `ValkeyNode.start` has written."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    return ContainerCommand([redis_binary(), container.folder / _CONFIGURATION], environment, container.folder)


def replication(connection: ValkeyConnection) -> dict[str, str]:
    """Return the fields of INFO replication."""
    lines = str(connection.command("INFO", "replication")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def apply_parameters(connection: ValkeyConnection, parameters: Mapping[str, str]) -> None:
    """Set the parameters that the node knows. Some parameters exist on ElastiCache only, such as reserved-memory."""
    for name, value in sorted(parameters.items()):
        with suppress(ValkeyError):
            connection.command("CONFIG", "SET", name, value)


def apply_users(connection: ValkeyConnection, users: Mapping[str, Sequence[str]]) -> list[str]:
    """Replace all users but the administrator by `users`.

    Args:
        connection: A connection of the administrator.
        users: The ACL rules of each user, by name. If `users` has no user `default`, the function disables
            this user in the node.

    Returns:
        A message for each user whose rules this server refused. A refused user cannot log in.
    """
    problems = []
    for name in connection.command("ACL", "USERS"):
        if name not in users and name not in (ADMINISTRATOR, "default"):
            connection.command("ACL", "DELUSER", name)
    for name, rules in {"default": ("off",), **users}.items():
        try:
            connection.command("ACL", "SETUSER", name, "reset", *rules)
        except ValkeyError as error:
            connection.command("ACL", "SETUSER", name, "reset")
            problems.append(f"user {name}: {error}")
    connection.command("ACL", "SAVE")
    return problems
