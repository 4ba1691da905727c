"""Schedules the tasks of ECS services by AWS's rules, in place of ministack's own scheduler.

ministack's scheduler counts a task as healthy after one second, keeps all old tasks until a deployment is complete, and
ignores the protection of tasks. It also reports the first deployment of a service as complete immediately.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mjctl.sandbox.stage import task_protection
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.service_plan import ServiceGoal, ServiceTask, TaskHealth, plan
from mjctl.sandbox.stage.task_health import ContainerHealth
from mjctl.sandbox.stage.task_stops import SCHEDULER, TaskStops

Record = dict[str, Any]
Handler = Callable[..., Any]

# AWS counts a task without health checks as healthy 40 s after its start. The stage waits for
# 1 s, which is enough to notice a process that ends immediately.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
_STARTED_SECONDS = 1.0
# If a task ends before it was healthy, the scheduler waits before it starts the next task of the service. Each further
# failure doubles the pause. AWS waits only after tasks that could not start, because a start on Fargate takes long.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


class ServiceScheduler:
    """Starts, stops and replaces the tasks of all services."""

    def __init__(self, context: StageContext, stops: TaskStops, health: ContainerHealth) -> None:
        self._context, self._stops, self._health = context, stops, health
        stops.after_stop = self.note_stop
        self._lock = threading.RLock()
        self._running_since: dict[str, float] = {}
        self._pauses: dict[str, tuple[float, float]] = {}
        self._mark_healthy: Handler = lambda *_: None
        self._complete: Handler = lambda *_, **__: None
        self.is_open = False

    def reconcile(self, cluster: str, key: str) -> None:
        """Start and stop tasks of a service by its plan. The service is in the current account and region.

        Args:
            cluster: The name of the cluster.
            key: ministack's key of the service, `CLUSTER/NAME`.
        """
        from ministack.services import ecs

        if not self.is_open or self._context.engine.closing:
            return
        with self._lock:
            service = ecs._services.get(key)
            if service is None or service["status"] != "ACTIVE":
                return
            primary = ecs._primary_deployment(service)
            tasks = {task["taskArn"]: task for task in active_tasks(service)}
            views = [self._view(service, primary, task) for task in tasks.values()]
            for view in views:
                self._note_health(key, view, tasks[view.arn])
            steps = plan(self._goal(service, primary, views), views)
            for arn in steps.unhealthy:
                is_new = next(view.is_current for view in views if view.arn == arn)
                self._stops.stop(tasks[arn], self._failure(service, tasks[arn]), SCHEDULER, counts_as_failure=is_new)
            for arn in steps.scale_in:
                owner = primary["id"] if primary else key
                self._stops.stop(tasks[arn], f"Scaling activity initiated by (deployment {owner})", SCHEDULER)
            if steps.start:
                _start(cluster, service, primary, steps.start)
        ecs._refresh_service_state(cluster, f"service:{service['serviceName']}")
        ecs._recount_cluster(cluster)
        ecs._complete_service_deployment(cluster, key)
        _remove_failed_deployments(service)

    def look(self) -> None:
        """Start and stop tasks of every service by its plan."""
        with self._lock:
            for (account, region, key), service in _everything("_services"):
                with _scope(account, region):
                    if service["status"] == "ACTIVE":
                        self.reconcile(key.split("/", 1)[0], key)
                    elif service["status"] == "DRAINING" and not _left(service):
                        service["status"] = "INACTIVE"

    def note_stop(self, task: Record) -> None:
        """Handle the end of a task: start a replacement if the task's service needs a replacement."""
        from ministack.services import ecs

        self._running_since.pop(task["taskArn"], None)
        group = str(task.get("group", ""))
        if not group.startswith("service:"):
            return
        cluster = ecs._cluster_name_from_arn(task["clusterArn"])
        self.reconcile(cluster, f"{cluster}/{group.removeprefix('service:')}")

    def with_pause(self, original: Handler) -> Handler:
        """Wrap `ecs._record_service_task_failure`: delay the replacement of a task that was never healthy."""

        def record(task: Record, **options: Any) -> Any:
            self._note_failed_start(task)
            return original(task, **options)

        return record

    def _note_failed_start(self, task: Record) -> None:
        if task.get("_startup_stable"):
            return
        with self._lock:
            _, pause = self._pauses.get(task["_deployment_id"], (0.0, _FIRST_PAUSE_SECONDS / 2))
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
            self._pauses[task["_deployment_id"]] = (time.monotonic() + pause, pause)

    def blocks_deployment(self, task: Record) -> bool:
        """Return whether `task` is of an older deployment, and the newest deployment waits only for protected tasks."""
        from ministack.services import ecs

        service = _service_of(task)
        primary = ecs._primary_deployment(service) if service else None
        if service is None or primary is None or ecs._deployment_for_task(service, task) is primary:
            return False
        tasks = active_tasks(service)
        stale = [other for other in tasks if ecs._deployment_for_task(service, other) is not primary]
        healthy = [other for other in tasks if other.get("_startup_stable") and other not in stale]
        return len(healthy) >= service["desiredCount"] and any(task_protection.is_protected(other) for other in stale)

    def after_stability(self, original: Handler) -> Handler:
        """Replace `ecs._record_service_task_healthy`, which ministack calls too early, 1 s after a task's start."""
        self._mark_healthy = original
        return lambda *_: None

    def after_drain(self, original: Handler) -> Handler:
        """Wrap `ecs._complete_service_deployment`: a deployment is complete when no older task is active."""

        def complete(cluster: str, key: str, expected_deployment_id: str | None = None) -> None:
            from ministack.services import ecs

            service = ecs._services.get(key)
            primary = ecs._primary_deployment(service) if service else None
            if service is None or any(
                ecs._deployment_for_task(service, task) is not primary for task in active_tasks(service)
            ):
                return
            original(cluster, key, expected_deployment_id=expected_deployment_id)

        return complete

    @staticmethod
    def in_progress(original: Handler) -> Handler:
        """Wrap `ecs._make_deployment`: the first deployment of a service is in progress until its tasks are healthy."""

        def make(*arguments: Any, **options: Any) -> Record:
            deployment: Record = original(*arguments, **options)
            identifier = deployment["id"]
            deployment.update(
                rolloutState="IN_PROGRESS", rolloutStateReason=f"ECS deployment {identifier} in progress."
            )
            return deployment

        return make

    @staticmethod
    def until_stopped(original: Handler) -> Handler:
        """Wrap `ecs._delete_service`: a deleted service is `DRAINING` until its tasks have stopped."""

        def delete(data: Record) -> Any:
            from ministack.services import ecs

            answer = original(data)
            cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
            name = ecs._resolve_service_ref(data.get("service", ""))
            service = ecs._services.get(f"{cluster}/{name[0]}") if name else None
            if answer[0] != 200 or service is None or not _left(service):
                return answer
            service["status"] = "DRAINING"
            ecs._recount_cluster(cluster)
            return ecs.json_response({"service": ecs._sanitize(service)})

        return delete

    def _goal(self, service: Record, primary: Record | None, views: list[ServiceTask]) -> ServiceGoal:
        from ministack.services import ecs

        settings = service.get("deploymentConfiguration") or {}
        until, _ = self._pauses.get(primary["id"], (0.0, 0.0)) if primary else (0.0, 0.0)
        definition = ecs._task_defs.get(ecs._resolve_td_key(service["taskDefinition"]))
        may_start = 1_000_000
        if definition is None or time.monotonic() < until or (primary and primary["rolloutState"] == "FAILED"):
            may_start = 0
        elif primary and ecs._deployment_needs_first_task(primary, definition, service):
            # Start a single task first: with it, ECS resolves image tags to digests for all tasks of the deployment.
            may_start = 0 if any(view.is_current for view in views) else 1
        return ServiceGoal(
            desired=int(service["desiredCount"]),
            minimum_percent=int(settings.get("minimumHealthyPercent", 100)),
            maximum_percent=int(settings.get("maximumPercent", 200)),
            is_rolling_out=bool(primary and primary["rolloutState"] == "IN_PROGRESS"),
            may_start=may_start,
        )

    def _view(self, service: Record, primary: Record | None, task: Record) -> ServiceTask:
        from ministack.services import ecs

        return ServiceTask(
            arn=task["taskArn"],
            is_current=ecs._deployment_for_task(service, task) is primary,
            health=self._health_of(service, task),
            is_protected=task_protection.is_protected(task),
            zone=str(task.get("availabilityZone", "")),
            created=str(task.get("createdAt", "")),
        )

    def _health_of(self, service: Record, task: Record) -> TaskHealth:
        if task["lastStatus"] != "RUNNING":
            return TaskHealth.PENDING
        now = time.monotonic()
        age = now - self._running_since.setdefault(task["taskArn"], now)
        checked, target = self.container_status(task), self._target_state(service, task)
        if age >= float(service.get("healthCheckGracePeriodSeconds") or 0) and "unhealthy" in (
            str(checked).lower(),
            target,
        ):
            return TaskHealth.UNHEALTHY
        is_healthy = checked in (None, "HEALTHY") and target in (None, "healthy", "unavailable")
        return TaskHealth.HEALTHY if is_healthy and age >= _STARTED_SECONDS else TaskHealth.PENDING

    def container_status(self, task: Record) -> str | None:
        """Return the health of the essential containers, or None if the task definition has no health check.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
        """
        essentials = task.get("_container_essentials") or []
        containers = self._stops.containers_of(task)
        statuses = [
            self._health.status(container.id)
            for index, container in enumerate(containers)
            if index >= len(essentials) or essentials[index]
        ]
        known = [status for status in statuses if status is not None]
        if "UNHEALTHY" in known:
            return "UNHEALTHY"
        return ("UNKNOWN" if "UNKNOWN" in known else "HEALTHY") if known else None

    def _target_state(self, service: Record, task: Record) -> str | None:
        from ministack.services import ecs

        return self._context.target_state(ecs._task_ip(task) or "") if service.get("loadBalancers") else None

    def _note_health(self, key: str, view: ServiceTask, task: Record) -> None:
        if view.health is TaskHealth.HEALTHY and not task.get("_startup_stable"):
            self._mark_healthy(key, task)
            self._pauses.pop(task["_deployment_id"], None)
        elif view.health is TaskHealth.UNHEALTHY:
            task["_startup_stable"] = False

    def _failure(self, service: Record, task: Record) -> str:
        if self.container_status(task) == "UNHEALTHY":
            return "Task failed container health checks"
        groups = [balancer.get("targetGroupArn") for balancer in service.get("loadBalancers") or []]
        return f"Task failed ELB health checks in (target-group {', '.join(filter(None, groups))})"


