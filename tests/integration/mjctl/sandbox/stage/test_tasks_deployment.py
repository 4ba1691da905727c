"""Tests ECS deployments: health before completion, the circuit breaker, and the protection of tasks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.tiny_game import CLUSTER, HEALTH_CHECK, TinyCluster, ask, eventually, get, image

pytestmark = pytest.mark.timeout(120)


def protect(task: Any, **wish: Any) -> tuple[int, Any]:
    """Change the protection of a task at the URL in the task's environment variables."""
    url = get(task, "/environment")["ECS_AGENT_URI"] + "/task-protection/v1/state"
    return ask(url, method="PUT", body=json.dumps(wish).encode())


def test_the_first_deployment_is_complete_when_its_task_is_healthy(cluster: TinyCluster) -> None:
    cluster.serve("first", cluster.register("first", healthCheck=HEALTH_CHECK))
    deployment = cluster.service("first")["deployments"][0]
    assert deployment["rolloutState"] == "IN_PROGRESS"
    eventually(lambda: cluster.service("first")["runningCount"] == 1)
    assert not cluster.is_stable("first")
    eventually(lambda: cluster.is_stable("first"))
    assert cluster.tasks("first")[0]["healthStatus"] == "HEALTHY"
    cluster.remove("first")


def test_a_deployment_keeps_the_old_task_until_the_new_task_is_healthy(cluster: TinyCluster) -> None:
    cluster.serve("rolled", cluster.register("rolled", healthCheck=HEALTH_CHECK))
    eventually(lambda: cluster.is_stable("rolled"))
    old = cluster.tasks("rolled")[0]["taskArn"]
    cluster.ecs.update_service(
        cluster=CLUSTER, service="rolled", taskDefinition=cluster.register("rolled", healthCheck=HEALTH_CHECK)
    )
    states = []
    while not cluster.is_stable("rolled"):
        states.append({task["taskArn"]: task["healthStatus"] for task in cluster.tasks("rolled")})
        time.sleep(0.05)
    assert all("HEALTHY" in state.values() for state in states)
    assert any(state.get(old) == "HEALTHY" and len(state) == 2 for state in states)
    assert cluster.stopped(old)["stopCode"] == "ServiceSchedulerInitiated"
    cluster.remove("rolled")


@pytest.mark.parametrize("fault", ["crash", "sick", "image"])
def test_the_circuit_breaker_rolls_back(cluster: TinyCluster, fault: str) -> None:
    good = cluster.register(fault, healthCheck=HEALTH_CHECK)
    cluster.serve(fault, good)
    eventually(lambda: cluster.is_stable(fault))
    task = cluster.tasks(fault)[0]["taskArn"]
    changes = {"image": image(cluster.account_id, "ab" * 32)} if fault == "image" else {}
    bad = cluster.register(fault, "" if fault == "image" else fault, healthCheck=HEALTH_CHECK, **changes)
    cluster.ecs.update_service(cluster=CLUSTER, service=fault, taskDefinition=bad)
    eventually(lambda: cluster.service(fault)["taskDefinition"] == good and cluster.is_stable(fault), 40)
    events = [event["message"] for event in cluster.service(fault)["events"]]
    assert f"(service {fault}) deployment failed: deployment circuit breaker was triggered." in events
    reasons = {
        "crash": "Essential container in task exited",
        "image": "CannotPullContainerError: ",
        "sick": "Task failed container health checks",
    }
    failed = [task for task in cluster.tasks(fault, "STOPPED") if task["stoppedReason"].startswith(reasons[fault])]
    assert [task["taskDefinitionArn"] for task in failed] == [bad] * 3
    assert [task] == [each["taskArn"] for each in cluster.tasks(fault)]
    cluster.remove(fault)


def test_a_protected_task_outlives_a_scale_in_and_a_deployment(cluster: TinyCluster) -> None:
    cluster.serve("kept", cluster.register("kept"))
    eventually(lambda: cluster.is_stable("kept"))
    task = cluster.tasks("kept")[0]
    status, answer = protect(task, ProtectionEnabled=True, ExpiresInMinutes=5)
    assert (status, answer["protection"]["ProtectionEnabled"]) == (200, True)
    described = cluster.ecs.get_task_protection(cluster=CLUSTER, tasks=[task["taskArn"]])["protectedTasks"][0]
    assert described["protectionEnabled"]
    assert described["expirationDate"].timestamp() > time.time() + 200
    cluster.ecs.update_service(cluster=CLUSTER, service="kept", desiredCount=0)
    time.sleep(1.5)
    assert cluster.task(task["taskArn"])["lastStatus"] == "RUNNING"
    cluster.ecs.update_service(cluster=CLUSTER, desiredCount=1, service="kept", taskDefinition=cluster.register("kept"))
    eventually(lambda: len(cluster.tasks("kept")) == 2 and cluster.service("kept")["runningCount"] == 2)
    time.sleep(2.5)
    assert cluster.task(task["taskArn"])["lastStatus"] == "RUNNING"
    assert cluster.service("kept")["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert protect(task, ProtectionEnabled=True)[1]["failure"]["Reason"] == "DEPLOYMENT_BLOCKED"
    assert protect(task, ProtectionEnabled=False)[1]["protection"]["ProtectionEnabled"] is False
    cluster.stopped(task["taskArn"])
    eventually(lambda: cluster.is_stable("kept"))
    cluster.remove("kept")


def test_the_protection_of_a_task_can_be_changed_by_the_api(cluster: TinyCluster) -> None:
    cluster.serve("api", cluster.register("api"))
    eventually(lambda: cluster.is_stable("api"))
    task = cluster.tasks("api")[0]["taskArn"]
    update = cluster.ecs.update_task_protection
    answer = update(cluster=CLUSTER, tasks=[task, "0" * 32], protectionEnabled=True)
    assert [each["taskArn"] for each in answer["protectedTasks"]] == [task]
    assert [each["reason"] for each in answer["failures"]] == ["MISSING"]
    alone = cluster.ecs.run_task(cluster=CLUSTER, taskDefinition="api")["tasks"][0]["taskArn"]
    failure = update(cluster=CLUSTER, tasks=[alone], protectionEnabled=True)["failures"][0]
    assert failure["reason"] == "TASK_NOT_VALID"
    with pytest.raises(cluster.ecs.exceptions.InvalidParameterException):
        update(cluster=CLUSTER, tasks=[task], protectionEnabled=True, expiresInMinutes=2881)
    cluster.remove("api")


def test_a_task_role_without_the_right_cannot_protect_its_task(cluster: TinyCluster) -> None:
    role = cluster.role("without-protection", ["ecs:GetTaskProtection"])
    cluster.serve("denied", cluster.register("denied", task_role=role))
    eventually(lambda: cluster.is_stable("denied"))
    status, answer = protect(cluster.tasks("denied")[0], ProtectionEnabled=True)
    assert (status, answer["error"]["Code"]) == (400, "AccessDeniedException")
    assert "without-protection" in answer["error"]["Message"]
    assert "ecs:UpdateTaskProtection" in answer["error"]["Message"]
    cluster.remove("denied")
