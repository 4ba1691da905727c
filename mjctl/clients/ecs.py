"""The game service on ECS, as health and the fleet need it.

The cluster is named by its ARN: credentials of another account are then refused, even if it has a cluster of that name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, NotFoundError

_TASKS_PER_CALL = 100


@dataclass(frozen=True)
class EcsDeployment:
    """`status`: PRIMARY is what the service moves to. `rollout`: COMPLETED, IN_PROGRESS or FAILED, and why."""

    status: str
    rollout: str
    reason: str
    task_definition: str
    desired: int
    running: int
    failed_tasks: int
    updated_at: datetime | None


@dataclass(frozen=True)
class Service:
    status: str
    desired: int
    running: int
    pending: int
    deployments: tuple[EcsDeployment, ...]
    last_event: str

    @property
    def primary(self) -> EcsDeployment | None:
        return next((one for one in self.deployments if one.status == "PRIMARY"), None)


@dataclass(frozen=True)
class Task:
    """`address`: private IPv4 address, once it has one. `health`: of its container, HEALTHY, UNHEALTHY or UNKNOWN."""

    id: str
    arn: str
    zone: str
    status: str
    health: str
    address: str | None
    started_at: datetime | None
    task_definition: str


def cluster_arn(contract: Contract) -> str:
    """Raises ConfigError when the contract names no service on ECS."""
    fleet = contract.fleet
    if fleet.kind != "ecs" or fleet.cluster is None or fleet.service is None:
        raise ConfigError(
            f"the fleet is on {fleet.kind}, not on ECS", where=f"{contract.environment}, {contract.region}"
        )
    return f"arn:aws:ecs:{contract.region}:{contract.aws.account_id}:cluster/{fleet.cluster}"


async def read_service(contract: Contract, clients: RegionClients) -> Service:
    """Raises NotFoundError when the service is gone."""
    cluster, name = cluster_arn(contract), str(contract.fleet.service)
    answer = await clients.call("ecs", "describe_services", cluster=cluster, services=[name])
    found = [item for item in answer["services"] if item.get("status") != "INACTIVE"]
    if not found:
        raise NotFoundError(
            f"ECS has no service {name}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` puts back what is gone",
        )
    service = found[0]
    events = service.get("events") or [{}]
    return Service(
        status=service["status"],
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        deployments=tuple(_deployment(item) for item in service.get("deployments", ())),
        last_event=str(events[0].get("message", "")),
    )


async def read_tasks(contract: Contract, clients: RegionClients) -> list[Task]:
    """The service's tasks that are to run, in the order of their zones."""
    cluster = cluster_arn(contract)
    listed = await clients.call_all("ecs", "list_tasks", cluster=cluster, serviceName=contract.fleet.service)
    arns: list[str] = listed["taskArns"]
    answers = await asyncio.gather(
        *(
            clients.call("ecs", "describe_tasks", cluster=cluster, tasks=arns[start : start + _TASKS_PER_CALL])
            for start in range(0, len(arns), _TASKS_PER_CALL)
        )
    )
    tasks = [_task(item) for answer in answers for item in answer["tasks"]]
    return sorted(tasks, key=lambda task: (task.zone, task.id))


def _deployment(item: dict[str, Any]) -> EcsDeployment:
    return EcsDeployment(
        status=item["status"],
        rollout=item.get("rolloutState") or "COMPLETED",
        reason=item.get("rolloutStateReason") or "",
        task_definition=item["taskDefinition"],
        desired=item["desiredCount"],
        running=item["runningCount"],
        failed_tasks=item.get("failedTasks") or 0,
        updated_at=item.get("updatedAt"),
    )


def _task(item: dict[str, Any]) -> Task:
    details = [detail for part in item.get("attachments", ()) for detail in part.get("details", ())]
    return Task(
        id=item["taskArn"].rsplit("/", 1)[-1],
        arn=item["taskArn"],
        zone=item.get("availabilityZone", ""),
        status=item["lastStatus"],
        health=item.get("healthStatus", "UNKNOWN"),
        address=next((one["value"] for one in details if one["name"] == "privateIPv4Address"), None),
        started_at=item.get("startedAt"),
        task_definition=item["taskDefinitionArn"],
    )
