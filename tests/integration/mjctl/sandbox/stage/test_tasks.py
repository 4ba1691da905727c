"""Tests that ECS tasks are processes with an address, an environment, a role, a log and a zone, as on Fargate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.strangers import CROSS_SITE, as_nobody
from tests.tiny_game import (
    CLUSTER,
    REGION,
    TinyCluster,
    address,
    ask,
    eventually,
    get,
    image,
    process_of,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def task(cluster: TinyCluster) -> Any:
    secret = cluster.client("secretsmanager").create_secret(Name="password", SecretString="xyzzy")["ARN"]
    cluster.serve("main", cluster.register("main", secrets=[{"name": "PASSWORD", "valueFrom": secret}]))
    eventually(lambda: cluster.is_stable("main"))
    return cluster.tasks("main")[0]


def test_a_task_gets_the_environment_of_fargate_and_no_key(task: Any) -> None:
    environment = get(task, "/environment")
    assert environment["GAMESERVER_HOST"] == address(task)
    assert environment["PASSWORD"] == "xyzzy"
    assert environment["AWS_REGION"] == REGION
    assert environment["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"} & set(environment)
    assert Path(environment["SSL_CERT_FILE"]).is_file()
    assert os.path.expanduser("~") != environment["HOME"]


def test_the_output_of_a_task_is_in_cloudwatch(cluster: TinyCluster, task: Any) -> None:
    assert eventually(lambda: cluster.log(task)) == ["game serve begins"]


def test_the_metadata_name_the_task_and_its_zone(task: Any) -> None:
    metadata = ask(get(task, "/environment")["ECS_CONTAINER_METADATA_URI_V4"] + "/task")[1]
    assert metadata["TaskARN"] == task["taskArn"]
    assert metadata["AvailabilityZone"] == task["availabilityZone"]
    assert metadata["Containers"][0]["Networks"] == [{"IPv4Addresses": [address(task)], "NetworkMode": "awsvpc"}]


def test_the_credentials_are_those_of_the_task_role(cluster: TinyCluster, task: Any) -> None:
    environment = get(task, "/environment")
    url, token = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"], environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    status, document = ask(url, {"Authorization": token})
    assert (status, document["RoleArn"]) == (200, cluster.task_role)
    assert ask(url, {"Authorization": "wrong"})[0] == 403
    assert ask(url)[0] == 403
    assert ask(url + "x", {"Authorization": token})[0] == 403


def test_iam_decides_on_the_calls_of_a_task(cluster: TinyCluster) -> None:
    queue = cluster.client("sqs").create_queue(QueueName="events")["QueueUrl"]
    role = cluster.role("caller", ["sqs:ReceiveMessage"])
    cluster.serve("caller", cluster.register("caller", task_role=role, variables={"QUEUE": queue}))
    eventually(lambda: cluster.is_stable("caller"))
    task = cluster.tasks("caller")[0]
    session = f"arn:aws:sts::{cluster.account_id}:assumed-role/caller/{task['taskArn'].rsplit('/', 1)[-1]}"
    assert get(task, "/identity") == {"arn": session}
    assert f"{session} is not authorized to perform: sqs:SendMessage" in get(task, "/send")["error"]
    cluster.allow("caller", ["sqs:SendMessage"])
    assert get(task, "/send") == {}
    cluster.remove("caller")


def test_the_agent_refuses_web_pages_and_other_users(task: Any) -> None:
    environment = get(task, "/environment")
    url = environment["ECS_CONTAINER_METADATA_URI_V4"]
    assert ask(url, CROSS_SITE)[0] == 403
    assert ask(url, {"Host": "evil.example"})[0] == 403
    base = url.rpartition("/")[0]
    if os.geteuid() == 0:
        assert as_nobody(lambda: ask(f"{base}/{'a' * 43}")[0]) == 403


def test_tasks_are_spread_over_the_zones(cluster: TinyCluster) -> None:
    cluster.serve("spread", cluster.register("spread"), count=4)
    eventually(lambda: cluster.is_stable("spread"))
    tasks = cluster.tasks("spread")
    zones = sorted(task["availabilityZone"] for task in tasks)
    assert zones == [f"{REGION}a", f"{REGION}a", f"{REGION}b", f"{REGION}b"]
    subnets = {
        task["availabilityZone"]: next(d["value"] for d in task["attachments"][0]["details"] if d["name"] == "subnetId")
        for task in tasks
    }
    assert subnets == dict(zip((f"{REGION}a", f"{REGION}b"), cluster.subnets, strict=True))
    assert len({address(task) for task in tasks}) == 4
    cluster.remove("spread")


def test_an_image_without_a_release_fails_the_pull(cluster: TinyCluster) -> None:
    definition = cluster.register("missing", image=image(cluster.account_id, "ab" * 32))
    arn = cluster.ecs.run_task(
        cluster=CLUSTER,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": cluster.subnets}},
        taskDefinition=definition,
    )["tasks"][0]["taskArn"]
    stopped = cluster.stopped(arn)
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert stopped["stoppedReason"].startswith("CannotPullContainerError: ")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("ecr:GetAuthorizationToken", "ResourceInitializationError: unable to pull secrets or registry auth"),
        ("ecr:BatchGetImage", "CannotPullContainerError"),
        ("logs:CreateLogStream", "ResourceInitializationError: failed to validate logger args"),
        ("secretsmanager:GetSecretValue", "ResourceInitializationError: unable to pull secrets or registry auth"),
    ],
)
def test_the_execution_role_needs_each_right(cluster: TinyCluster, missing: str, reason: str) -> None:
    needed = [
        "ecr:GetAuthorizationToken",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
    ]
    name = missing.replace(":", "-")
    role = cluster.role(name, [action for action in needed if action != missing])
    secret = cluster.client("secretsmanager").create_secret(Name=name, SecretString="xyzzy")["ARN"]
    definition = cluster.register(name, execution=role, secrets=[{"name": "PASSWORD", "valueFrom": secret}])
    arn = cluster.ecs.run_task(cluster=CLUSTER, taskDefinition=definition)["tasks"][0]["taskArn"]
    stopped = cluster.stopped(arn)
    assert stopped["stoppedReason"].startswith(reason)
    assert f"not authorized to perform: {missing}" in stopped["stoppedReason"]


def test_ecs_assumes_only_a_role_that_trusts_it(cluster: TinyCluster) -> None:
    role = cluster.role("of-functions", ["sqs:*"], trusts="lambda.amazonaws.com")
    definition = cluster.register("untrusted", task_role=role)
    arn = cluster.ecs.run_task(cluster=CLUSTER, taskDefinition=definition)["tasks"][0]["taskArn"]
    assert "ECS was unable to assume the role" in cluster.stopped(arn)["stoppedReason"]


def test_a_deleted_service_leaves_no_process(cluster: TinyCluster) -> None:
    cluster.serve("short", cluster.register("short"))
    eventually(lambda: cluster.is_stable("short"))
    pid = process_of(cluster.tasks("short")[0]).pid
    answer = cluster.ecs.delete_service(cluster=CLUSTER, service="short", force=True)
    assert answer["service"]["status"] == "DRAINING"
    eventually(lambda: cluster.service("short")["status"] == "INACTIVE")
    assert not psutil.pid_exists(pid)
