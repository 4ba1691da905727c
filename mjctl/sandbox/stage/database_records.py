"""Reads and completes ministack's records of Aurora clusters and their instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PORT = 5432

Record = dict[str, Any]

_ENGINE = "aurora-postgresql"


class ClusterScope(NamedTuple):
    """Identifies an Aurora cluster or an instance of a cluster by its account, its region and its name."""

    account: str
    region: str
    name: str


def clusters() -> Iterator[tuple[ClusterScope, Record]]:
    """Yield ministack's records of all clusters of Aurora PostgreSQL."""
    from ministack.services import rds

    for (account, region, name), record in rds._clusters.all_items():
        if record.get("Engine") == _ENGINE:
            yield ClusterScope(account, region, name), record


def cluster_of(scope: ClusterScope) -> Record | None:
    """Return ministack's record of an Aurora PostgreSQL cluster, or None if the cluster does not exist."""
    from ministack.services import rds

    record: Record | None = rds._clusters.get_scoped(*scope)
    return record if record is not None and record.get("Engine") == _ENGINE else None


def instances_of(scope: ClusterScope, record: Record) -> dict[str, Record]:
    """Return ministack's records of a cluster's instances, by id.

    The instance with the lowest promotion tier comes first.
    """
    from ministack.services import rds

    instances = {}
    for member in sorted(record.get("DBClusterMembers", []), key=lambda member: int(member.get("PromotionTier", 1))):
        identifier = str(member["DBInstanceIdentifier"])
        instance = rds._instances.get_scoped(scope.account, scope.region, identifier)
        if instance is not None:
            instances[identifier] = instance
    return instances


def writer_of(record: Record) -> str:
    """Return the id of the instance that writes. In a secondary cluster, the instance writes after a promotion.

    If the writer was deleted, `writer_of` makes the first instance in the record the writer.
    """
    members = record["DBClusterMembers"]
    if not any(member.get("IsClusterWriter") for member in members):
        members[0]["IsClusterWriter"] = True
    return str(next(member["DBInstanceIdentifier"] for member in members if member.get("IsClusterWriter")))


def make_writer(scope: ClusterScope, record: Record, instance: str) -> None:
    """Make an instance the writer after the writer has failed, and add the failover to the events of RDS."""
    from ministack.core.responses import new_uuid, request_scope
    from ministack.services import rds

    for member in record["DBClusterMembers"]:
        member["IsClusterWriter"] = member["DBInstanceIdentifier"] == instance
    with request_scope(scope.account, scope.region):
        import time

        rds._events[new_uuid()] = {
            "SourceIdentifier": scope.name,
            "SourceType": "db-cluster",
            "SourceArn": record["DBClusterArn"],
            # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html
            "Message": f"Completed failover to DB instance: {instance}",
            "Date": time.time(),
            "EventCategories": ["failover"],
        }


def complete_instance(record: Record, instance: Record) -> str:
    """Write the endpoint that AWS would assign into the record of an instance. Returns: the endpoint's DNS name."""
    domain = str(record["Endpoint"]).partition(".cluster-")[2]
    name = f"{instance['DBInstanceIdentifier']}.{domain}"
    instance["Endpoint"] = {**instance.get("Endpoint", {}), "Address": name, "Port": int(record.get("Port") or PORT)}
    return name


def global_cluster_of(scope: ClusterScope, record: Record) -> Record | None:
    """Return ministack's record of the global cluster that contains a cluster, or None without a global cluster."""
    from ministack.services import rds

    identifier = record.get("GlobalClusterIdentifier")
    global_cluster: Record | None = (
        rds._global_clusters.get_scoped(scope.account, None, identifier) if identifier else None
    )
    return global_cluster


def writer_scope(scope: ClusterScope, record: Record) -> ClusterScope:
    """Return the cluster that writes to the global database of a cluster, or the cluster itself without one."""
    global_cluster = global_cluster_of(scope, record)
    for member in (global_cluster or {}).get("GlobalClusterMembers", []):
        if member.get("IsWriter"):
            parts = str(member["DBClusterArn"]).split(":")
            return ClusterScope(parts[4], parts[3], parts[6])
    return scope


def parameters_of(scope: ClusterScope, record: Record) -> dict[str, str]:
    """Return the parameters that a cluster's parameter group sets, except values that are formulas."""
    from ministack.services import rds

    group = rds._db_cluster_param_groups.get_scoped(
        scope.account, scope.region, record.get("DBClusterParameterGroup", "")
    )
    stored: Mapping[str, Mapping[str, str]] = (group or {}).get("Parameters", {})
    values = {name: str(parameter.get("ParameterValue", "")) for name, parameter in stored.items()}
    return {name: value for name, value in values.items() if "{" not in value}


def requires_tls(record: Record, parameters: Mapping[str, str]) -> bool:
    """Return whether the cluster refuses connections without TLS.

    From PostgreSQL 17 on, a cluster refuses connections without TLS by default.

    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.Security.html
    """
    default = "1" if int(str(record["EngineVersion"]).split(".")[0]) >= 17 else "0"
    return parameters.get("rds.force_ssl", default) == "1"
