"""Checks ElastiCache, Aurora, the replicas of the database's secret, and private stores through the ops function."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from mjctl.clients.metrics import Metric, newest, region_lag
from mjctl.clients.ops_function import ops_function
from mjctl.health.checks.fleet import NOT_SERVED
from mjctl.health.model import (
    AWS_CHECK_SECONDS,
    INVOKE_SECONDS,
    Check,
    Finding,
    RegionContext,
    failed,
    graded,
    passed,
    skipped,
    warned,
    worst,
)
from mjctl.health.readings import evictions_in_words, since_last
from mjctl.models.check import CheckStatus, Severity
from mjctl.models.contract import Contract, Managed
from mjctl.models.errors import ConfigError

_WORKING = frozenset({"available", "modifying", "snapshotting", "backing-up"})


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check of private stores, and for a region on AWS the checks of ElastiCache, Aurora and the secret."""
    if contract.cache.access == "ops_function":
        yield Check("redis", check_redis, INVOKE_SECONDS, severity=Severity.CRITICAL)
    if contract.managed is None:
        return
    if contract.managed.state_group is not None:
        yield Check("state", check_state, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("cache", check_cache, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("database", check_database, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    if contract.managed.database_global_cluster:
        yield Check("database-regions", check_database_regions, AWS_CHECK_SECONDS)
    if contract.database.secret.startswith("arn:"):
        yield Check("database-secret", check_database_secret, AWS_CHECK_SECONDS)


async def check_redis(context: RegionContext) -> Finding:
    """Check that the private state store and the private cache answer the ops function, and check their memory and
    evictions."""
    contract = context.contract
    if not contract.endpoints.served:
        return skipped(NOT_SERVED)
    # A region of release 0.1.0 has one Redis, and its ops function does not know the command `state`.
    has_state_store = contract.state != contract.cache
    async with ops_function(contract) as function:
        stats = await function.run("stats")
        state = await function.run("state") if has_state_store else None
    total, policy = int(stats["evicted_keys"]), str(state["policy"]) if state else "noeviction"
    evicted = await context.in_thread(partial(since_last, context.private_dir, "evicted_keys", total))
    bounds = context.thresholds
    memory_percent = max(_percent(figures) for figures in (stats, state) if figures)
    status = worst(
        (
            graded(memory_percent, warn=bounds.cache_memory_percent_warn, fail=bounds.cache_memory_percent_fail),
            graded(evicted or 0, warn=bounds.cache_evictions_warn, fail=float("inf")),
            CheckStatus.PASS if policy == "noeviction" else CheckStatus.FAIL,
        )
    )
    return Finding(
        status,
        f"Redis {stats['server_version']} answers the ops function: "
        + (f"state store {_size(state)}, {policy}; " if state else "")
        + f"cache {_size(stats)}, {evictions_in_words(total, evicted)}",
        None if status is CheckStatus.PASS else _full(context),
        {
            "used_memory_bytes": stats["memory_bytes"],
            "maxmemory_bytes": stats["max_memory_bytes"],
            "evicted_keys": total,
            "evicted_since_last": evicted,
            "clients": stats["clients"],
            "keys": stats["total_keys"],
            "state": state,
        },
    )


def _percent(figures: dict[str, Any]) -> float:
    limit = figures["max_memory_bytes"]
    return float(100 * figures["memory_bytes"] / limit) if limit else 0.0


def _size(figures: dict[str, Any]) -> str:
    limit = figures["max_memory_bytes"]
    return f"{figures['memory_bytes'] / 2**20:.1f} MiB" + (f" of {limit / 2**20:.0f} MiB" if limit else "")


async def check_cache(context: RegionContext) -> Finding:
    """Check the replication group of the cache: its status, zones, automatic failover, memory and lag."""
    return await _check_group(context, _managed(context).cache_group, "the loss of this node empties the cache")


async def check_state(context: RegionContext) -> Finding:
    """Check the replication group of the state store: its status, zones, automatic failover, memory and lag."""
    return await _check_group(context, str(_managed(context).state_group), "the loss of this node ends running matches")


async def _check_group(context: RegionContext, name: str, loss: str) -> Finding:
    answer = await context.clients.call_all("elasticache", "describe_replication_groups", ReplicationGroupId=name)
    group = answer["ReplicationGroups"][0]
    members = list(group.get("MemberClusters", ()))
    nodes = [node for part in group.get("NodeGroups", ()) for node in part.get("NodeGroupMembers", ())]
    zones = sorted({node["PreferredAvailabilityZone"] for node in nodes if node.get("PreferredAvailabilityZone")})
    evidence: dict[str, object] = {
        "group": name,
        "status": group["Status"],
        "nodes": len(members),
        "zones": zones,
        "automatic_failover": group.get("AutomaticFailover"),
        "multi_az": group.get("MultiAZ"),
    }
    if group["Status"] not in _WORKING:
        return failed(
            f"{name} is {group['Status']}",
            hint="`aws elasticache describe-events --source-type replication-group --source-identifier "
            f"{name} --region {context.contract.region}` shows the cause of this status",
            **evidence,
        )
    figures = await newest(
        context.clients,
        {
            f"{kind}/{member}": Metric("AWS/ElastiCache", metric, {"CacheClusterId": member})
            for member in members
            for kind, metric in (("memory", "DatabaseMemoryUsagePercentage"), ("lag", "ReplicationLag"))
        },
    )
    memory = max((value for name, value in figures.items() if name.startswith("memory/")), default=None)
    lag = max((value for name, value in figures.items() if name.startswith("lag/")), default=0.0)
    evidence |= {"memory_percent": memory, "replication_lag_seconds": lag}
    summary = f"{len(members)} node{'s' if len(members) != 1 else ''} in {', '.join(zones) or 'unknown zones'}"
    problems = _unsafe(group, loss)
    if problems:
        return warned(
            f"{summary}: {'; '.join(problems)}",
            hint=f"`mjctl deploy {context.contract.scope}` sets the replication group up again as the environment's "
            "file says",
            **evidence,
        )
    if memory is None:
        return warned(
            f"{summary}; CloudWatch has no memory metric yet",
            hint="CloudWatch has metrics of a new replication group after some minutes: look again",
            **evidence,
        )
    bounds = context.thresholds
    status = worst(
        (
            graded(memory, warn=bounds.cache_memory_percent_warn, fail=bounds.cache_memory_percent_fail),
            graded(lag, warn=bounds.cache_lag_seconds_warn, fail=float("inf")),
        )
    )
    hint = None if status is CheckStatus.PASS else _full(context)
    return Finding(status, f"{summary}, memory {memory:.0f} %, replication lag {lag:.1f} s", hint, evidence)


def _unsafe(group: dict[str, Any], loss: str) -> list[str]:
    shards = group.get("NodeGroups", ())
    problems = []
    for shard in shards:
        nodes = shard.get("NodeGroupMembers", ())
        zones = {node["PreferredAvailabilityZone"] for node in nodes if node.get("PreferredAvailabilityZone")}
        place = f" of shard {shard['NodeGroupId']}" if len(shards) > 1 else ""
        if len(nodes) < 2:
            problems.append(f"no replica{place}, so {loss}")
        elif len(zones) == 1:
            problems.append(f"all nodes{place} are in the same zone")
    if group.get("AutomaticFailover") not in ("enabled", "enabling"):
        problems.append("no automatic failover")
    return problems


async def check_database(context: RegionContext) -> Finding:
    """Check Aurora: the status of the cluster and its instances, the writer, the zones and the lag of the readers."""
    managed = _managed(context)
    name = managed.database_cluster
    lag_of = Metric("AWS/RDS", "AuroraReplicaLagMaximum", {"DBClusterIdentifier": name})
    clusters, answer, figures = await asyncio.gather(
        context.clients.call_all("rds", "describe_db_clusters", DBClusterIdentifier=name),
        context.clients.call_all("rds", "describe_db_instances", Filters=[{"Name": "db-cluster-id", "Values": [name]}]),
        newest(context.clients, {"lag": lag_of}),
    )
    cluster = clusters["DBClusters"][0]
    instances = {item["DBInstanceIdentifier"]: item for item in answer["DBInstances"]}
    zones = sorted({item["AvailabilityZone"] for item in instances.values() if item.get("AvailabilityZone")})
    states = Counter(item["DBInstanceStatus"] for item in instances.values())
    writers = [item["DBInstanceIdentifier"] for item in cluster.get("DBClusterMembers", ()) if item["IsClusterWriter"]]
    evidence: dict[str, object] = {
        "cluster": name,
        "status": cluster["Status"],
        "engine_version": cluster.get("EngineVersion"),
        "instances": dict(states),
        "zones": zones,
        "writer": next(iter(writers), None),
    }
    hint = (
        "Aurora replaces a failed instance automatically; `aws rds describe-events --source-type db-cluster "
        f"--source-identifier {name} --region {context.contract.region}` shows why the instance failed"
    )
    if cluster["Status"] not in _WORKING:
        return failed(f"{name} is {cluster['Status']}", hint=hint, **evidence)
    if not any(item["DBInstanceStatus"] in _WORKING for item in instances.values()):
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        return failed(
            f"no instance of {name} is available: {counts or 'the cluster has no instance'}", hint=hint, **evidence
        )
    if not writers:
        return failed(
            f"{name} has no writer",
            hint=f"`aws rds failover-db-cluster --db-cluster-identifier {name} --region "
            f"{context.contract.region}` makes a reader the writer; "
            f"`mjctl deploy {context.contract.scope}` creates missing instances again",
            **evidence,
        )
    lag = figures.get("lag")
    evidence["replica_lag_ms"] = lag
    summary = f"{name}: {len(instances)} instance{'s' if len(instances) != 1 else ''} in {', '.join(zones)}"
    unavailable = [
        f"{key} is {item['DBInstanceStatus']}"
        for key, item in instances.items()
        if item["DBInstanceStatus"] not in _WORKING
    ]
    if unavailable:
        return warned(f"{summary}; {', '.join(unavailable)}", hint=hint, **evidence)
    if len(instances) < 2 or len(zones) < 2:
        return warned(
            f"{summary}: no instance in another zone to fail over to",
            hint="raise aws.database.instances in the environment's file; then "
            f"`mjctl deploy {context.contract.scope}`",
            **evidence,
        )
    bounds = context.thresholds
    status = graded(lag or 0, warn=bounds.replica_lag_ms_warn, fail=bounds.replica_lag_ms_fail)
    behind = "no metric of the readers' lag yet" if lag is None else f"readers {lag:.0f} ms behind"
    return Finding(
        status,
        f"{summary}, writer {writers[0]}, {behind}",
        None
        if status is CheckStatus.PASS
        else "the writer or a reader is overloaded: RDS Performance Insights shows the statements that cause the load",
        evidence,
    )


async def check_database_regions(context: RegionContext) -> Finding:
    """Check that the region belongs to the global cluster, that only one region writes, and that the lag is small."""
    managed = _managed(context)
    answer = await context.clients.call_all(
        "rds", "describe_global_clusters", GlobalClusterIdentifier=managed.database_global_cluster
    )
    cluster = answer["GlobalClusters"][0]
    members = {item["DBClusterArn"]: bool(item["IsWriter"]) for item in cluster.get("GlobalClusterMembers", ())}
    own = [arn for arn in members if arn.endswith(f":cluster:{managed.database_cluster}")]
    writers = [arn.split(":")[3] for arn, writes in members.items() if writes]
    evidence: dict[str, object] = {
        "global_cluster": managed.database_global_cluster,
        "status": cluster.get("Status"),
        "regions": sorted(arn.split(":")[3] for arn in members),
        "writer": writers,
    }
    hint = (
        f"after a failover of the database, `mjctl deploy {context.contract.scope}` attaches this region's cluster to "
        "the global cluster again"
    )
    if not own:
        return failed(
            "this region's cluster does not belong to the global cluster, so this region has no copy of the data",
            hint=hint,
            **evidence,
        )
    if len(writers) != 1:
        return failed(f"the global cluster has {len(writers)} regions that write, not 1", hint=hint, **evidence)
    if members[own[0]]:
        others = len(members) - 1
        return passed(f"writes here, replicated to {others} other region{'s' if others != 1 else ''}", **evidence)
    lag = await region_lag(context.clients, managed.database_cluster, writers[0])
    evidence["region_lag_ms"] = lag
    if lag is None:
        return warned(
            f"a copy of {writers[0]}; CloudWatch has no metric of the replication lag",
            hint="look again in a minute. If the metric is missing for several minutes, the replication has stopped",
            **evidence,
        )
    bounds = context.thresholds
    status = graded(lag, warn=bounds.region_lag_ms_warn, fail=bounds.region_lag_ms_fail)
    return Finding(
        status,
        f"a copy of {writers[0]}, {lag:.0f} ms behind",
        None
        if status is CheckStatus.PASS
        else f"a failover now would lose the newest {lag:.0f} ms of writes. Reduce the load of the writer in "
        f"{writers[0]}, or look again in a minute",
        evidence,
    )


async def check_database_secret(context: RegionContext) -> Finding:
    """Check that the database's secret is not marked for deletion, and that the secret's replicas are up to date."""
    answer = await context.clients.call("secretsmanager", "describe_secret", SecretId=context.contract.database.secret)
    if answer.get("DeletedDate"):
        return failed(
            "the secret is marked for deletion",
            hint="`aws secretsmanager restore-secret --secret-id "
            f"{context.contract.database.secret} --region {context.contract.region}` cancels the deletion",
        )
    copies = {item["Region"]: item.get("Status", "Unknown") for item in answer.get("ReplicationStatus", ())}
    late = {region: status for region, status in copies.items() if status != "InSync"}
    evidence = {"copies": copies, "primary_region": answer.get("PrimaryRegion")}
    if "Failed" in late.values():
        return failed(
            f"the secret could not be replicated to {', '.join(late)}",
            hint="a region in which the replication failed probably has another secret of the same name: remove the "
            "other secret",
            **evidence,
        )
    if late:
        return warned(f"the secret is being replicated to {', '.join(late)}", hint="look again in a minute", **evidence)
    return passed(f"replicas in {', '.join(copies)} are up to date" if copies else "readable", **evidence)


def _full(context: RegionContext) -> str:
    return (
        f"`mjctl cache stats {context.contract.scope}` shows which namespaces fill the cache; "
        f"`mjctl cache flush {context.contract.scope}` empties the cache and changes no match; "
        "a larger aws.cache.node_type or aws.state.node_type in the environment's file gives a store more memory"
    )


def _managed(context: RegionContext) -> Managed:
    if context.contract.managed is None:
        raise ConfigError(
            "the region's contract lacks the part `managed`, which names the resources on AWS",
            hint=f"`mjctl deploy {context.contract.scope}` publishes the contract again",
        )
    return context.contract.managed
