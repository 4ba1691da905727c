"""Reads from ministack's records which security groups and subnets a resource has.

The functions run in ministack's process, inside `ministack.core.responses.request_scope` of the resource's account and
region. For a name that ministack does not know, a function returns a resource without security groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any

from mjctl.sandbox.stage.callers import NetworkCaller
from mjctl.sandbox.stage.reachability import SOMEWHERE, NetworkEnd, SecurityGroups

Json = Mapping[str, Any]


def security_groups() -> SecurityGroups:
    """Return the rules of all security groups of the region."""
    from ministack.services import ec2

    return SecurityGroups(list(ec2._security_groups.values()))


def network_end(name: str, groups: Iterable[str], subnets: Iterable[str]) -> NetworkEnd:
    """Return a resource in a VPC as an end of a connection.

    Args:
        name: The name of the resource, for messages.
        groups: The ids of the resource's security groups.
        subnets: The ids of the resource's subnets.
    """
    return NetworkEnd(name, frozenset(groups), _networks(subnets))


def load_balancer(record: Json) -> NetworkEnd:
    """Return a load balancer, in the form of `DescribeLoadBalancers`, as an end of a connection."""
    groups = frozenset(record.get("SecurityGroups") or []) or None
    return NetworkEnd(f"load balancer {record['LoadBalancerName']}", groups, _networks(record.get("Subnets") or []))


def at_address(address: str) -> NetworkEnd:
    """Return the ECS task that has an IP address as an end of a connection.

    If no task has the address, the function returns a resource without security groups, like a server outside the VPC.
    """
    from ministack.services import ecs

    for task in list(ecs._tasks.values()):
        if ecs._task_ip(task) == address and task.get("lastStatus") != "STOPPED":
            return task_end(task)
    try:
        return NetworkEnd(address, None, (IPv4Network(address),))
    except ValueError:
        # The text is the id of an EC2 instance or of a Lambda function. The stage does not emulate these targets.
        return NetworkEnd(address, None, (SOMEWHERE,))


def task_end(task: Json) -> NetworkEnd:
    """Return an ECS task, in the form of `DescribeTasks`, as an end of a connection."""
    from ministack.services import ecs

    # A task that RunTask has started has its security groups in its own record (mjctl.sandbox.stage.tasks).
    configuration: Json = {"awsvpcConfiguration": {"securityGroups": task.get("_security_groups")}}
    group = str(task.get("group", ""))
    if group.startswith("service:"):
        cluster = str(task.get("clusterArn", "")).rsplit("/", 1)[-1]
        service = ecs._services.get(f"{cluster}/{group.removeprefix('service:')}") or {}
        configuration = service.get("networkConfiguration") or {}
    vpc = configuration.get("awsvpcConfiguration") or {}
    subnet = task.get("_subnet")
    return network_end(
        f"task of {group}", vpc.get("securityGroups") or [], [subnet] if subnet else vpc.get("subnets", [])
    )


def function_end(name: str) -> NetworkEnd:
    """Return a Lambda function as an end of a connection. A function without a VPC runs outside of all VPCs.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    """
    from ministack.services import lambda_svc

    configuration = (lambda_svc._functions.get(name) or {}).get("config", {}).get("VpcConfig") or {}
    if not configuration.get("SubnetIds"):
        return NetworkEnd(f"function {name}", None, (SOMEWHERE,))
    return network_end(f"function {name}", configuration.get("SecurityGroupIds") or [], configuration["SubnetIds"])


def caller_end(caller: NetworkCaller) -> NetworkEnd | None:
    """Return a task or a function as the source of a connection, or None for a task that the region does not have."""
    from ministack.services import ecs

    if caller.kind == "task":
        task = ecs._tasks.get(caller.arn)
        return task_end(task) if task is not None else None
    return function_end(caller.arn.split(":")[6])


def cache_end(replication_group: str) -> NetworkEnd:
    """Return the nodes of an ElastiCache replication group as an end of a connection."""
    from ministack.services import elasticache

    record = elasticache._replication_groups.get(replication_group) or {}
    subnets = elasticache._subnet_groups.get(record.get("CacheSubnetGroupName", "")) or {}
    groups = [group["SecurityGroupId"] for group in record.get("SecurityGroups") or []]
    return network_end(f"cache {replication_group}", groups, _subnet_ids(subnets.get("Subnets") or []))


def database_end(cluster: str) -> NetworkEnd:
    """Return the instances of an Aurora cluster as an end of a connection."""
    from ministack.services import rds

    record = rds._clusters.get(cluster) or {}
    named = record.get("DBSubnetGroup") or ""
    subnets = rds._subnet_groups.get(named if isinstance(named, str) else named.get("DBSubnetGroupName", "")) or {}
    groups = [group["VpcSecurityGroupId"] for group in record.get("VpcSecurityGroups") or []]
    return network_end(f"database {cluster}", groups, _subnet_ids(subnets.get("Subnets") or []))


def _subnet_ids(subnets: Iterable[Any]) -> list[str]:
    return [str(s.get("SubnetIdentifier", "")) if isinstance(s, dict) else str(s) for s in subnets]


def _networks(subnets: Iterable[str]) -> tuple[IPv4Network, ...]:
    from ministack.services import ec2

    records = [ec2._subnets.get(subnet) for subnet in subnets]
    blocks = [ip_network(record["CidrBlock"]) for record in records if record]
    return tuple(network for network in blocks if isinstance(network, IPv4Network))
