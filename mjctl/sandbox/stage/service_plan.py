"""Decides which tasks an ECS service starts and stops, by AWS's rules for rolling updates and scaling.

- https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class TaskHealth(enum.Enum):
    """Names the health of a task. `PENDING` means that ECS does not know the task's health yet."""

    PENDING = "pending"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class ServiceTask:
    """Describes a task that belongs to a service and is not being stopped.

    Attributes:
        arn: The ARN of the task.
        is_current: True if the task belongs to the newest deployment.
        health: The health of the task.
        is_protected: True if neither a scale-in nor a deployment may stop the task.
        zone: The availability zone of the task.
        created: The time of the task's creation, as text. The order of the texts is the order of the times.
    """

    arn: str
    is_current: bool
    health: TaskHealth
    is_protected: bool = False
    zone: str = ""
    created: str = ""


@dataclass(frozen=True)
class ServiceGoal:
    """Describes the number of tasks that a service must run, and the limits of its deployment.

    Attributes:
        desired: The number of tasks that the service must run.
        minimum_percent: `minimumHealthyPercent` of the deployment configuration.
        maximum_percent: `maximumPercent` of the deployment configuration.
        is_rolling_out: True until the newest deployment is complete.
        may_start: The largest number of tasks that ECS may start now.
    """

    desired: int
    minimum_percent: int = 100
    maximum_percent: int = 200
    is_rolling_out: bool = False
    may_start: int = 1_000_000


@dataclass(frozen=True)
class ServicePlan:
    """Describes which tasks ECS must start and stop next for a service.

    Attributes:
        start: The number of tasks to start.
        scale_in: The tasks to stop because the service has too many tasks, or a newer deployment replaces them.
        unhealthy: The tasks to stop because they failed their health checks.
    """

    start: int
    scale_in: tuple[str, ...]
    unhealthy: tuple[str, ...]

    @property
    def is_settled(self) -> bool:
        """Return whether ECS needs to start and stop no task."""
        return self.start == 0 and not self.scale_in and not self.unhealthy


def plan(goal: ServiceGoal, tasks: Sequence[ServiceTask]) -> ServicePlan:
    """Return which tasks ECS must start and stop next for a service.

    The protection of a task prevents a scale-in, but not the replacement of an unhealthy task.

    Args:
        goal: The wanted number of tasks and the limits of the deployment.
        tasks: All tasks of the service that are not being stopped.
    """
    working = [task for task in tasks if task.health is not TaskHealth.UNHEALTHY]
    current = [task for task in working if task.is_current]
    stale = [task for task in working if not task.is_current]
    failed = [task for task in tasks if task.health is TaskHealth.UNHEALTHY]
    unhealthy = _replaceable(goal, failed, current, stale)
    missing = max(0, goal.desired - len(current))
    limit = max(1, goal.desired * goal.maximum_percent // 100) if goal.desired else 0
    room = max(0, limit - len(tasks) + len(unhealthy))
    scale_in = _superfluous(goal, current, stale, short_of=missing - room)
    room += len([task for task in stale if task.arn in scale_in])
    return ServicePlan(min(missing, room, goal.may_start), scale_in, unhealthy)


def _replaceable(
    goal: ServiceGoal, failed: Sequence[ServiceTask], current: Sequence[ServiceTask], stale: Sequence[ServiceTask]
) -> tuple[str, ...]:
    """Return the unhealthy tasks that can be stopped now.

    ECS starts the replacement of an unhealthy task before ECS stops the unhealthy task. If `maximumPercent` leaves no
    room for a replacement, ECS stops the unhealthy tasks one after another. During a deployment, ECS stops all
    unhealthy tasks immediately. A new task has no players yet, and the deployment replaces an old task anyway.
    """
    if not failed:
        return ()
    if goal.is_rolling_out or _count_healthy(current) >= goal.desired:
        return tuple(task.arn for task in failed)
    limit = goal.desired * goal.maximum_percent // 100
    has_room = len(failed) + len(current) + len(stale) < limit
    is_replacing = any(task.health is TaskHealth.PENDING for task in current)
    return () if has_room or is_replacing else (failed[0].arn,)


def _superfluous(
    goal: ServiceGoal, current: Sequence[ServiceTask], stale: Sequence[ServiceTask], *, short_of: int
) -> tuple[str, ...]:
    """Return the tasks that a scale-in or the newest deployment stops now.

    ECS stops an old task when a new task is healthy, so that the service keeps its capacity. Before a new task is
    healthy, ECS stops old tasks only to make room for new tasks, within the limit of `minimumHealthyPercent`.

    Args:
        goal: The wanted number of tasks and the limits of the deployment.
        current: The tasks of the newest deployment, without unhealthy tasks.
        stale: The tasks of older deployments, without unhealthy tasks.
        short_of: The number of new tasks for which `maximumPercent` leaves no room.
    """
    healthy = _count_healthy(current)
    replaced = len(stale) - max(0, goal.desired - healthy)
    floor = -(-goal.desired * goal.minimum_percent // 100)
    spare = healthy + _count_healthy(stale) - floor
    waiting = len(stale) - _count_healthy(stale)
    wanted = max(replaced, min(short_of, waiting + max(0, spare)))
    old = _stoppable(stale)[: max(0, wanted)]
    extra = _stoppable(current)[: max(0, len(current) - goal.desired)]
    return tuple(task.arn for task in (*old, *extra))


def _stoppable(tasks: Iterable[ServiceTask]) -> list[ServiceTask]:
    """Return the unprotected tasks in the order in which ECS stops them.

    Pending tasks are first. After the pending tasks, ECS stops the newest task in the zone with the most tasks, because
    ECS keeps the availability zones balanced.
    """
    left = list(tasks)
    ordered: list[ServiceTask] = []
    while candidates := [task for task in left if not task.is_protected]:
        sizes = Counter(task.zone for task in left)
        chosen = max(candidates, key=lambda task: (task.health is TaskHealth.PENDING, sizes[task.zone], task.created))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _count_healthy(tasks: Iterable[ServiceTask]) -> int:
    return sum(task.health is TaskHealth.HEALTHY for task in tasks)
