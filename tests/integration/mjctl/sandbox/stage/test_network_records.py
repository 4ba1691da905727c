"""Tests that the security groups of a load balancer and of ECS tasks decide which connections are possible."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest

from mjctl.files import read_json
from mjctl.sandbox.stage.layout import names_file
from tests.tiny_game import PORT, TinyCluster, address, eventually, running_cluster

pytestmark = pytest.mark.timeout(120)


def create_group(cluster: TinyCluster, name: str) -> str:
    """Create a security group without rules."""
    network = cluster.client("ec2")
    vpc = network.describe_subnets(SubnetIds=cluster.subnets)["Subnets"][0]["VpcId"]
    group = network.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    network.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    return str(group)


def port(number: int, **peer: Any) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": number, "ToPort": number, **peer}]


def test_a_task_is_healthy_only_while_the_security_groups_allow_the_load_balancer(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        network, api = cluster.client("ec2"), cluster.client("elbv2")
        players, servers = create_group(cluster, "balancer"), create_group(cluster, "task")
        from_players = port(80, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
        to_servers = port(PORT, UserIdGroupPairs=[{"GroupId": servers}])
        from_balancer = port(PORT, UserIdGroupPairs=[{"GroupId": players}])
        network.authorize_security_group_ingress(GroupId=players, IpPermissions=from_players)
        network.authorize_security_group_egress(GroupId=players, IpPermissions=to_servers)
        network.authorize_security_group_ingress(GroupId=servers, IpPermissions=from_balancer)
        balancer = api.create_load_balancer(Name="game", Subnets=cluster.subnets, SecurityGroups=[players])[
            "LoadBalancers"
        ][0]
        group = api.create_target_group(
            Name="game",
            Protocol="HTTP",
            Port=PORT,
            TargetType="ip",
            HealthCheckPath="/healthz",
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=2,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        forward = [{"Type": "forward", "TargetGroupArn": group}]
        arn = balancer["LoadBalancerArn"]
        api.create_listener(LoadBalancerArn=arn, Port=80, Protocol="HTTP", DefaultActions=forward)
        inside = {"subnets": cluster.subnets, "securityGroups": [servers]}
        cluster.serve(
            "game",
            cluster.register("game"),
            loadBalancers=[{"targetGroupArn": group, "containerName": "game", "containerPort": PORT}],
            networkConfiguration={"awsvpcConfiguration": inside},
            healthCheckGracePeriodSeconds=600,
        )

        def health() -> dict[str, Any]:
            described = api.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
            return {entry["Target"]["Id"]: entry["TargetHealth"] for entry in described}

        eventually(lambda: cluster.is_stable("game"))
        task = cluster.tasks("game")[0]
        assert health() == {address(task): {"State": "healthy"}}
        entrance = eventually(lambda: read_json(names_file(tmp_path / "stage")).get(balancer["DNSName"]))

        def status() -> int:
            connection = http.client.HTTPConnection(entrance, 80, timeout=20)
            connection.request("GET", "/", headers={"Host": "play.example.com"})
            try:
                return connection.getresponse().status
            finally:
                connection.close()

        assert status() == 200
        network.revoke_security_group_ingress(GroupId=servers, IpPermissions=from_balancer)
        eventually(lambda: health()[address(task)].get("Reason") == "Target.Timeout")
        assert status() == 504
        assert "no inbound rule of task of service:game allows tcp 8080 from load balancer game" in (
            tmp_path / "ministack.log"
        ).read_text(encoding="utf-8")
        network.authorize_security_group_ingress(GroupId=servers, IpPermissions=from_balancer)
        eventually(lambda: health()[address(task)]["State"] == "healthy", 60)
