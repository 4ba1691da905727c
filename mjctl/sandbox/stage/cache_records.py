"""Completes ministack's records of ElastiCache with the names, zones and limits that AWS assigns.

A group in this module is a replication group of ElastiCache, and a member is a node of a group.

ministack gives the members of every group ids as in cluster mode. ministack also places members in zones in which the
group has no subnet. The endpoints of ministack's groups have no DNS names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PORT = 6379

_SUFFIX = "cache.amazonaws.com"

Record = dict[str, Any]

_DIRECTIONS = {
    "north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
    "northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
}  # fmt: skip
# The memory of the node types, in GiB: https://aws.amazon.com/elasticache/pricing/
# By default, ElastiCache reserves 25 % of a node's memory for other uses than data:
# https://repost.aws/knowledge-center/available-memory-elasticache-redis-node
_MEMORY = {
    "t2.micro": 0.555, "t2.small": 1.55, "t2.medium": 3.22,
    "t3.micro": 0.5, "t3.small": 1.37, "t3.medium": 3.09,
    "t4g.micro": 0.5, "t4g.small": 1.37, "t4g.medium": 3.09,
    "m6g.large": 6.38, "m6g.xlarge": 12.94, "m6g.2xlarge": 26.05,
    "m7g.large": 6.38, "m7g.xlarge": 12.94, "m7g.2xlarge": 26.05,
    "r6g.large": 13.07, "r6g.xlarge": 26.32, "r6g.2xlarge": 52.82,
    "r7g.large": 13.07, "r7g.xlarge": 26.32, "r7g.2xlarge": 52.82,
}  # fmt: skip
_RESERVED_PERCENT = 25.0
# ElastiCache forbids the restricted commands to all users, even if a user's access string allows the commands:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/SupportedCommands.html
_RESTRICTED = (
    "acl|deluser", "acl|load", "acl|log", "acl|save", "acl|setuser", "bgrewriteaof", "bgsave", "cluster|addslots",
    "cluster|delslots", "cluster|failover", "cluster|flushslots", "cluster|forget", "cluster|meet",
    "cluster|replicate", "cluster|reset", "cluster|setslot", "config", "debug", "migrate", "module", "psync",
    "replicaof", "save", "shutdown", "slaveof", "sync",
)  # fmt: skip


class Scope(NamedTuple):
    """Identifies a replication group of ElastiCache by its account, its region and its name."""

    account: str
    region: str
    name: str


def groups() -> Iterator[tuple[Scope, Record]]:
    """Yield ministack's records of all replication groups."""
    from ministack.services import elasticache

    for (account, region, name), record in list(elasticache._replication_groups.all_items()):
        yield Scope(account, region, name), record


def members(record: Record) -> Iterator[Record]:
    """Yield ministack's records of the members of all shards of a replication group."""
    for shard in record.get("NodeGroups", []):
        yield from shard.get("NodeGroupMembers", [])


def primary_of(shard: Record) -> Record:
    """Return ministack's record of the primary of a shard."""
    return next(member for member in shard["NodeGroupMembers"] if member["CurrentRole"] == "primary")


def member_name(scope: Scope, record: Record, member: str) -> str:
    """Return the DNS name that AWS gives to a member of a replication group."""
    customer, region = _customer(scope), _region_code(scope.region)
    if _has_domain(record):
        return f"{member}.{_domain(scope)}"
    return f"{member}.{customer}.0001.{region}.{_SUFFIX}"


def wildcard_name(scope: Scope) -> str:
    """Return the wildcard name in the certificate of a group with TLS.

    The wildcard name covers all endpoints of the group.
    """
    return f"*.{_domain(scope)}"


def complete(scope: Scope, record: Record, *, port: int | None = None, zones: Sequence[str] = ()) -> bool:
    """Write the ids and zones of the members and the endpoints of the group into the record, as AWS assigns them.

    Args:
        scope: The account, the region and the name of the group.
        record: ministack's record of the group, which this function changes.
        port: The port of the endpoints of a new group; None for an existing group.
        zones: The zones that the caller of CreateReplicationGroup has chosen for the members, in the members' order.

    Returns:
        True if the record was changed.
    """
    if port is not None:
        record["_stage_port"] = port
    shards = record["NodeGroups"]
    signature = [len(shard["NodeGroupMembers"]) for shard in shards]
    if record.get("_stage_members") == signature:
        return False
    subnets = zones or _zones(scope, record)
    for shard in shards:
        for index, member in enumerate(shard["NodeGroupMembers"], start=1):
            _complete_member(scope, record, shard, member, index, subnets)
        _complete_shard(scope, record, shard)
    if record["ClusterEnabled"]:
        record["ConfigurationEndpoint"] = _endpoint(record, f"clustercfg.{_domain(scope)}")
    record["MemberClusters"] = [member["CacheClusterId"] for member in members(record)]
    record["_stage_members"] = signature
    return True


