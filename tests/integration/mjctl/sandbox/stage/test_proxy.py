"""Tests the load balancers' proxy: its start and end, its protection from other users, firewall and security groups."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.routes import Routes
from tests.integration.mjctl.sandbox.stage.backends import (
    REGION,
    UPGRADE,
    LoadBalancer,
    ask,
    backends,
    balanced,
    upgraded,
    wait_for,
)
from tests.strangers import CROSS_SITE, as_nobody

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulators, Path]]:
    folder = tmp_path_factory.mktemp("proxy")
    with Emulators(folder, names=["ministack", "moto"], stage=True) as emulators:
        yield emulators, folder


def proxies(folder: Path) -> list[psutil.Process]:
    """Return the running proxies of the stage in a folder. A proxy of the stage writes to the stage's `proxy.log`."""
    log = str(folder / "stage" / "proxy.log")
    running = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if "mjctl.sandbox.stage.proxy" in process.cmdline() and os.readlink(f"/proc/{process.pid}/fd/1") == log:
                running.append(process)
    return running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_process_of_another_user_gets_no_answer(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "strangers") as (balancer, [backend]):
        address, port = balancer.address, balancer.port

        def attack() -> str:
            with socket.create_connection((address, port), timeout=5) as connection:
                try:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    return connection.recv(100).decode()
                except ConnectionError:
                    return ""

        assert as_nobody(attack) == ""
        assert backend.requests == []
        assert ask(balancer, headers=CROSS_SITE).status == 200
        assert dict(backend.requests[0][1])["Origin"] == CROSS_SITE["Origin"]


def test_security_groups_block_players_and_targets(running: tuple[Emulators, Path]) -> None:
    emulators, _ = running
    network = emulators.client("ec2", REGION)
    vpc = network.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    group = network.create_security_group(GroupName="players", Description="players", VpcId=vpc)["GroupId"]
    with balanced(running, "groups") as (balancer, [backend]):
        balancer.api.set_security_groups(LoadBalancerArn=balancer.arn, SecurityGroups=[group])
        time.sleep(1)
        with socket.create_connection((balancer.address, balancer.port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(10)
        players = [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        network.authorize_security_group_ingress(GroupId=group, IpPermissions=players)
        time.sleep(1)
        assert ask(balancer).status == 200
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        network.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
        time.sleep(1)
        began = time.monotonic()
        assert ask(balancer).status == 504
        assert time.monotonic() - began == pytest.approx(10, abs=1)
        assert len(backend.requests) == 1


def test_the_firewall_decides_on_each_request_and_on_each_handshake(running: tuple[Emulators, Path]) -> None:
    emulators, _ = running
    with balanced(running, "firewall") as (balancer, [backend]):
        api = emulators.client("wafv2", REGION)
        visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
        common = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}}
        acl = api.create_web_acl(
            Name="game",
            Scope="REGIONAL",
            DefaultAction={"Allow": {}},
            VisibilityConfig=visible,
            Rules=[
                {
                    "Name": "rate",
                    "Priority": 0,
                    "Action": {"Block": {}},
                    "Statement": {"RateBasedStatement": {"Limit": 100, "AggregateKeyType": "IP"}},
                    "VisibilityConfig": visible,
                },
                {
                    "Name": "common",
                    "Priority": 1,
                    "OverrideAction": {"None": {}},
                    "Statement": common,
                    "VisibilityConfig": visible,
                },
            ],
        )["Summary"]
        with upgraded(balancer):
            pass
        api.associate_web_acl(WebACLArn=acl["ARN"], ResourceArn=balancer.arn)
        wait_for(lambda: ask(balancer).status == 403)
        served = len(backend.requests)
        with socket.create_connection((balancer.address, balancer.port), timeout=10) as connection:
            connection.sendall(UPGRADE)
            assert connection.recv(4096).startswith(b"HTTP/1.1 403 Forbidden\r\nServer: awselb/2.0\r\n")
        agent = {"User-Agent": "game/1"}
        assert ask(balancer, "/big", "POST", headers=agent, body=b"x" * 8193).status == 403
        assert len(backend.requests) == served
        assert ask(balancer, "/small", "POST", headers=agent, body=b"x" * 8192).status == 200
        assert ask(balancer, headers=agent).status == 200
        for _ in range(110):
            ask(balancer, headers=agent)
        wait_for(lambda: ask(balancer, headers=agent).status == 403, seconds=12)
        api.disassociate_web_acl(ResourceArn=balancer.arn)
        wait_for(lambda: ask(balancer).status == 200)


def test_the_proxy_is_restarted_and_ends_with_ministack_even_if_it_is_killed(tmp_path: Path) -> None:
    with Emulators(tmp_path, names=["ministack"], stage=True) as emulators, backends(1) as [backend]:
        balancer = LoadBalancer(emulators, tmp_path, "restart")
        balancer.register(backend)
        balancer.wait_until_healthy(backend)
        [first] = wait_for(lambda: proxies(tmp_path))
        assert "AWS_SECRET_ACCESS_KEY" not in first.environ()
        first.kill()
        [second] = wait_for(lambda: [p for p in proxies(tmp_path) if p.pid != first.pid])
        assert wait_for(lambda: ask(balancer).status == 200)
        os.kill(second.ppid(), signal.SIGKILL)
        assert psutil.wait_procs([second], timeout=3)[1] == []


def test_routes_survive_the_way_to_the_proxy() -> None:
    assert Routes.from_line(Routes().to_line()) == Routes([], {}, {})
