"""Asks ECS which game servers of the region it stops, so that matches move before players lose their connections.

ECS stops a task of a load balancer in this order: it deregisters the target, waits for the deregistration delay, and
only then sends SIGTERM. The load balancer closes the connections of the players at the end of the delay.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-connection-draining.html

ECS's API reports the end of a task from the first step: `desiredStatus` is STOPPED while `lastStatus` is DEACTIVATING.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html

The task metadata, which a task could read without ECS's API, do not show the state DEACTIVATING:
https://github.com/aws/containers-roadmap/issues/2012
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from gameserver.cluster import departures
from gameserver.cluster.departures import Departures
from gameserver.cluster.directory import Directory
from gameserver.runtime import ecs
from gameserver.runtime.aws import AwsClients, error_code

log = structlog.get_logger()

WATCH_SECONDS: Final = 2.0
"""Time for which one server is the watcher. All servers together call ECS once in this time, because ECS limits the
calls of an account: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html"""

_LOOK_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 10.0
_TASKS_PER_CALL: Final = 100


class FleetWatch:
    """Writes the record of departing servers, in turns with the other servers of the region.

    Args:
        server_id: id of this server.
        redis: a client of the region's state store.
        directory: the live servers of the region.
        aws: the clients of the region.
        environment: the variables of this process.
    """

    def __init__(
        self,
        server_id: str,
        redis: Any,
        directory: Directory,
        aws: AwsClients,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._server_id = server_id
        self._redis = redis
        self._directory = directory
        self._aws = aws
        self._environment = environment
        self._arn = ""

    async def run(self) -> None:
        """Look at the region's tasks until cancelled. A look that fails is logged and repeated.

        Without this record, a server hands its matches over when ECS sends SIGTERM.
        """
        while True:
            pause = _LOOK_SECONDS * random.uniform(0.8, 1.2)
            try:
                if await departures.may_watch(self._redis, self._server_id, WATCH_SECONDS):
                    await self.look()
            except RedisError as error:
                log.warning("fleet_watch_failed", error=type(error).__name__)
            except Exception as error:
                # boto3 raises exceptions without a common base class below Exception.
                log.warning("fleet_watch_failed", error=type(error).__name__, code=error_code(error), cause=str(error))
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Ask ECS about the tasks of all live servers, and write the record of departing servers."""
        own = self._arn = self._arn or await asyncio.to_thread(ecs.task_arn, self._environment)
        if not own:
            raise LookupError("the ECS agent does not answer with the task's ARN")
        cluster = ecs.cluster_arn(own)
        names = {ecs.task_id(server.id): server.id for server in await self._directory.servers()}
        ids = sorted(name for name in names if name)
        tasks: list[Mapping[str, Any]] = []
        for start in range(0, len(ids), _TASKS_PER_CALL):
            batch = ids[start : start + _TASKS_PER_CALL]
            answer = await self._aws.run(lambda: self._aws.ecs.describe_tasks(cluster=cluster, tasks=batch))  # noqa: B023
            tasks += answer["tasks"]
        group = next((str(task.get("group", "")) for task in tasks if task["taskArn"] == own), "")
        services: list[Mapping[str, Any]] = []
        if service := group.removeprefix("service:"):
            answer = await self._aws.run(lambda: self._aws.ecs.describe_services(cluster=cluster, services=[service]))
            services = answer["services"]
        departing = find_departures(tasks, services[0] if services else {})
        await departures.write(self._redis, departing)


def find_departures(tasks: Iterable[Mapping[str, Any]], service: Mapping[str, Any]) -> Departures:
    """Return the servers that ECS stops or will stop soon.

    A server is outdated if its task has not the task definition of the newest deployment, and at least one server of
    the newest deployment is alive.

    Args:
        tasks: the tasks of the live servers, as ECS describes them.
        service: the service of the tasks, as ECS describes it.
    """
    primary: Mapping[str, Any] = next(
        (each for each in service.get("deployments", ()) if each["status"] == "PRIMARY"), {}
    )
    stopping, current, old = set(), set(), set()
    for task in tasks:
        name = ecs.server_id(task["taskArn"])
        if task.get("desiredStatus") == "STOPPED":
            stopping.add(name)
        elif task.get("taskDefinitionArn") == primary.get("taskDefinition"):
            current.add(name)
        else:
            old.add(name)
    return Departures(frozenset(stopping), frozenset(old) if current else frozenset())
