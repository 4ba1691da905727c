"""Tests that ECS tasks end in AWS's order, and that services replace the tasks that end."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest

from tests.tiny_game import (
    CLUSTER,
    DIGEST,
    HEALTH_CHECK,
    PORT,
    TinyCluster,
    address,
    eventually,
    get,
    image,
    process_of,
)

pytestmark = pytest.mark.timeout(120)


def started(cluster: TinyCluster, name: str, game: str = "", **changes: Any) -> Any:
    cluster.serve(name, cluster.register(name, game, **changes))
    eventually(lambda: cluster.is_stable(name))
    return cluster.tasks(name)[0]


def test_a_killed_process_is_replaced(cluster: TinyCluster) -> None:
    task = started(cluster, "killed")
    process_of(task).kill()
    stopped = cluster.stopped(task["taskArn"])
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert stopped["stoppedReason"] == "Essential container in task exited"
    assert stopped["containers"][0]["exitCode"] == 137
    replacement = eventually(lambda: cluster.is_stable("killed") and cluster.tasks("killed")[0])
    assert replacement["taskArn"] != task["taskArn"]
    cluster.remove("killed")


def test_stop_task_ends_the_process_in_order_and_the_service_replaces_it(cluster: TinyCluster) -> None:
    task = started(cluster, "polite")
    answer = cluster.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"], reason="a test")["task"]
    assert answer["desiredStatus"] == "STOPPED"
    assert answer["lastStatus"] in ("DEACTIVATING", "STOPPING")
    stopped = cluster.stopped(task["taskArn"])
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "a test")
    assert stopped["containers"][0]["exitCode"] == 0
    eventually(lambda: cluster.log(task)[-1] == "game ends in order")
    assert eventually(lambda: cluster.is_stable("polite"))
    cluster.remove("polite")


def test_a_process_that_ignores_sigterm_is_killed_after_the_stop_timeout(cluster: TinyCluster) -> None:
    task = started(cluster, "deaf", "deaf")
    process = process_of(task)
    began = time.monotonic()
    cluster.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])
    time.sleep(1)
    assert process.is_running()
    stopped = cluster.stopped(task["taskArn"])
    assert time.monotonic() - began >= 2
    assert stopped["containers"][0]["exitCode"] == 137
    assert not psutil.pid_exists(process.pid)
    cluster.remove("deaf")


def test_a_scale_in_stops_the_newest_task(cluster: TinyCluster) -> None:
    task = started(cluster, "scaled")
    cluster.ecs.update_service(cluster=CLUSTER, service="scaled", desiredCount=2)
    eventually(lambda: cluster.is_stable("scaled") and len(cluster.tasks("scaled")) == 2)
    newer = next(other for other in cluster.tasks("scaled") if other["taskArn"] != task["taskArn"])
    cluster.ecs.update_service(cluster=CLUSTER, service="scaled", desiredCount=1)
    stopped = cluster.stopped(newer["taskArn"])
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-svc/")
    assert [task["taskArn"]] == [other["taskArn"] for other in cluster.tasks("scaled")]
    cluster.remove("scaled")


def test_an_unhealthy_container_is_replaced_after_its_replacement_is_healthy(cluster: TinyCluster) -> None:
    task = started(cluster, "ill", healthCheck=HEALTH_CHECK)
    assert cluster.task(task["taskArn"])["healthStatus"] == "HEALTHY"
    get(task, "/fall-ill")
    eventually(lambda: cluster.task(task["taskArn"])["healthStatus"] == "UNHEALTHY")
    assert cluster.task(task["taskArn"])["lastStatus"] == "RUNNING"
    stopped = cluster.stopped(task["taskArn"])
    assert stopped["stoppedReason"] == "Task failed container health checks"
    replacement = cluster.tasks("ill")[0]
    assert replacement["healthStatus"] == "HEALTHY"
    assert address(replacement) != address(task)
    cluster.remove("ill")


def test_the_end_of_an_essential_container_stops_the_other_containers(cluster: TinyCluster) -> None:
    definition = cluster.register("pair", sidecars={"sidecar": "", "setup": "crash"})
    cluster.serve("pair", definition)
    eventually(lambda: cluster.is_stable("pair"))
    task = cluster.tasks("pair")[0]
    game, sidecar, setup = task["containers"]
    assert (game["lastStatus"], sidecar["lastStatus"]) == ("RUNNING", "RUNNING")
    assert (setup["lastStatus"], setup["exitCode"]) == ("STOPPED", 3)
    assert get(task, "/environment", port=PORT + 1)["GAMESERVER_HOST"] == address(task)
    other = process_of(task, port=PORT + 1)
    process_of(task).kill()
    stopped = cluster.stopped(task["taskArn"])
    assert [container["exitCode"] for container in stopped["containers"]] == [137, 0, 3]
    assert not psutil.pid_exists(other.pid)
    cluster.remove("pair")


def test_an_image_can_be_named_by_its_tag(cluster: TinyCluster) -> None:
    tagged = f"{image(cluster.account_id).partition('@')[0]}:{DIGEST}"
    task = started(cluster, "tagged", image=tagged)
    assert task["containers"][0]["imageDigest"] == image(cluster.account_id).partition("@")[2]
    cluster.remove("tagged")
