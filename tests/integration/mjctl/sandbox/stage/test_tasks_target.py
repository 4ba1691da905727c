"""Tests that ECS services follow the health of their tasks at a load balancer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.tiny_game import CLUSTER, PORT, TinyCluster, address, eventually, get, process_of

pytestmark = pytest.mark.timeout(120)

DRAIN_SECONDS = 2


@pytest.fixture(scope="module")
def placed(cluster: TinyCluster) -> tuple[str, Any]:
    """Create a load balancer. Returns: the ARN of its target group, and the network configuration for its tasks."""
    ec2, balancers = cluster.client("ec2"), cluster.client("elbv2")
    vpc = ec2.describe_subnets(SubnetIds=cluster.subnets)["Subnets"][0]["VpcId"]
    members = ec2.create_security_group(Description="game", GroupName="game", VpcId=vpc)["GroupId"]
    pair = {"UserIdGroupPairs": [{"GroupId": members}]}
    ec2.authorize_security_group_ingress(GroupId=members, IpPermissions=[{"IpProtocol": "-1", **pair}])
    balancer = balancers.create_load_balancer(
        Name="game", Scheme="internal", SecurityGroups=[members], Subnets=cluster.subnets
    )
    network = {"awsvpcConfiguration": {"securityGroups": [members], "subnets": cluster.subnets}}
    arn: str = balancers.create_target_group(
        HealthCheckIntervalSeconds=5,
        HealthCheckPath="/healthz",
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        Name="game",
        Port=PORT,
        Protocol="HTTP",
        TargetType="ip",
        UnhealthyThresholdCount=2,
        VpcId=vpc,
    )["TargetGroups"][0]["TargetGroupArn"]
    balancers.modify_target_group_attributes(
        TargetGroupArn=arn,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}],
    )
    balancers.create_listener(
        DefaultActions=[{"TargetGroupArn": arn, "Type": "forward"}],
        LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
        Port=80,
        Protocol="HTTP",
    )
    return arn, network


def serve(cluster: TinyCluster, placed: tuple[str, Any], name: str, game: str = "", **changes: Any) -> None:
    group, network = placed
    balancer = {"containerName": "game", "containerPort": PORT, "targetGroupArn": group}
    definition = cluster.register(name, game)
    cluster.serve(name, definition, loadBalancers=[balancer], networkConfiguration=network, **changes)


def states(cluster: TinyCluster, placed: tuple[str, Any]) -> dict[str, str]:
    """Return the state of each target, by the target's address."""
    described = cluster.client("elbv2").describe_target_health(TargetGroupArn=placed[0])["TargetHealthDescriptions"]
    return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in described}


def test_a_deployment_is_complete_when_the_target_is_healthy(cluster: TinyCluster, placed: tuple[str, Any]) -> None:
    serve(cluster, placed, "checked")
    task = eventually(lambda: cluster.service("checked")["runningCount"] == 1 and cluster.tasks("checked")[0])
    eventually(lambda: cluster.is_stable("checked"))
    assert states(cluster, placed) == {address(task): "healthy"}
    cluster.remove("checked")


def test_a_task_leaves_its_target_group_before_sigterm(cluster: TinyCluster, placed: tuple[str, Any]) -> None:
    serve(cluster, placed, "drained")
    eventually(lambda: cluster.is_stable("drained"))
    task = cluster.tasks("drained")[0]
    process = process_of(task)
    cluster.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])
    assert states(cluster, placed)[address(task)] == "draining"
    assert cluster.task(task["taskArn"])["lastStatus"] == "DEACTIVATING"
    assert process.is_running()
    stopped = cluster.stopped(task["taskArn"])
    assert stopped["containers"][0]["exitCode"] == 0
    assert address(task) not in states(cluster, placed)
    cluster.remove("drained")


def test_an_unhealthy_target_is_replaced_after_its_replacement_is_healthy(
    cluster: TinyCluster, placed: tuple[str, Any]
) -> None:
    serve(cluster, placed, "ill")
    eventually(lambda: cluster.is_stable("ill"))
    task = cluster.tasks("ill")[0]
    get(task, "/fall-ill")
    stopped = eventually(lambda: (each := cluster.task(task["taskArn"]))["desiredStatus"] == "STOPPED" and each, 30)
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {placed[0]})"
    replacement = next(each for each in cluster.tasks("ill") if each["taskArn"] != task["taskArn"])
    assert states(cluster, placed)[address(replacement)] == "healthy"
    cluster.remove("ill")


def test_a_failing_target_is_not_replaced_within_the_grace_period(
    cluster: TinyCluster, placed: tuple[str, Any]
) -> None:
    serve(cluster, placed, "graced", "sick", healthCheckGracePeriodSeconds=14)
    eventually(lambda: "unhealthy" in states(cluster, placed).values(), 20)
    time.sleep(1)
    assert len(cluster.tasks("graced")) == 1
    assert cluster.tasks("graced", "STOPPED") == []
    stopped = eventually(lambda: cluster.tasks("graced", "STOPPED"), 30)[0]
    assert stopped["stoppedReason"].startswith("Task failed ELB health checks")
    cluster.remove("graced")
