"""Reads the game servers' service on ECS and its tasks.

Each request names the cluster by its ARN, so that AWS refuses credentials of another account. With the cluster's name
alone, AWS would answer for a cluster of that name in the account of the credentials.
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
    """Describes a deployment of the service, as ECS reports it.

    Attributes:
        status: PRIMARY for the newest deployment, to which the service moves; ACTIVE or INACTIVE for an older
            deployment.
        rollout: COMPLETED, IN_PROGRESS or FAILED.
        reason: ECS's reason for the state of the rollout.
        task_definition: The ARN of the task definition.
        desired: The desired number of tasks.
        running: The number of running tasks.
        failed_tasks: The number of tasks that failed to start.
        updated_at: The time of the deployment's last change, or None.
    """

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
    """Describes the service of the game servers, as ECS reports it.

    Attributes:
        status: ACTIVE, DRAINING or INACTIVE.
        desired: The desired number of tasks.
        running: The number of running tasks.
        pending: The number of tasks that are starting.
        deployments: The newest deployment and older deployments that still have tasks.
        last_event: The newest message of ECS about the service.
    """

    status: str
    desired: int
    running: int
    pending: int
    deployments: tuple[EcsDeployment, ...]
    last_event: str

    @property
    def primary(self) -> EcsDeployment | None:
        """Return the newest deployment, to which the service moves, or None if ECS reports no deployment."""
        return next((deployment for deployment in self.deployments if deployment.status == "PRIMARY"), None)


@dataclass(frozen=True)
class Task:
    """Describes a task, that is, a game server on ECS.

    Attributes:
        id: The id of the task, which is the last part of its ARN.
        arn: The ARN of the task.
        zone: The availability zone.
        status: The last status that ECS reported, e.g. RUNNING.
        health: The health of the container: HEALTHY, UNHEALTHY or UNKNOWN.
        address: The private IPv4 address, or None if the task has none yet.
        started_at: The time of the start, or None if the task has not started.
        task_definition: The ARN of the task definition.
    """

    id: str
    arn: str
    zone: str
    status: str
    health: str
    address: str | None
    started_at: datetime | None
    task_definition: str


def cluster_arn(contract: Contract) -> str:
    """Return the ARN of the region's ECS cluster.

    Raises:
        ConfigError: the region's game servers do not run on ECS.
    """
    fleet = contract.fleet
    if fleet.kind != "ecs" or fleet.cluster is None or fleet.service is None:
        raise ConfigError(
            f"the game servers run on {fleet.kind} and not on ECS", where=f"{contract.environment}, {contract.region}"
        )
    return f"arn:aws:ecs:{contract.region}:{contract.aws.account_id}:cluster/{fleet.cluster}"


async def read_service(contract: Contract, clients: RegionClients) -> Service:
    """Read the region's service.

    Raises:
        NotFoundError: the service does not exist.
        ConfigError: the region's game servers do not run on ECS.
        PermissionDeniedError: AWS refused the request.
        UnreachableError: ECS did not answer.
    """
    cluster, name = cluster_arn(contract), str(contract.fleet.service)
    answer = await clients.call("ecs", "describe_services", cluster=cluster, services=[name])
    services = [item for item in answer["services"] if item.get("status") != "INACTIVE"]
    if not services:
        raise NotFoundError(
            f"ECS has no service {name}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` creates the service again",
        )
    service = services[0]
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
    """List the service's tasks that ECS does not intend to stop, in the order of their zones.

    Raises:
        NotFoundError: the service does not exist.
        ConfigError: the region's game servers do not run on ECS.
        PermissionDeniedError: AWS refused a request.
        UnreachableError: ECS did not answer.
    """
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
        address=next((detail["value"] for detail in details if detail["name"] == "privateIPv4Address"), None),
        started_at=item.get("startedAt"),
        task_definition=item["taskDefinitionArn"],
    )
