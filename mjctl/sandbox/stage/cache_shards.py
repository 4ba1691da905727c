"""Joins the Valkey nodes of an emulated ElastiCache replication group in cluster mode to a Valkey cluster.

https://valkey.io/topics/cluster-spec/
"""

from __future__ import annotations

from collections.abc import Mapping

from mjctl.sandbox.stage.cache_records import Record, primary_of
from mjctl.sandbox.stage.valkey import BUS_PORT, ValkeyError, ValkeyNode

_SLOTS = 16384


def join(record: Record, nodes: Mapping[str, ValkeyNode], port: int) -> bool:
    """Join all nodes to one Valkey cluster, and assign slots and replicas to each shard.

    A node saves its view of the cluster in a file, so a restarted cluster needs no new join.

    Args:
        record: ministack's record of the replication group.
        nodes: The nodes by the members' ids.
        port: The port at which the nodes accept clients.

    Returns:
        True if every slot has a primary and every replica follows the primary of its shard.
    """
    try:
        identifiers = {member: _identifier(node) for member, node in nodes.items()}
        first = next(iter(nodes.values()))
        with first.connect() as connection:
            known = str(connection.command("CLUSTER", "NODES"))
            for member, node in nodes.items():
                if identifiers[member] not in known:
                    connection.command("CLUSTER", "MEET", node.address, str(port), str(BUS_PORT))
        shards = record["NodeGroups"]
        bounds = [round(index * _SLOTS / len(shards)) for index in range(len(shards) + 1)]
        complete = True
        for index, shard in enumerate(shards):
            primary = primary_of(shard)["CacheClusterId"]
            complete &= _own_slots(nodes[primary], bounds[index], bounds[index + 1] - 1, record, index)
            for member in shard["NodeGroupMembers"]:
                if member["CacheClusterId"] != primary:
                    complete &= _follow(nodes[member["CacheClusterId"]], identifiers[primary])
        with first.connect() as connection:
            return complete and "cluster_state:ok" in str(connection.command("CLUSTER", "INFO"))
    except ValkeyError:
        # A node does not answer yet, or does not know another node yet. The stage calls `join` again 0.5 s later.
        return False


def _identifier(node: ValkeyNode) -> str:
    with node.connect() as connection:
        return str(connection.command("CLUSTER", "MYID"))


def _own_slots(node: ValkeyNode, first: int, last: int, record: Record, index: int) -> bool:
    """Assign the slots of a new shard to its primary once. Later, the nodes read the slots from their files."""
    assigned = record.setdefault("_stage_shards_with_slots", [])
    if index not in assigned:
        with node.connect() as connection:
            if f"{first}-{last}" not in str(connection.command("CLUSTER", "NODES")):
                connection.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        assigned.append(index)
    return True


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
