"""Runs real processes for the ECS tasks in ministack's records. The processes start, run and stop as on Fargate.

ministack keeps the records of ECS, starts the containers of a task, and runs the circuit breaker. This module
decides when a task starts, stops and is healthy (service_scheduler.py, task_stops.py). It also sets the environment
variables of each process.
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import start_checks, task_protection
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.game_image import IMAGE, GameImage, Registries
from mjctl.sandbox.stage.service_scheduler import ServiceScheduler
from mjctl.sandbox.stage.task_agent import AgentAccess, TaskAgent
from mjctl.sandbox.stage.task_health import ContainerHealth
from mjctl.sandbox.stage.task_stops import SCHEDULER, USER, TaskStops

Record = dict[str, Any]
Handler = Callable[..., Any]

# ECS describes a stopped task for at least one hour.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
_KEPT_SECONDS = 3600.0
_PRUNE_SECONDS = 60.0
# The reasons with which ministack's own functions call `_stop_task`.
_SCHEDULER_REASONS = ("Deployment completed", "Service deleted", "Service scaling down", "Task definition updated")
_ADDRESS_PREFIX = "arn:aws:ecs:"

logger = logging.getLogger("mjctl.sandbox.stage.tasks")


class Tasks:
    """Runs the ECS tasks, as a part of the stage."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._health = ContainerHealth()
        self._stops = TaskStops(context)
        self._scheduler = ServiceScheduler(context, self._stops, self._health)
        self._agent = TaskAgent(context.addresses.of("task-agent"), self._scheduler.blocks_deployment)
        self._placing = threading.Lock()
        self._prune_at = 0.0

    def install(self) -> None:
        """Replace ministack's decisions on tasks and services, and start the agent of the tasks."""
        from ministack.services import ecs

        context = self._context
        # No task of an earlier run of the sandbox still runs, so the addresses of those tasks are free.
        context.addresses.forget_below(_ADDRESS_PREFIX)
        registries = Registries(context.moto, context.access_key_id) if context.moto else None
        game = GameImage(context.releases, context.authority, registries)
        context.engine.recipes.append((IMAGE, game.recipe))
        context.engine.pull = game.pull
        ecs._docker = context.engine
        wrap(ecs, "_requested_subnet", _all_subnets)
        wrap(ecs, "_mark_task_pending", self._place)
        wrap(ecs, "_run_task_worker", self._checked)
        wrap(ecs, "_run_docker_container", _pulled_each_time)
        wrap(ecs, "_register_metadata", self._with_own_environment)
        wrap(ecs, "_record_service_task_failure", self._scheduler.with_pause)
        wrap(ecs, "_maybe_mark_stopped", lambda _: lambda task, *_: self._stops.look(task))
        wrap(ecs, "_stop_task", lambda _: self._stop)
        wrap(ecs, "_reconcile_service_tasks", lambda _: self._scheduler.reconcile)
        wrap(ecs, "_record_service_task_healthy", self._scheduler.after_stability)
        wrap(ecs, "_complete_service_deployment", self._scheduler.after_drain)
        wrap(ecs, "_make_deployment", self._scheduler.in_progress)
        wrap(ecs, "_delete_service", self._scheduler.until_stopped)
        wrap(ecs, "_get_task_protection", lambda _: task_protection.answer_get)
        wrap(
            ecs,
            "_update_task_protection",
            lambda _: lambda data: task_protection.answer_update(data, self._scheduler.blocks_deployment),
        )
        self._agent.start()

    def look(self) -> None:
        """Check the health of all tasks, and start and stop tasks of all services."""
        from ministack.core.responses import request_scope
        from ministack.services import ecs

        if not self._scheduler.is_open:
            # ministack listens after it has loaded its saved state. Before that, roles, secrets and subnets are
            # missing.
            if not _listens(self._context.gateway):
                return
            self._mark_lost_tasks()
            self._scheduler.is_open = True
        self._agent.dismiss_stopped()
        running = []
        for (account, region, _), task in ecs._tasks.all_items():
            if task["lastStatus"] != "RUNNING":
                continue
            with request_scope(account, region):
                self._stops.look(task)
                definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
                pairs = zip(self._stops.containers_of(task), definition.get("containerDefinitions", []), strict=False)
                running += [pair for pair in pairs if pair[0].running]
        self._health.look(running)
        self._publish_health()
        self._scheduler.look()
        self._prune()

    def close(self) -> None:
        """Stop the agent and the health checks. The engine ends the processes."""
        self._agent.close()
        self._health.close()

    def _place(self, original: Handler) -> Handler:
        """Choose the task's subnet: the requested subnet with the fewest tasks of the task's service.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
        """

        def mark_pending(task_arn: str, task: Record) -> Any:
            from ministack.services import ec2, ecs

            with self._placing:
                wanted = task.get("_subnet")
                if isinstance(wanted, RequestedNetwork):
                    # ministack keeps no network configuration of a task without a service.
                    task["_security_groups"] = wanted.security_groups
                    taken = [
                        other.get("_subnet")
                        for other in list(ecs._tasks.values())
                        if other.get("group") == task.get("group") and other["lastStatus"] in ecs._PRE_STOP_STATUSES
                    ]
                    task["_subnet"] = min(wanted, key=taken.count) if wanted else None
            subnet = ec2._subnets.get(task["_subnet"]) or {}
            task["availabilityZone"] = subnet.get("AvailabilityZone") or task["availabilityZone"]
            return original(task_arn, task)

        return mark_pending

    def _checked(self, original: Handler) -> Handler:
        """Check the roles of a task before its worker starts the task."""

        def run(task: Record, definition: Record, overrides: Any, docker: Any, account: str, region: str) -> None:
            from ministack.core.responses import request_scope
            from ministack.services import ecs

            with request_scope(account, region):
                try:
                    start_checks.check(task, definition)
                except start_checks.TaskStartError as error:
                    ecs._fail_task_start(task, docker, str(error))
                    return
            original(task, definition, overrides, docker, account, region)

        return run

    def _with_own_environment(self, original: Handler) -> Handler:
        """Set a container's environment variables as Fargate does, without the variable for ministack's address."""

        def register(
            task_arn: str, cluster_arn: str, td: Record, cdef: Record, launch_type: str, env: dict[str, str], *rest: Any
        ) -> str:
            from ministack.services import ecs, ecs_metadata

            task_definition_variables = dict(env)
            token: str = original(task_arn, cluster_arn, td, cdef, launch_type, env, *rest)
            region = task_arn.split(":")[3]
            env.clear()
            env.update(
                AWS_DEFAULT_REGION=region,
                AWS_EXECUTION_ENV="AWS_ECS_FARGATE" if launch_type == "FARGATE" else "AWS_ECS_EC2",
                AWS_REGION=region,
                **task_definition_variables,
            )
            env.update(self._agent.admit(AgentAccess(task_arn, td.get("taskRoleArn") or "", token)))
            task = ecs._tasks.get(task_arn) or {}
            network = {
                "IPv4Addresses": [self._context.addresses.of(task_arn)],
                "NetworkMode": td.get("networkMode", ""),
            }
            with ecs_metadata._LOCK:
                ecs_metadata._TASKS[task_arn]["AvailabilityZone"] = task.get("availabilityZone")
                ecs_metadata._TOKEN_TO_CONTAINER[token]["Networks"] = [network]
            return token

        return register

    def _stop(self, data: Record) -> Any:
        """Answer the call StopTask. Other functions of ministack also call this method to stop a task."""
        from ministack.services import ecs

        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        if cluster is None or cluster not in ecs._clusters:
            return ecs.error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
        task = ecs._resolve_task(data.get("task", ""), cluster)
        if task is None:
            return ecs.error_response_json("InvalidParameterException", "The referenced task was not found.", 400)
        reason = data.get("reason") or "Task stopped by user"
        self._stops.stop(task, reason, SCHEDULER if reason in _SCHEDULER_REASONS else USER)
        return ecs.json_response({"task": ecs._sanitize(task)})

    def _publish_health(self) -> None:
        """Write the results of the containers' health checks into ministack's records."""
        from ministack.services import ecs

        for task in list(ecs._tasks._data.values()):
            if task["lastStatus"] != "RUNNING":
                continue
            task["healthStatus"] = self._scheduler.container_status(task) or "UNKNOWN"
            for container, record in zip(self._stops.containers_of(task), task["containers"], strict=False):
                record["healthStatus"] = self._health.status(container.id) or "UNKNOWN"

    def _mark_lost_tasks(self) -> None:
        """Record a reason and a time for tasks that stopped because the sandbox stopped."""
        from ministack.services import ecs

        for task in list(ecs._tasks._data.values()):
            if task["lastStatus"] == "STOPPED" and task["desiredStatus"] != "STOPPED":
                task.update(
                    attachments=[],
                    desiredStatus="STOPPED",
                    stopCode="InfrastructureHealth",
                    stoppedAt=ecs._iso(),
                    stoppedReason="The sandbox was stopped",
                )

    def _prune(self) -> None:
        """Delete the records and the containers' folders of tasks that stopped more than an hour ago."""
        from ministack.services import ecs

        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_SECONDS
        for key, task in ecs._tasks.all_items():
            if task["lastStatus"] == "STOPPED" and _age_seconds(task.get("stoppedAt")) > _KEPT_SECONDS:
                ecs._tasks._data.pop(key, None)
        kept = {container.folder for container in list(self._context.engine.all.values())}
        for folder in self._context.engine.folder.glob("ministack-ecs-*"):
            log = folder / "log"
            if folder not in kept and time.time() - (log if log.exists() else folder).stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class RequestedNetwork(list[str]):
    """Lists the subnets that the caller of RunTask or CreateService has requested for a task.

    Attributes:
        security_groups: The ids of the requested security groups.
    """

    def __init__(self, subnets: Iterable[str], security_groups: Sequence[str]) -> None:
        super().__init__(subnets)
        self.security_groups = list(security_groups)


def _all_subnets(_original: Handler) -> Handler:
    """Keep the requested network in the record of a new task, until `_place` chooses a subnet for the task."""

    def requested(data: Record) -> RequestedNetwork:
        configuration = (data.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        subnets = [str(subnet) for subnet in configuration.get("subnets") or []]
        return RequestedNetwork(subnets, configuration.get("securityGroups") or [])

    return requested


def _pulled_each_time(original: Handler) -> Handler:
    """Pull the image for each task, because Fargate keeps no images of earlier tasks.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
    """

    def run(docker: Any, cdef: Record, run_kwargs: Record, **options: Any) -> Any:
        # Ignore the platform, because the processes run with this machine's Python for every platform.
        run_kwargs.pop("platform", None)
        return original(docker, cdef, run_kwargs, **{**options, "refresh_image": True, "allow_cached": False})

    return run


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    with suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1):
        return True
    return False


def _age_seconds(moment: str | None) -> float:
    if not moment:
        return 0.0
    return time.time() - datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
