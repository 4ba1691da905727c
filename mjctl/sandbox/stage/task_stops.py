"""Stops ECS tasks in AWS's order: deregister the targets, drain the connections, send SIGTERM, wait, send SIGKILL.

ministack itself sends SIGTERM immediately, and SIGKILL after five seconds.

- https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
- https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
- https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (stopTimeout)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mjctl.sandbox.stage.containers import Container
from mjctl.sandbox.stage.context import StageContext

USER, SCHEDULER = "UserInitiated", "ServiceSchedulerInitiated"
ESSENTIAL_EXITED = "EssentialContainerExited"

_DEFAULT_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.1

Task = dict[str, Any]

logger = logging.getLogger("mjctl.sandbox.stage.task_stops")


class TaskStops:
    """Stops tasks in threads, so that the callers do not wait.

    Attributes:
        after_stop: Function that is called after a task has stopped, in the request scope of the task's account and
            region.
    """

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self.after_stop: Callable[[Task], None] = lambda _: None

    def stop(self, task: Task, reason: str, code: str, *, counts_as_failure: bool = False) -> None:
        """Begin to stop a task of the current account and region. A task that is already stopping does not change.

        Args:
            task: ministack's record of the task.
            reason: The task's `stoppedReason`.
            code: The task's `stopCode`.
            counts_as_failure: True if the circuit breaker of the task's deployment counts the task as failed.
        """
        from ministack.core.concurrency import resource_lock
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import ecs

        if task["lastStatus"] != "RUNNING":
            # The thread that is starting the task reads this change, and removes the containers that it has started.
            if ecs._mark_task_stopped(task["taskArn"], task, reason, code):
                ecs._cleanup_task_resources(task, self._context.engine)
                self.after_stop(task)
            return
        with resource_lock("ecs-task", task["taskArn"]):
            if not ecs._task_is_active(task["taskArn"], task):
                return
            ecs._bump_task_version(task)
            task.update(
                desiredStatus="STOPPED",
                lastStatus="DEACTIVATING",
                stopCode=code,
                stoppedReason=reason,
                stoppingAt=ecs._iso(),
            )
        _publish(task)
        arguments = (task, counts_as_failure, get_account_id(), get_region())
        threading.Thread(target=self._finish, args=arguments, daemon=True, name="stage-task-stop").start()

    def look(self, task: Task) -> None:
        """Record which containers of a running task have ended. Stop the task if one of them is essential."""
        from ministack.core.concurrency import resource_lock
        from ministack.services import ecs

        with resource_lock("ecs-task", task["taskArn"]):
            if task["lastStatus"] != "RUNNING" or not ecs._task_is_active(task["taskArn"], task):
                return
            containers = self.containers_of(task)
            essentials = task.get("_container_essentials") or []
            ended = [index for index, container in enumerate(containers) if container.status == "exited"]
            for index in ended:
                _note_exit(task, index, containers[index])
        is_over = any(index >= len(essentials) or essentials[index] for index in ended)
        if is_over or (containers and len(ended) == len(containers)):
            self.stop(task, "Essential container in task exited", ESSENTIAL_EXITED, counts_as_failure=True)

    def containers_of(self, task: Mapping[str, Any]) -> list[Container]:
        """Return the containers of a task, in the order of the task definition."""
        everything = self._context.engine.all
        return [everything[identifier] for identifier in task.get("_docker_ids") or () if identifier in everything]

    def _finish(self, task: Task, counts_as_failure: bool, account: str, region: str) -> None:
        from ministack.core.responses import request_scope

        with request_scope(account, region):
            try:
                self._drain_and_end(task)
                if counts_as_failure:
                    from ministack.services import ecs

                    ecs._record_service_task_failure(task)
                self.after_stop(task)
            except Exception:
                logger.exception("the task %s was not stopped in order", task["taskArn"])

    def _drain_and_end(self, task: Task) -> None:
        from ministack.core.concurrency import resource_lock
        from ministack.services import ecs, ecs_metadata

        containers = self.containers_of(task)
        address = ecs._task_ip(task) or ""
        while any(container.running for container in containers) and self._context.target_state(address) == "draining":
            time.sleep(_LOOK_SECONDS)
        task["lastStatus"] = "STOPPING"
        definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
        seconds = {
            container["name"]: float(container.get("stopTimeout") or _DEFAULT_STOP_SECONDS)
            for container in definition.get("containerDefinitions", [])
        }
        stops = [
            threading.Thread(target=container.stop, args=(seconds.get(record["name"], _DEFAULT_STOP_SECONDS),))
            for container, record in zip(containers, task["containers"], strict=False)
        ]
        for thread in stops:
            thread.start()
        for thread in stops:
            thread.join()
        if self._context.engine.closing:
            # The sandbox is stopping. ministack saves the task as running, so that the next start of the sandbox
            # replaces the task.
            return
        with resource_lock("ecs-task", task["taskArn"]):
            for index, container in enumerate(containers):
                _note_exit(task, index, container)
            task["executionStoppedAt"] = ecs._iso()
            for state in ("DEPROVISIONING", "STOPPED"):
                ecs._bump_task_version(task)
                task["lastStatus"] = state
            task["stoppedAt"] = ecs._iso()
        ecs_metadata.set_task_status(task["taskArn"], known_status="STOPPED", desired_status="STOPPED")
        ecs._cleanup_task_resources(task, self._context.engine)
        _publish(task)


def _note_exit(task: Task, index: int, container: Container) -> None:
    record = task["containers"][index]
    record["lastStatus"] = "STOPPED"
    if record.get("exitCode") is None:
        record["exitCode"] = container.wait()["StatusCode"]


def _publish(task: Task) -> None:
    """Update the counters and the target groups of the task's service after a change of the task."""
    from ministack.services import ecs

    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    ecs._recount_cluster(cluster)
    ecs._refresh_service_state(cluster, task.get("group", ""))
