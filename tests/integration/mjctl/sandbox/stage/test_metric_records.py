"""Tests that the stage measures a load balancer and an ECS service, and that autoscaling keeps the smallest number of
tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mjctl.package.image import manifest_without_layers
from tests.tiny_game import CLUSTER, DIGEST, PORT, REGION, TinyCluster, eventually, running_cluster

pytestmark = pytest.mark.timeout(180)

_SERVICE = "measured"


class Measured:
    """Holds an ECS service behind a load balancer, whose metrics of one minute are published."""

    def __init__(self, cluster: TinyCluster) -> None:
        self.cluster = cluster
        ec2, balancers = cluster.client("ec2"), cluster.client("elbv2")
        vpc = ec2.describe_subnets(SubnetIds=cluster.subnets)["Subnets"][0]["VpcId"]
        group = ec2.create_security_group(Description="game", GroupName="measured", VpcId=vpc)["GroupId"]
        pair = {"UserIdGroupPairs": [{"GroupId": group}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "-1", **pair}])
        self.balancer = balancers.create_load_balancer(
            Name="game", Scheme="internal", SecurityGroups=[group], Subnets=cluster.subnets
        )["LoadBalancers"][0]["LoadBalancerArn"]
        self.targets = balancers.create_target_group(
            HealthCheckIntervalSeconds=5,
            HealthCheckPath="/healthz",
            HealthCheckTimeoutSeconds=2,
            Name="game",
            Port=PORT,
            Protocol="HTTP",
            TargetType="ip",
            VpcId=vpc,
        )["TargetGroups"][0]["TargetGroupArn"]
        balancers.create_listener(
            DefaultActions=[{"TargetGroupArn": self.targets, "Type": "forward"}],
            LoadBalancerArn=self.balancer,
            Port=80,
            Protocol="HTTP",
        )
        cluster.ecs.update_cluster_settings(
            cluster=CLUSTER, settings=[{"name": "containerInsights", "value": "enabled"}]
        )
        cluster.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{CLUSTER}/{_SERVICE}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=2,
            MaxCapacity=3,
        )
        cluster.serve(
            _SERVICE,
            cluster.register(_SERVICE, image=_pushed_image(cluster)),
            loadBalancers=[{"containerName": "game", "containerPort": PORT, "targetGroupArn": self.targets}],
            networkConfiguration={"awsvpcConfiguration": {"securityGroups": [group], "subnets": cluster.subnets}},
        )
        eventually(lambda: self.points("AWS/ApplicationELB", "HealthyHostCount", **self.target_dimensions), 100)

    @property
    def target_dimensions(self) -> dict[str, str]:
        return {
            "LoadBalancer": self.balancer.split(":loadbalancer/")[1],
            "TargetGroup": self.targets.rsplit(":", 1)[1],
        }

    def points(self, namespace: str, name: str, **dimensions: str) -> list[float]:
        now = datetime.now(UTC)
        answer: Any = self.cluster.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Maximum"],
        )
        return [point["Maximum"] for point in answer["Datapoints"]]


def _pushed_image(cluster: TinyCluster) -> str:
    registry = cluster.client("ecr")
    registry.create_repository(repositoryName="game")
    image = registry.put_image(repositoryName="game", imageManifest=manifest_without_layers(DIGEST), imageTag=DIGEST)
    digest = image["image"]["imageId"]["imageDigest"]
    return f"{cluster.account_id}.dkr.ecr.{REGION}.amazonaws.com/game@{digest}"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    with running_cluster(tmp_path_factory.mktemp("stage"), "moto") as cluster:
        yield Measured(cluster)


def test_the_targets_of_a_load_balancer_are_counted(measured: Measured) -> None:
    assert max(measured.points("AWS/ApplicationELB", "HealthyHostCount", **measured.target_dimensions)) <= 2
    assert set(measured.points("AWS/ApplicationELB", "UnHealthyHostCount", **measured.target_dimensions)) <= {0.0}


def test_the_tasks_of_a_service_are_measured(measured: Measured) -> None:
    service = {"ClusterName": CLUSTER, "ServiceName": _SERVICE}
    assert max(measured.points("ECS/ContainerInsights", "RunningTaskCount", **service)) in (1.0, 2.0)
    assert max(measured.points("AWS/ECS", "CPUUtilization", **service)) > 0
    assert 0 < max(measured.points("AWS/ECS", "MemoryUtilization", **service)) < 100


def test_autoscaling_keeps_the_smallest_number_of_tasks(measured: Measured) -> None:
    eventually(lambda: measured.cluster.service(_SERVICE)["desiredCount"] == 2, 70)
    eventually(lambda: measured.cluster.service(_SERVICE)["runningCount"] == 2, 30)