def port_of(record: Record) -> int:
    """Return the port of a group's endpoints."""
    return int(record.get("_stage_port", PORT))


def parameters_of(scope: Scope, record: Record) -> dict[str, str]:
    """Return Valkey's parameters for a group: the group's parameter group, and `maxmemory` by the node type."""
    from ministack.services import elasticache

    stored = elasticache._param_group_params.get_scoped(
        scope.account, scope.region, record.get("CacheParameterGroupName", "")
    )
    parameters = {name: str(value.get("Value", "")) for name, value in (stored or {}).items()}
    gigabytes = _MEMORY.get(str(record.get("CacheNodeType", "")).removeprefix("cache."))
    if gigabytes is not None:
        reserved = float(parameters.get("reserved-memory-percent") or _RESERVED_PERCENT)
        parameters["maxmemory"] = str(int(gigabytes * (1 << 30) * (100 - reserved) / 100))
    return parameters


def users_of(scope: Scope, record: Record) -> list[Record]:
    """Return ministack's records of the users in a group's user groups."""
    from ministack.services import elasticache

    users = []
    for identifier in record.get("UserGroupIds", []):
        user_group = elasticache._user_groups.get_scoped(scope.account, scope.region, identifier) or {}
        for user_id in user_group.get("UserIds", []):
            user = elasticache._users.get_scoped(scope.account, scope.region, user_id)
            if user is not None:
                users.append(user)
    return users


def rules_of(user: Mapping[str, Any], iam_password: str) -> tuple[str, ...]:
    """Return the rules for a user in the form of the ACL command of Valkey.

    Args:
        user: ministack's record of the user.
        iam_password: The password that the nodes accept for users who log in by IAM. The proxy in front of the nodes
            (mjctl.sandbox.stage.cache_door) sends this password after it has checked the log-in.
    """
    kind = (user.get("Authentication") or {}).get("Type", "no-password")
    digests = [digest_of(iam_password)] if kind == "iam" else list(user.get("_stage_password_digests", []))
    passwords = [f"#{digest}" for digest in digests] or (["nopass"] if kind == "no-password" else [])
    access = str(user.get("AccessString", "")).split()
    return (*passwords, *access, *(f"-{command}" for command in _RESTRICTED))


def rules_without_users(record: Record) -> tuple[str, ...]:
    """Return the ACL rules of the user `default` of a group without user groups.

    The user `default` may have a password.
    """
    tokens = [] if record.get("_auth_optional") else record.get("_auth_tokens") or []
    passwords = [f"#{digest_of(token)}" for token in tokens] or ["nopass"]
    return ("on", *passwords, "~*", "&*", "+@all", *(f"-{command}" for command in _RESTRICTED))


def remove_shards(scope: Scope, record: Record, identifiers: Sequence[str]) -> None:
    """Remove the records of shards whose slots other shards have taken over."""
    from ministack.core.responses import request_scope

    from mjctl.sandbox import ministack_cluster_mode

    with request_scope(scope.account, scope.region):
        ministack_cluster_mode.remove_shards_now(record, identifiers)


def record_failover(scope: Scope, failed: str, promoted: str) -> None:
    """Add a failover to the events that DescribeEvents of ElastiCache returns.

    AWS's texts of the events:
    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_TestFailover.html
    """
    from ministack.core.responses import request_scope
    from ministack.services import elasticache

    with request_scope(scope.account, scope.region):
        message = f"Failover from primary node {failed} to replica node {promoted} completed"
        elasticache._record_event(promoted, "cache-cluster", message)


def digest_of(password: str) -> str:
    """Return the SHA-256 of a password in hexadecimal digits, as an ACL rule contains it."""
    return hashlib.sha256(password.encode()).hexdigest()


def has_iam_log_in(user: Mapping[str, Any]) -> bool:
    """Return whether a user logs in by IAM."""
    return (user.get("Authentication") or {}).get("Type") == "iam"