def active_tasks(service: Record) -> list[Record]:
    """Return the starting and running tasks of a service. The service is in the current account and region."""
    from ministack.services import ecs

    return [
        task
        for task in _left(service)
        if task["lastStatus"] in ecs._PRE_STOP_STATUSES and task["desiredStatus"] != "STOPPED"
    ]


def _left(service: Record) -> list[Record]:
    """Return the tasks of a service that have not stopped yet."""
    from ministack.services import ecs

    group = f"service:{service['serviceName']}"
    return [
        task
        for task in list(ecs._tasks.values())
        if task.get("group") == group
        and task.get("clusterArn") == service["clusterArn"]
        and task["lastStatus"] != "STOPPED"
    ]


def _service_of(task: Record) -> Record | None:
    from ministack.services import ecs

    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    service: Record | None = ecs._services.get(f"{cluster}/{str(task.get('group', '')).removeprefix('service:')}")
    return service


def _start(cluster: str, service: Record, primary: Record | None, count: int) -> None:
    from ministack.services import ecs

    ecs._run_task(
        {
            "cluster": cluster,
            "taskDefinition": service["taskDefinition"],
            "count": count,
            "group": f"service:{service['serviceName']}",
            # ministack finds the tasks of a service by the service's name in this field. AWS stores the id of the
            # deployment in this field.
            "startedBy": service["serviceName"],
            "launchType": service.get("launchType"),
            "capacityProviderStrategy": service.get("capacityProviderStrategy"),
            "platformVersion": service.get("platformVersion", ""),
            "networkConfiguration": service.get("networkConfiguration", {}),
            "enableExecuteCommand": service.get("enableExecuteCommand", False),
            "tags": list(service.get("tags") or []) if service.get("propagateTags") == "SERVICE" else [],
            "_deploymentId": primary["id"] if primary else None,
        }
    )


def _remove_failed_deployments(service: Record) -> None:
    """Remove deployments that were rolled back, as AWS does when the service is stable again."""
    from ministack.services import ecs

    primary = ecs._primary_deployment(service)
    if primary and primary["rolloutState"] == "COMPLETED":
        used = {task.get("_deployment_id") for task in active_tasks(service)} | {primary["id"]}
        service["deployments"] = [each for each in service["deployments"] if each["id"] in used]


def _everything(table: str) -> list[tuple[tuple[str, str, str], Record]]:
    from ministack.services import ecs

    items: list[tuple[tuple[str, str, str], Record]] = getattr(ecs, table).all_items()
    return items


@contextmanager
def _scope(account: str, region: str) -> Iterator[None]:
    from ministack.core.responses import request_scope

    with request_scope(account, region):
        yield
