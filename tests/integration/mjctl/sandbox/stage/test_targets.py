"""Tests the health checks of a load balancer's targets with real servers as targets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.stage.backends import REGION, LoadBalancer, backends, wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulators, Path]]:
    folder = tmp_path_factory.mktemp("targets")
    with Emulators(folder, names=["ministack"], stage=True) as emulators:
        yield emulators, folder


def test_ministack_without_a_stage_reports_every_target_as_healthy(tmp_path: Path) -> None:
    with Emulators(tmp_path, names=["ministack"]) as emulators, backends(1) as [backend]:
        backend.status = 500
        balancer = LoadBalancer(emulators, tmp_path, "unchanged")
        balancer.register(backend)
        assert balancer.states() == {backend.address: "healthy"}
        balancer.deregister(backend)
        assert balancer.states() == {}


def test_a_new_target_is_healthy_after_its_first_good_check(running: tuple[Emulators, Path]) -> None:
    with backends(1) as [backend]:
        balancer = LoadBalancer(*running, "first", HealthCheckIntervalSeconds=5, HealthyThresholdCount=5)
        backend.status = 503
        balancer.register(backend)
        assert balancer.health()[backend.address]["State"] == "initial"
        wait_for(lambda: backend.checks)
        assert balancer.health()[backend.address]["Reason"] == "Elb.InitialHealthChecking"
        backend.status = 200
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        assert len(backend.checks) == 2
        assert backend.checks[1] - backend.checks[0] == pytest.approx(5, abs=0.3)
        assert "Reason" not in balancer.health()[backend.address]


def test_a_target_changes_its_state_after_the_thresholds(running: tuple[Emulators, Path]) -> None:
    with backends(1) as [backend]:
        balancer = LoadBalancer(*running, "thresholds", HealthyThresholdCount=3, Matcher={"HttpCode": "200-204,299"})
        backend.status = 299
        balancer.register(backend)
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        backend.status, failing_from = 503, time.monotonic()
        wait_for(lambda: balancer.states() == {backend.address: "unhealthy"})
        assert len([at for at in backend.checks if at > failing_from]) == 2
        health = balancer.health()[backend.address]
        assert health["Reason"] == "Target.ResponseCodeMismatch"
        assert health["Description"] == "Health checks failed with these codes: [503]"
        backend.status, good_from = 204, time.monotonic()
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        assert len([at for at in backend.checks if at > good_from]) == 3


def test_a_stopped_server_and_a_silent_server_have_different_reasons(running: tuple[Emulators, Path]) -> None:
    balancer = LoadBalancer(*running, "reasons", HealthCheckPath="/slow")
    with backends(1, first=20) as [stopped]:
        pass
    with backends(1, first=21) as [silent]:
        balancer.register(stopped, silent)
        wait_for(lambda: set(balancer.states().values()) == {"unhealthy"})
        health = balancer.health()
    assert health[stopped.address]["Reason"] == "Target.FailedHealthChecks"
    assert health[silent.address]["Reason"] == "Target.Timeout"
    assert health[silent.address]["Description"] == "Request timed out"


def test_health_checks_use_their_own_port_and_protocol(running: tuple[Emulators, Path]) -> None:
    with backends(2, first=30) as [traffic, checks]:
        balancer = LoadBalancer(*running, "ports", HealthCheckProtocol="TCP", HealthCheckPort=str(traffic.port))
        balancer.register(traffic)
        wait_for(lambda: balancer.states() == {traffic.address: "healthy"})
        assert traffic.checks == []
        described = balancer.api.describe_target_health(TargetGroupArn=balancer.group)["TargetHealthDescriptions"]
        assert described[0]["HealthCheckPort"] == str(traffic.port)
        balancer.api.modify_target_group(TargetGroupArn=balancer.group, HealthCheckPort=str(checks.port))
        wait_for(lambda: balancer.states() == {traffic.address: "unhealthy"})


def test_targets_of_a_group_without_a_load_balancer_are_unused(running: tuple[Emulators, Path]) -> None:
    with backends(1) as [backend]:
        balancer = LoadBalancer(*running, "unused")
        balancer.api.delete_listener(ListenerArn=balancer.listener)
        balancer.register(backend)
        assert balancer.health()[backend.address] == {
            "State": "unused",
            "Reason": "Target.NotInUse",
            "Description": "Target group is not configured to receive traffic from the load balancer",
        }
        unknown = balancer.api.describe_target_health(
            TargetGroupArn=balancer.group, Targets=[{"Id": "127.0.0.99", "Port": 80}]
        )
        assert unknown["TargetHealthDescriptions"][0]["TargetHealth"]["Reason"] == "Target.NotRegistered"
        balancer.listen(8080)
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})


def test_a_deregistered_target_without_connections_drains_for_the_whole_delay(running: tuple[Emulators, Path]) -> None:
    with backends(1) as [backend]:
        balancer = LoadBalancer(*running, "idle")
        balancer.group_attributes(deregistration_delay__timeout_seconds=3)
        balancer.register(backend)
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        balancer.deregister(backend)
        assert balancer.health()[backend.address]["Reason"] == "Target.DeregistrationInProgress"
        checks, began = len(backend.checks), time.monotonic()
        wait_for(lambda: balancer.states() == {}, seconds=8)
        assert time.monotonic() - began == pytest.approx(3, abs=1)
        assert len(backend.checks) <= checks + 1


def test_a_target_that_is_registered_again_while_it_drains_begins_anew(running: tuple[Emulators, Path]) -> None:
    with backends(1) as [backend]:
        balancer = LoadBalancer(*running, "again")
        balancer.register(backend)
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        balancer.deregister(backend)
        assert balancer.states() == {backend.address: "draining"}
        backend.status = 503
        balancer.register(backend)
        assert balancer.states() == {backend.address: "initial"}
        backend.status = 200
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})


def test_health_checks_time_out_if_a_security_group_blocks_them(running: tuple[Emulators, Path]) -> None:
    emulators, folder = running
    network = emulators.client("ec2", REGION)
    vpc = network.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    group = network.create_security_group(GroupName="balancer", Description="balancer", VpcId=vpc)["GroupId"]
    with backends(1) as [backend]:
        balancer = LoadBalancer(emulators, folder, "blocked")
        balancer.api.set_security_groups(LoadBalancerArn=balancer.arn, SecurityGroups=[group])
        balancer.register(backend)
        wait_for(lambda: balancer.states() == {backend.address: "healthy"})
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        network.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
        wait_for(lambda: balancer.states() == {backend.address: "unhealthy"})
        assert balancer.health()[backend.address]["Reason"] == "Target.Timeout"
    assert "no outbound rule of load balancer blocked" in (folder / "ministack.log").read_text(encoding="utf-8")
