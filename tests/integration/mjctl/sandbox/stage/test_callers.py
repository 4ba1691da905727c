"""Tests that the stage finds the task or function that opens a connection to a store, and applies security groups."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mjctl.sandbox.stage import cache_network, database_network
from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.cache_records import Scope
from mjctl.sandbox.stage.callers import NetworkCaller, caller_of, pid_of_peer
from mjctl.sandbox.stage.containers import TASK_LABEL, Container, ContainerCommand, ContainerEngine
from mjctl.sandbox.stage.database_records import ClusterScope

pytestmark = pytest.mark.timeout(60)

ACCOUNT, REGION = "123456789012", "us-east-1"
TASK = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/main/1"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:worker"
# A child process opens the connection, because many servers use worker processes.
PROGRAM = """
import os, socket, sys, time
if os.fork() == 0:
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    time.sleep(60)
os.wait()
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ContainerEngine]:
    addresses = Addresses(tmp_path)
    engine = ContainerEngine(tmp_path / "containers", addresses, "test")
    yield engine
    engine.close()
    addresses.close()


@contextmanager
def accepted(start: Callable[[int], Any]) -> Iterator[int | None]:
    """Yield the id of the process that connects to a port, after `start` has started the process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        start(server.getsockname()[1])
        connection, peer = server.accept()
        with connection:
            yield pid_of_peer(peer, connection.getsockname())


def test_the_processes_of_a_task_belong_to_the_task(engine: ContainerEngine) -> None:
    def recipe(container: Container) -> ContainerCommand:
        command = [sys.executable, "-c", PROGRAM, container.environment["PORT"]]
        return ContainerCommand(command, {"PATH": os.environ["PATH"]}, container.folder)

    engine.recipes.append((re.compile("task"), recipe))

    def start(port: int) -> None:
        engine.containers.run("task", labels={TASK_LABEL: TASK}, environment={"PORT": str(port)})

    with accepted(start) as pid:
        assert pid is not None
        assert caller_of(pid, engine) == NetworkCaller("task", TASK)


def test_the_processes_of_a_function_belong_to_the_function(engine: ContainerEngine) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> None:
        environment = {**os.environ, "_LAMBDA_FUNCTION_ARN": FUNCTION}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], env=environment))

    with accepted(start) as pid:
        assert pid is not None
        assert caller_of(pid, engine) == NetworkCaller("function", FUNCTION)
        os.kill(pid, 9)
    processes[0].wait()


def test_another_process_belongs_to_nothing(engine: ContainerEngine) -> None:
    connections: list[socket.socket] = []
    with accepted(lambda port: connections.append(socket.create_connection(("127.0.0.1", port)))) as pid:
        assert pid == os.getpid()
        assert caller_of(os.getpid(), engine) is None
        assert cache_network.obstacle(engine, Scope(ACCOUNT, REGION, "state"), os.getpid(), 6379) is None
    connections[0].close()


@pytest.mark.parametrize("allowed", [True, False])
def test_security_groups_decide_on_a_function(
    engine: ContainerEngine, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    from ministack.services import ec2, elasticache, lambda_svc

    monkeypatch.setattr(cache_network, "caller_of", lambda *_: NetworkCaller("function", FUNCTION))
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-worker"]}
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    pairs = [{"GroupId": "sg-worker" if allowed else "sg-other"}]
    inbound = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "UserIdGroupPairs": pairs}
    groups = {
        "sg-worker": {"GroupId": "sg-worker", "IpPermissions": [], "IpPermissionsEgress": [everything]},
        "sg-cache": {"GroupId": "sg-cache", "IpPermissions": [inbound], "IpPermissionsEgress": []},
    }
    group = {"CacheSubnetGroupName": "data", "SecurityGroups": [{"SecurityGroupId": "sg-cache"}]}
    subnets = {"Subnets": [{"SubnetIdentifier": "subnet-1"}]}
    # These dictionaries replace ministack's records for the account and the region of the tests.
    monkeypatch.setattr(ec2, "_security_groups", groups)
    monkeypatch.setattr(ec2, "_subnets", {"subnet-1": {"CidrBlock": "10.0.0.0/24"}})
    monkeypatch.setattr(elasticache, "_replication_groups", {"state": group})
    monkeypatch.setattr(elasticache, "_subnet_groups", {"data": subnets})
    monkeypatch.setattr(lambda_svc, "_functions", {"worker": {"config": {"VpcConfig": vpc}}})
    reason = cache_network.obstacle(engine, Scope(ACCOUNT, REGION, "state"), 1, 6379)
    assert (reason is None) is allowed
    assert allowed or "allows tcp 6379 from function worker" in str(reason)


@pytest.mark.parametrize(
    ("region", "member", "reason"),
    [
        (REGION, False, None),
        ("eu-west-1", False, "is in a region without an instance of the database"),
        ("eu-west-1", True, "no inbound rule of database abroad allows tcp 5432 from function worker"),
    ],
)
def test_the_security_groups_of_the_function_s_own_region_protect_a_global_database(
    engine: ContainerEngine, monkeypatch: pytest.MonkeyPatch, region: str, member: bool, reason: str | None
) -> None:
    from ministack.services import ec2, lambda_svc, rds

    function = FUNCTION.replace(REGION, region)
    monkeypatch.setattr(database_network, "caller_of", lambda *_: NetworkCaller("function", function))
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-worker"]}
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    inbound = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": "sg-worker"}]}
    home, abroad = ClusterScope(ACCOUNT, REGION, "home"), ClusterScope(ACCOUNT, "eu-west-1", "abroad")
    records = {
        scope: {
            "DBSubnetGroup": "data",
            "Engine": "aurora-postgresql",
            "GlobalClusterIdentifier": "global",
            "VpcSecurityGroups": [{"VpcSecurityGroupId": f"sg-{scope.name}"}],
        }
        for scope in (home, abroad)
    }
    members = [{"DBClusterArn": f"arn:aws:rds:eu-west-1:{ACCOUNT}:cluster:abroad"}] if member else []
    # These objects replace ministack's records for the account and the region of the tests.
    groups = {
        "sg-worker": {"GroupId": "sg-worker", "IpPermissions": [], "IpPermissionsEgress": [everything]},
        "sg-home": {"GroupId": "sg-home", "IpPermissions": [inbound], "IpPermissionsEgress": []},
        "sg-abroad": {"GroupId": "sg-abroad", "IpPermissions": [], "IpPermissionsEgress": []},
    }
    monkeypatch.setattr(ec2, "_security_groups", groups)
    monkeypatch.setattr(ec2, "_subnets", {"subnet-1": {"CidrBlock": "10.0.0.0/24"}})
    monkeypatch.setattr(rds, "_clusters", {scope.name: record for scope, record in records.items()})
    monkeypatch.setattr(rds, "_subnet_groups", {"data": {"Subnets": [{"SubnetIdentifier": "subnet-1"}]}})
    monkeypatch.setattr(database_network.database_records, "cluster_of", records.get)
    monkeypatch.setattr(
        database_network.database_records, "global_cluster_of", lambda *_: {"GlobalClusterMembers": members}
    )
    monkeypatch.setattr(lambda_svc, "_functions", {"worker": {"config": {"VpcConfig": vpc}}})
    obstacle = database_network.obstacle(engine, home, 1)
    assert (obstacle is None) if reason is None else reason in str(obstacle)


def test_the_door_of_the_databases_ends_with_the_last_cluster(engine: ContainerEngine, tmp_path: Path) -> None:
    network = database_network.DatabaseNetwork(engine, tmp_path)
    network.install()
    certificate, key = map(str, Authority(tmp_path / "authority").issue(["database.example.com"]))
    instance = {"socket": str(tmp_path / "none"), "certificate": certificate, "key": key, "tls_required": True}
    instances = {engine.addresses.of("database"): instance}
    clusters = [ClusterScope(ACCOUNT, REGION, name) for name in ("first", "second")]
    try:
        network.open(clusters[0], instances)
        network.open(clusters[1], {})
        (door,) = engine.all.values()
        assert door.running
        network.forget(clusters[1])
        assert door.running
        network.forget(clusters[0])
        assert not door.running
        assert not engine.all
        network.open(clusters[0], instances)
        (door,) = engine.all.values()
        assert door.running
    finally:
        network.close()