def names_of(record: Record, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the address of each DNS name of a group.

    Args:
        record: ministack's record of the group.
        addresses: The addresses of the members whose processes run, by the members' ids.
    """
    names = {}
    for shard in record["NodeGroups"]:
        for member in shard["NodeGroupMembers"]:
            address = addresses.get(member["CacheClusterId"])
            if address is not None:
                names[str(member["ReadEndpoint"]["Address"])] = address
        if record["ClusterEnabled"]:
            continue
        primary = addresses.get(primary_of(shard)["CacheClusterId"])
        replicas = [
            addresses[member["CacheClusterId"]]
            for member in shard["NodeGroupMembers"]
            if member["CurrentRole"] == "replica" and member["CacheClusterId"] in addresses
        ]
        if primary is not None:
            names[str(shard["PrimaryEndpoint"]["Address"])] = primary
        # If no replica runs, the reader endpoint leads to the primary.
        for reader in [*replicas, primary][:1]:
            if reader is not None:
                names[str(shard["ReaderEndpoint"]["Address"])] = reader
    if record["ClusterEnabled"] and addresses:
        names[str(record["ConfigurationEndpoint"]["Address"])] = next(iter(addresses.values()))
    return names


def _complete_member(
    scope: Scope, record: Record, shard: Record, member: Record, index: int, zones: Sequence[str]
) -> None:
    from ministack.services import elasticache

    prefix = f"{scope.name}-{shard['NodeGroupId']}" if record["ClusterEnabled"] else scope.name
    former, identifier = member["CacheClusterId"], f"{prefix}-{index:03d}"
    endpoint = _endpoint(record, member_name(scope, record, identifier))
    member.update(CacheClusterId=identifier, ReadEndpoint=endpoint)
    if zones and not member.get("_stage_zone"):
        member.update(PreferredAvailabilityZone=zones[(index - 1) % len(zones)], _stage_zone=True)
    clusters, key = elasticache._clusters, (scope.account, scope.region)
    arn = f"arn:aws:elasticache:{scope.region}:{scope.account}:cluster:{identifier}"
    tags = elasticache._tags.pop_scoped(scope.account, None, arn.replace(identifier, former), None)
    elasticache._tags.set_scoped(scope.account, None, arn, tags or [])
    node = clusters.get_scoped(*key, identifier) or clusters.pop_scoped(*key, former, None) or _node(record)
    node.update(
        CacheClusterId=identifier,
        CacheClusterArn=arn,
        PreferredAvailabilityZone=member["PreferredAvailabilityZone"],
        ReplicationGroupId=scope.name,
        _endpoint=endpoint,
    )
    for cache_node in node["CacheNodes"]:
        cache_node["Endpoint"] = endpoint
    clusters.set_scoped(*key, identifier, node)


def _node(record: Record) -> Record:
    """Return a new record for an added member of a group, copied from the record of the group's first member."""
    import copy

    from ministack.services import elasticache

    for _, node in elasticache._clusters.all_items():
        if node.get("ReplicationGroupId") == record["ReplicationGroupId"]:
            return copy.deepcopy(dict(node))
    raise LookupError(f"the replication group {record['ReplicationGroupId']} has no member")


def _complete_shard(scope: Scope, record: Record, shard: Record) -> None:
    if record["ClusterEnabled"]:
        shard["PrimaryEndpoint"] = primary_of(shard)["ReadEndpoint"]
        shard["ReaderEndpoint"] = shard["NodeGroupMembers"][-1]["ReadEndpoint"]
    elif _has_domain(record):
        shard["PrimaryEndpoint"] = _endpoint(record, f"master.{_domain(scope)}")
        shard["ReaderEndpoint"] = _endpoint(record, f"replica.{_domain(scope)}")
    else:
        suffix = f"{_customer(scope)}.ng.0001.{_region_code(scope.region)}.{_SUFFIX}"
        shard["PrimaryEndpoint"] = _endpoint(record, f"{scope.name}.{suffix}")
        shard["ReaderEndpoint"] = _endpoint(record, f"{scope.name}-ro.{suffix}")


def _endpoint(record: Record, name: str) -> dict[str, Any]:
    return {"Address": name, "Port": port_of(record)}


def _has_domain(record: Record) -> bool:
    """Return whether the DNS names of the members end with the DNS name of the group.

    The members of a group with TLS or in cluster mode have such DNS names:
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
    """
    return bool(record.get("TransitEncryptionEnabled") or record["ClusterEnabled"])


def _domain(scope: Scope) -> str:
    """Return the domain of a group, e.g. `group.1a2b3c.use1.cache.amazonaws.com`."""
    return f"{scope.name}.{_customer(scope)}.{_region_code(scope.region)}.{_SUFFIX}"


def _customer(scope: Scope) -> str:
    """Return six characters that are the same for all groups of an account in a region."""
    return hashlib.sha256(f"{scope.account} {scope.region}".encode()).hexdigest()[:6]


def _region_code(region: str) -> str:
    """Return the code of a region in DNS names of ElastiCache, e.g. `use1` for us-east-1."""
    area, *directions, number = region.split("-")
    return area + "".join(_DIRECTIONS.get(direction, direction) for direction in directions) + number


def _zones(scope: Scope, record: Record) -> list[str]:
    from ministack.services import elasticache

    subnet_group = elasticache._subnet_groups.get_scoped(
        scope.account, scope.region, record.get("CacheSubnetGroupName", "")
    )
    subnets = (subnet_group or {}).get("Subnets", [])
    return sorted({str(subnet["SubnetAvailabilityZone"]["Name"]) for subnet in subnets})
