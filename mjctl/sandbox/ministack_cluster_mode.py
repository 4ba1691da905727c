"""Corrections of ministack's ElastiCache for replication groups in cluster mode.

The docstring of `ministack_corrections` explains the rules for corrections. Import this module only in the process that
runs ministack. On a stage, mjctl.sandbox.stage.cache_shards moves the keys before a shard is removed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from ministack.services import elasticache

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]
Record = dict[str, Any]

_MODE = "ClusterMode"
_CONFLICT = "InvalidParameterCombination"
# AWS returns these elements only for groups with cluster mode disabled:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_NodeGroupMember.html
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
_WITHOUT_CLUSTER = re.compile(r"<(CurrentRole|PrimaryEndpoint|ReadEndpoint|ReaderEndpoint)>.*?</\1>")
_RESHARD = "ModifyReplicationGroupShardConfiguration"


def add_shards(record: Record, count: int) -> None:
    """Add records of shards to a replication group, each with the first shard's number of nodes.

    Args:
        record: ministack's record of the replication group.
        count: The number of shards after the change.
    """
    name, shards = record["ReplicationGroupId"], record["NodeGroups"]
    while len(shards) < count:
        shard = copy.deepcopy(dict(shards[0]))
        shard["NodeGroupId"] = f"{max(int(other['NodeGroupId']) for other in shards) + 1:04d}"
        for number, member in enumerate(shard["NodeGroupMembers"], start=1):
            node = copy.deepcopy(dict(elasticache._clusters[member["CacheClusterId"]]))
            identifier = f"{name}-{shard['NodeGroupId']}-{number:03d}"
            arn = elasticache._arn_cluster(identifier)
            member.update(CacheClusterId=identifier, CurrentRole="replica" if number > 1 else "primary")
            node.update(CacheClusterId=identifier, CacheClusterArn=arn)
            elasticache._clusters[identifier] = node
            elasticache._tags[arn] = copy.deepcopy(elasticache._tags.get(record["ARN"], []))
        shards.append(shard)
    _complete(record)


def remove_shards(record: Record, identifiers: Sequence[str]) -> None:
    """Call `remove_shards_now`. A stage replaces this function, because a stage must move the keys before."""
    remove_shards_now(record, identifiers)


def remove_shards_now(record: Record, identifiers: Sequence[str]) -> None:
    """Remove the records of shards from a replication group.

    Args:
        record: ministack's record of the replication group.
        identifiers: The ids of the shards, e.g. `0002`.
    """
    for shard in [shard for shard in record["NodeGroups"] if shard["NodeGroupId"] in identifiers]:
        record["NodeGroups"].remove(shard)
        for member in shard["NodeGroupMembers"]:
            node = elasticache._clusters.pop(member["CacheClusterId"], None)
            if node is not None:
                elasticache._tags.pop(node["CacheClusterArn"], None)
    _complete(record)


def _complete(record: Record) -> None:
    record["_num_node_groups"] = len(record["NodeGroups"])
    record["MemberClusters"] = [
        member["CacheClusterId"] for shard in record["NodeGroups"] for member in shard["NodeGroupMembers"]
    ]


def _answer(action: str, record: Record) -> Any:
    inner = f"<ReplicationGroup>{elasticache._rg_xml(record)}</ReplicationGroup>"
    return elasticache._xml(200, f"{action}Response", f"<{action}Result>{inner}</{action}Result>")


def _cluster_mode() -> None:
    def make_create(original: Handler) -> Handler:
        def handle(parameters: Mapping[str, Any]) -> Any:
            shards = int(elasticache._p(parameters, "NumNodeGroups") or "1")
            enabled = _enabled(parameters, shards)
            fault = _fault(parameters, shards, enabled=enabled)
            if fault is not None:
                return elasticache._error(_CONFLICT, fault, 400)
            mode = elasticache._p(parameters, _MODE) or ("enabled" if enabled else "disabled")
            # ministack refuses two shards, which AWS accepts.
            answer = original({**parameters, "NumNodeGroups": "1", _MODE: mode})
            if answer[0] != 200 or not enabled:
                return answer
            record = elasticache._replication_groups[elasticache._p(parameters, "ReplicationGroupId")]
            record["ClusterEnabled"] = True
            record["ConfigurationEndpoint"] = record["NodeGroups"][0]["PrimaryEndpoint"]
            add_shards(record, shards)
            return _answer("CreateReplicationGroup", record)

        return handle

    def make_modify(original: Handler) -> Handler:
        def handle(parameters: Mapping[str, Any]) -> Any:
            record = elasticache._replication_groups.get(elasticache._p(parameters, "ReplicationGroupId"))
            mode = elasticache._p(parameters, _MODE)
            if record is not None and mode and mode != record[_MODE]:
                # AWS allows only the ways from `disabled` to `compatible` and from `compatible` to `enabled`:
                # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/modify-cluster-mode.html
                return elasticache._error(_CONFLICT, f"Cluster mode cannot change from {record[_MODE]} to {mode}.", 400)
            return original(parameters)

        return handle

    def make_xml(original: Handler) -> Handler:
        def xml(record: Record) -> str:
            text = str(original(record))
            return _WITHOUT_CLUSTER.sub("", text) if record.get("ClusterEnabled") else text

        return xml

    wrap(elasticache, "_create_replication_group", make_create)
    wrap(elasticache, "_modify_replication_group", make_modify)
    wrap(elasticache, "_rg_xml", make_xml)


def _enabled(parameters: Mapping[str, Any], shards: int) -> bool:
    """Return whether a new replication group runs in cluster mode, which its parameter group decides.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html
    """
    group = elasticache._p(parameters, "CacheParameterGroupName")
    if not group:
        return shards > 1 or elasticache._p(parameters, _MODE) == "enabled"
    values = elasticache._param_group_params.get(group) or {}
    return bool(group.endswith(".cluster.on") or values.get("cluster-enabled", {}).get("Value") == "yes")


def _fault(parameters: Mapping[str, Any], shards: int, *, enabled: bool) -> str | None:
    mode = elasticache._p(parameters, _MODE)
    if mode == "compatible":
        return "The emulated AWS does not have the cluster mode `compatible`."
    if not enabled and (shards > 1 or mode == "enabled"):
        return "Cluster mode requires a cache parameter group with the parameter cluster-enabled."
    if enabled and mode == "disabled":
        return "The cache parameter group enables cluster mode."
    if enabled and elasticache._p(parameters, "AutomaticFailoverEnabled").lower() != "true":
        return "Automatic failover must be enabled in cluster mode."
    return None


def _shard_count() -> None:
    def make(original: Handler) -> Handler:
        async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
            parameters = {**query, **parse_qs(body.decode())} if method == "POST" and body else query
            if elasticache._p(parameters, "Action") == _RESHARD:
                return _reshard(parameters)
            return await original(method, path, headers, body, query)

        return handle

    wrap(elasticache, "handle_request", make)


def _reshard(parameters: Mapping[str, Any]) -> Any:
    """Add or remove shards as the operation ModifyReplicationGroupShardConfiguration of ElastiCache does.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyReplicationGroupShardConfiguration.html
    """
    name = elasticache._p(parameters, "ReplicationGroupId")
    record = elasticache._replication_groups.get(name)
    if record is None:
        return elasticache._error("ReplicationGroupNotFoundFault", f"Replication group {name} not found", 404)
    if not record["ClusterEnabled"]:
        return elasticache._error(_CONFLICT, f"Replication group {name} is not in cluster mode.", 400)
    if record["Status"] != "available":
        message = f"Replication group {name} is not in the available state."
        return elasticache._error("InvalidReplicationGroupState", message, 400)
    identifiers = [shard["NodeGroupId"] for shard in record["NodeGroups"]]
    count = int(elasticache._p(parameters, "NodeGroupCount"))
    leaving = elasticache._extract_configs(parameters, "NodeGroupsToRemove", ("NodeGroupToRemove", "member"))
    staying = elasticache._extract_configs(parameters, "NodeGroupsToRetain", ("NodeGroupToRetain", "member"))
    if staying:
        leaving = [identifier for identifier in identifiers if identifier not in staying]
    for identifier in [*leaving, *staying]:
        if identifier not in identifiers:
            return elasticache._error("NodeGroupNotFoundFault", f"Node group {identifier} not found.", 404)
    if count < 1 or (count < len(identifiers) and len(leaving) != len(identifiers) - count):
        message = "NodeGroupsToRemove or NodeGroupsToRetain must name the shards of a smaller NodeGroupCount."
        return elasticache._error(_CONFLICT, message, 400)
    if count > len(identifiers):
        add_shards(record, count)
    elif leaving:
        remove_shards(record, leaving)
    elasticache._record_event(name, "replication-group", f"Shard configuration of {name} changes to {count} shards")
    return _answer(_RESHARD, record)


CORRECTIONS = (
    ministack_correction(
        "cache-cluster-mode",
        "ElastiCache runs a group whose parameter group enables cluster mode without cluster mode, refuses two shards, "
        "and returns the roles of the nodes, which AWS does not return in cluster mode",
        _cluster_mode,
    ),
    ministack_correction(
        "cache-shard-count",
        "ElastiCache has no ModifyReplicationGroupShardConfiguration, by which Terraform changes the number of shards",
        _shard_count,
    ),
)
