"""A real state store in cluster mode: one shard or several, each with a primary node and a replica."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from mjctl.local.programs import redis_binary

_SLOTS = 16384
_NODE_TIMEOUT_MS = 600
_START_SECONDS = 60.0


class Node:
    """Runs one node of the cluster.

    Attributes:
        port: the port for clients.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.port, bus = _free_ports(2)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "cluster-enabled": "yes",
            "cluster-port": str(bus),
            "cluster-node-timeout": str(_NODE_TIMEOUT_MS),
            # A replica with old data may be elected, because a test has no time for a complete copy.
            "cluster-replica-validity-factor": "0",
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        command = [str(redis_binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self.bus = bus

    def call(self, *command: str) -> object:
        with Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        return str(self.call("CLUSTER", "MYID"))

    def kill(self) -> None:
        """End the process of the node, if it still runs."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class StateShards:
    """Holds the nodes of the state store.

    Attributes:
        primaries: the first primary of each shard.
        replicas: the replica of each shard.
    """

    def __init__(self, folder: Path, count: int) -> None:
        nodes = [Node(folder / str(number)) for number in range(2 * count)]
        self.primaries, self.replicas = nodes[:count], nodes[count:]
        self._nodes = nodes
        _wait_until(lambda: all(node.call("PING") for node in nodes))
        _wait_until(lambda: _meet(nodes[0], nodes[1:]))
        bounds = [_SLOTS * index // count for index in range(count + 1)]
        for primary, first, end in zip(self.primaries, bounds[:-1], bounds[1:], strict=True):
            primary.call("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
        _wait_until(lambda: all("cluster_state:ok" in str(node.call("CLUSTER", "INFO")) for node in nodes))
        for primary, replica in zip(self.primaries, self.replicas, strict=True):
            _wait_until(lambda primary=primary, replica=replica: _follow(replica, primary))
        _wait_until(lambda: all("master_link_status:up" in str(_replication(node)) for node in self.replicas))

    @property
    def url(self) -> str:
        """Return the address of a replica, which outlives a primary as the configuration endpoint does."""
        return f"redis://127.0.0.1:{self.replicas[-1].port}"

    @property
    def urls(self) -> list[str]:
        return [f"redis://127.0.0.1:{node.port}" for node in self._nodes]

    async def fail_over(self, shard: int) -> None:
        """Kill the primary of a shard, and make its replica the primary.

        The nodes cannot elect a primary alone, because the remaining primaries are no majority. ElastiCache promotes
        the replica from outside too.
        """
        replica = self.replicas[shard]
        await asyncio.to_thread(self.primaries[shard].kill)
        await asyncio.to_thread(replica.call, "CLUSTER", "FAILOVER", "TAKEOVER")
        await asyncio.to_thread(_wait_until, lambda: "role:master" in _replication(replica))

    def move_slot(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot with its keys to another shard, as an operator's tool does."""
        target.call("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target.id)
        while names := source.call("CLUSTER", "GETKEYSINSLOT", str(slot), "100"):
            assert isinstance(names, list)
            source.call("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *names)
        for node in (target, source):
            node.call("CLUSTER", "SETSLOT", str(slot), "NODE", target.id)

    def close(self) -> None:
        for node in self._nodes:
            node.kill()


@contextmanager
def state_shards(folder: Path, count: int = 2) -> Iterator[StateShards]:
    """Run a state store with `count` shards during the block."""
    shards = StateShards(folder, count)
    try:
        yield shards
    finally:
        shards.close()


def _replication(node: Node) -> str:
    with Redis(port=node.port, decode_responses=True, socket_timeout=5) as client:
        info = client.info("replication")
    return " ".join(f"{name}:{value}" for name, value in info.items())


def _meet(first: Node, others: Sequence[Node]) -> bool:
    """Let the first node meet the other nodes, again if a meeting took too long. Returns: True if all have met."""
    known = str(first.call("CLUSTER", "NODES"))
    strangers = [node for node in others if node.id not in known]
    for node in strangers:
        first.call("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(node.bus))
    return not strangers


def _follow(replica: Node, primary: Node) -> bool:
    replica.call("CLUSTER", "REPLICATE", primary.id)
    return True


def _wait_until(condition: object) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            if condition():  # type: ignore[operator]
                return
        except (RedisError, OSError) as error:
            last: object = error
        else:
            last = "not yet"
        assert time.monotonic() < deadline, last
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
