"""Joins the Valkey nodes of an emulated ElastiCache replication group in cluster mode to a Valkey cluster.

The 16,384 hash slots are shared equally by the shards. If a shard is added or removed, its slots move with their keys
while the cluster serves: https://valkey.io/topics/cluster-spec/
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from mjctl.sandbox.stage.cache_records import Record, primary_of
from mjctl.sandbox.stage.valkey import BUS_PORT, ValkeyConnection, ValkeyError, ValkeyNode

logger = logging.getLogger("mjctl.sandbox.stage")

_SLOTS = 16384
_LEAVING = "_stage_leaving_shards"
# The time after which a round stops to move slots, so that the stage can replace a failed primary between two rounds.
_MOVE_SECONDS = 1.0
_KEYS_AT_ONCE = 100
# With "?" for a host, a node says that it does not know the host name of a node yet.
_UNKNOWN_HOSTS = (None, "", "?")


def mark_leaving(record: Record, identifiers: list[str]) -> None:
    """Let `join` move the slots of shards to the remaining shards. The shards stay until they have no slot."""
    record[_LEAVING] = identifiers


def emptied_shards(record: Record) -> list[str]:
    """Return the ids of the shards that the caller must remove after `join` has returned True."""
    return list(record.get(_LEAVING, ()))


def forget(record: Record, nodes: Mapping[str, ValkeyNode]) -> None:
    """Let the remaining nodes forget the nodes of the shards that leave."""
    leaving = [
        member["CacheClusterId"]
        for shard in record["NodeGroups"]
        if shard["NodeGroupId"] in record.get(_LEAVING, ())
        for member in shard["NodeGroupMembers"]
    ]
    identifiers = [_identifier(nodes[member]) for member in leaving]
    for member in set(nodes) - set(leaving):
        with nodes[member].connect() as connection:
            known = str(connection.command("CLUSTER", "NODES"))
            for identifier in identifiers:
                if identifier in known:
                    connection.command("CLUSTER", "FORGET", identifier)
    record.pop(_LEAVING, None)


def join(record: Record, nodes: Mapping[str, ValkeyNode], port: int) -> bool:
    """Join all nodes to one Valkey cluster, and assign slots and replicas to each shard.

    A node saves its view of the cluster in a file, so a restarted cluster needs no new join.

    Args:
        record: ministack's record of the replication group.
        nodes: The nodes by the members' ids.
        port: The port at which the nodes accept clients.

    Returns:
        True if every slot has a primary, every shard has its share of the slots, and every replica follows the primary
        of its shard.
    """
    try:
        identifiers = {member: _identifier(node) for member, node in nodes.items()}
        _meet(nodes, identifiers, port)
        complete = True
        for shard in record["NodeGroups"]:
            primary = primary_of(shard)["CacheClusterId"]
            for member in shard["NodeGroupMembers"]:
                if member["CacheClusterId"] != primary:
                    complete &= _follow(nodes[member["CacheClusterId"]], identifiers[primary])
        complete &= _share_slots(record, nodes, identifiers, port)
        # A group that is available stays available while a replica starts again.
        least = 0 if record["Status"] == "available" else min(len(s["NodeGroupMembers"]) for s in record["NodeGroups"])
        return complete and all(_is_ready(node, least) for node in nodes.values())
    except ValkeyError as error:
        # A node does not answer yet, or does not know another node yet. The stage calls `join` again 0.5 s later.
        logger.info("%s: %s", record["ReplicationGroupId"], error)
        return False


def _identifier(node: ValkeyNode) -> str:
    with node.connect() as connection:
        return str(connection.command("CLUSTER", "MYID"))


def _meet(nodes: Mapping[str, ValkeyNode], identifiers: Mapping[str, str], port: int) -> None:
    with next(iter(nodes.values())).connect() as connection:
        known = str(connection.command("CLUSTER", "NODES"))
        for member, node in nodes.items():
            if identifiers[member] not in known:
                connection.command("CLUSTER", "MEET", node.address, str(port), str(BUS_PORT))


def _is_ready(node: ValkeyNode, least: int) -> bool:
    """Return whether a node can tell clients at least `least` nodes for each slot, with their host names.

    A node learns the host names and the replicas some time after a join.
    """
    with node.connect() as connection:
        if "cluster_state:ok" not in str(connection.command("CLUSTER", "INFO")):
            return False
        ranges = connection.command("CLUSTER", "SLOTS")
        named = all(server[0] not in _UNKNOWN_HOSTS for servers in ranges for server in servers[2:])
        return named and all(len(servers) - 2 >= least for servers in ranges)


def _follow(node: ValkeyNode, primary: str) -> bool:
    with node.connect() as connection:
        own = next(
            fields for line in str(connection.command("CLUSTER", "NODES")).splitlines()
            if "myself" in (fields := line.split())[2]
        )  # fmt: skip
        if own[3] == primary:
            return own[7] == "connected"
        connection.command("CLUSTER", "REPLICATE", primary)
        return False


def _share_slots(record: Record, nodes: Mapping[str, ValkeyNode], identifiers: Mapping[str, str], port: int) -> bool:
    """Assign the slots of a new cluster, or move slots after a change of the number of shards.

    Returns: True if every shard has its share of the slots.
    """
    shards = {shard["NodeGroupId"]: primary_of(shard)["CacheClusterId"] for shard in record["NodeGroups"]}
    staying = [shard for shard in shards if shard not in record.get(_LEAVING, ())]
    bounds = [round(index * _SLOTS / len(staying)) for index in range(len(staying) + 1)]
    members = {
        identifiers[member["CacheClusterId"]]: shard["NodeGroupId"]
        for shard in record["NodeGroups"]
        for member in shard["NodeGroupMembers"]
    }
    with nodes[shards[staying[0]]].connect() as connection:
        owners = {
            slot: members.get(str(servers[2][2]))
            for servers in connection.command("CLUSTER", "SLOTS")
            for slot in range(int(servers[0]), int(servers[1]) + 1)
        }
    if not record.get("_stage_has_slots"):
        for shard, first, end in zip(staying, bounds[:-1], bounds[1:], strict=True):
            free = [str(slot) for slot in range(first, end) if slot not in owners]
            if free:
                with nodes[shards[shard]].connect() as connection:
                    connection.command("CLUSTER", "ADDSLOTS", *free)
        record["_stage_has_slots"] = len(owners) == _SLOTS
        return bool(record["_stage_has_slots"])
    shares = {shard: end - first for shard, first, end in zip(staying, bounds[:-1], bounds[1:], strict=True)}
    primaries = {shard: nodes[member] for shard, member in shards.items()}
    moves = _moves(owners, dict.fromkeys(shards, 0) | shares)
    return _move_all(moves, primaries, {shard: identifiers[member] for shard, member in shards.items()}, port)


def _moves(owners: Mapping[int, str | None], shares: Mapping[str, int]) -> Iterator[tuple[int, str, str]]:
    """Yield the slot, the source and the target of each move after which every shard has its share of the slots."""
    owned: dict[str, list[int]] = {shard: [] for shard in shares}
    for slot, shard in owners.items():
        if shard is not None:
            owned[shard].append(slot)
    surplus = [(slot, shard) for shard, share in shares.items() for slot in owned[shard][share:]]
    for target, share in shares.items():
        for _ in range(share - len(owned[target])):
            if surplus:
                slot, source = surplus.pop()
                yield slot, source, target


def _move_all(
    moves: Iterator[tuple[int, str, str]],
    primaries: Mapping[str, ValkeyNode],
    identifiers: Mapping[str, str],
    port: int,
) -> bool:
    """Move slots until `_MOVE_SECONDS` are over. Returns: True if no move is left."""
    deadline = time.monotonic() + _MOVE_SECONDS
    with ExitStack() as stack:
        connections: dict[str, ValkeyConnection] = {}
        for slot, source, target in moves:
            if time.monotonic() > deadline:
                return False
            for shard in (source, target):
                if shard not in connections:
                    connections[shard] = stack.enter_context(primaries[shard].connect())
            old, new, number = connections[source], connections[target], str(slot)
            new.command("CLUSTER", "SETSLOT", number, "IMPORTING", identifiers[source])
            old.command("CLUSTER", "SETSLOT", number, "MIGRATING", identifiers[target])
            while names := old.command("CLUSTER", "GETKEYSINSLOT", number, str(_KEYS_AT_ONCE)):
                _migrate(old, primaries[target], port, names)
            # The target is first, so that no client finds the slot without an owner.
            for node in (new, old):
                node.command("CLUSTER", "SETSLOT", number, "NODE", identifiers[target])
    return True


def _migrate(connection: ValkeyConnection, target: ValkeyNode, port: int, names: list[str]) -> None:
    log_in = ("AUTH2", *target.log_in)
    answer = connection.command("MIGRATE", target.address, str(port), "", "0", "5000", *log_in, "KEYS", *names)
    if answer == "NOKEY":
        raise ValkeyError(f"{', '.join(names)}: the keys cannot be moved to {target.member}")
