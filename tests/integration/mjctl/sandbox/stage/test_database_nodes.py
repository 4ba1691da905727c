"""Tests that Aurora's instances are real PostgreSQL servers, with TLS, readers, failovers and a second region."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
from botocore.exceptions import ClientError

from mjctl.sandbox.stage.names import published
from tests.integration.mjctl.sandbox.stage.aurora import ABROAD, HOME, PASSWORD, Aurora, running_aurora, wait_for

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aurora]:
    with running_aurora(tmp_path_factory.mktemp("database")) as running:
        yield running


async def test_the_endpoints_have_the_names_of_aws_and_the_certificate_covers_them(database: Aurora) -> None:
    cluster = database.cluster()
    suffix = cluster["Endpoint"].removeprefix(f"game-{HOME}.cluster-")
    assert cluster["ReaderEndpoint"] == f"game-{HOME}.cluster-ro-{suffix}"
    assert database.endpoint("one") == f"one.{suffix}"
    context = ssl.create_default_context(cafile=str(database.authority))
    with socket.create_connection((published(database.hosts)[cluster["Endpoint"]], 5432)) as plain:
        plain.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname=cluster["Endpoint"]) as encrypted:
            assert encrypted.version() in {"TLSv1.2", "TLSv1.3"}


async def test_connections_without_tls_are_refused(database: Aurora) -> None:
    with pytest.raises((asyncpg.InvalidAuthorizationSpecificationError, asyncpg.PostgresError), match="no encryption"):
        await database.connect(database.cluster()["Endpoint"], tls=False)


async def test_a_wrong_password_and_the_administrator_are_refused(database: Aurora) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await database.connect(database.cluster()["Endpoint"], password="wrong-password")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
        await database.connect(database.cluster()["Endpoint"], user="rdsadmin")
    assert (
        await database.value(database.cluster()["Endpoint"], "SELECT rolsuper FROM pg_roles WHERE rolname = 'game'")
        is False
    )


async def test_the_parameters_of_the_cluster_parameter_group_apply(database: Aurora) -> None:
    for name in (database.endpoint("one"), database.endpoint("two")):
        assert await database.value(name, "SHOW log_statement") == "ddl"
        assert await database.value(name, "SHOW log_min_duration_statement") == "1s"
    database.rds().modify_db_cluster_parameter_group(
        DBClusterParameterGroupName="pg",
        Parameters=[{"ParameterName": "log_statement", "ParameterValue": "none", "ApplyMethod": "immediate"}],
    )

    async def changed() -> bool:
        return bool(await database.value(database.endpoint("two"), "SHOW log_statement") == "none")

    await wait_for(changed)


async def test_a_reader_follows_the_writer_and_refuses_writes(database: Aurora) -> None:
    cluster = database.cluster()
    await database.run(cluster["Endpoint"], "INSERT INTO t VALUES (1)")

    async def replicated() -> bool:
        return bool(await database.value(cluster["ReaderEndpoint"], "SELECT count(*) FROM t WHERE n = 1"))

    await wait_for(replicated)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.run(cluster["ReaderEndpoint"], "INSERT INTO t VALUES (2)")


CONNECT = """
import socket

def handler(event, context):
    try:
        with socket.create_connection((event["host"], 5432), timeout=4) as plain:
            plain.sendall(b"\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x2f")
            return plain.recv(1).decode()
    except TimeoutError:
        return "no answer"
"""


async def test_security_groups_decide_which_functions_reach_the_database(database: Aurora) -> None:
    ec2, rds = database.emulators.client("ec2", HOME), database.rds()
    iam, functions = database.emulators.client("iam", HOME), database.emulators.client("lambda", HOME)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    groups = {
        name: ec2.create_security_group(GroupName=name, Description="test", VpcId=vpc)["GroupId"]
        for name in ("database", "worker", "stranger")
    }
    allowed = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "UserIdGroupPairs": [{"GroupId": groups["worker"]}],
    }
    ec2.authorize_security_group_ingress(GroupId=groups["database"], IpPermissions=[allowed])
    rds.create_db_subnet_group(DBSubnetGroupName="data", DBSubnetGroupDescription="test", SubnetIds=subnets)
    cluster = rds.create_db_cluster(
        DBClusterIdentifier="guarded",
        DBSubnetGroupName="data",
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        MasterUsername="game",
        MasterUserPassword=PASSWORD,
        VpcSecurityGroupIds=[groups["database"]],
    )["DBCluster"]
    database.create_instance("guarded-1", "guarded", HOME)
    await database.wait_until_available()
    service = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps({"Statement": [service]}))["Role"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", CONNECT)
    answers = {}
    for name in ("worker", "stranger"):
        functions.create_function(
            FunctionName=name,
            Role=role["Arn"],
            Runtime="python3.12",
            Handler="code.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=20,
            VpcConfig={"SubnetIds": subnets, "SecurityGroupIds": [groups[name]]},
        )
        for endpoint in ("Endpoint", "ReaderEndpoint"):
            answer = functions.invoke(FunctionName=name, Payload=json.dumps({"host": cluster[endpoint]}))
            answers[name, endpoint] = json.loads(answer["Payload"].read())
    rds.delete_db_instance(DBInstanceIdentifier="guarded-1", SkipFinalSnapshot=True)
    assert answers == {
        ("worker", "Endpoint"): "S",
        ("worker", "ReaderEndpoint"): "S",
        ("stranger", "Endpoint"): "no answer",
        ("stranger", "ReaderEndpoint"): "no answer",
    }


async def test_a_changed_master_password_applies(database: Aurora) -> None:
    database.rds().modify_db_cluster(
        DBClusterIdentifier=f"game-{HOME}", MasterUserPassword="the-second-password", ApplyImmediately=True
    )
    database.password = "the-second-password"

    async def logged_in() -> bool:
        return bool(await database.value(database.cluster()["Endpoint"], "SELECT true"))

    await wait_for(logged_in)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await database.connect(database.cluster()["Endpoint"], password=PASSWORD)


async def test_a_failover_makes_the_reader_the_writer_and_moves_the_names(database: Aurora) -> None:
    cluster, before = database.cluster(), database.writer()
    await database.run(cluster["Endpoint"], "INSERT INTO t VALUES (3)")
    former = published(database.hosts)[cluster["Endpoint"]]
    answer = database.rds().failover_db_cluster(DBClusterIdentifier=cluster["DBClusterIdentifier"])["DBCluster"]
    assert answer["Status"] == "failing-over"

    async def moved() -> bool:
        return published(database.hosts)[cluster["Endpoint"]] != former

    await wait_for(moved)
    assert database.writer() != before
    assert await wait_for(lambda: database.run(cluster["Endpoint"], "INSERT INTO t VALUES (4)"))
    assert await database.value(cluster["Endpoint"], "SELECT count(*) FROM t WHERE n IN (3, 4)") == 2

    async def old_follows() -> bool:
        return bool(await database.value(database.endpoint(before), "SELECT pg_is_in_recovery() AND max(n) = 4 FROM t"))

    await wait_for(old_follows)


async def test_a_killed_writer_is_replaced_without_a_loss_of_committed_rows(database: Aurora) -> None:
    cluster, before = database.cluster(), database.writer()
    process = await database.postmaster(cluster["Endpoint"])
    await database.run(cluster["Endpoint"], "INSERT INTO t VALUES (5)")
    started = time.monotonic()
    os.kill(process, signal.SIGKILL)
    assert await wait_for(lambda: database.run(cluster["Endpoint"], "INSERT INTO t VALUES (6)"))
    assert time.monotonic() - started < 15
    assert database.writer() != before
    assert await database.value(cluster["Endpoint"], "SELECT count(*) FROM t WHERE n IN (5, 6)") == 2
    events = database.rds().describe_events(SourceType="db-cluster")["Events"]
    assert any("Completed failover to DB instance" in event["Message"] for event in events)


async def test_a_reboot_restarts_the_server_without_a_failover(database: Aurora) -> None:
    before = database.writer()
    name = database.endpoint(before)
    await wait_for(lambda: database.value(name, "SELECT true"))
    process = await database.postmaster(name)
    await database.wait_until_available()
    rebooted = database.rds().reboot_db_instance(DBInstanceIdentifier=before)["DBInstance"]
    assert rebooted["DBInstanceStatus"] == "rebooting"

    async def restarted() -> bool:
        return await database.postmaster(name) != process

    await wait_for(restarted)
    await database.wait_until_available()
    assert database.writer() == before


async def test_a_second_region_follows_and_takes_over(database: Aurora) -> None:
    """Creates a global database, switches over to the second region, and fails over back to the first region."""
    database.add_region("three", "four")
    home = database.rds()
    await database.wait_until_available(ABROAD)
    cluster, second = database.cluster(), database.cluster(ABROAD)
    names = [database.endpoint("three", ABROAD), database.endpoint("four", ABROAD)]

    def follows(name: str, number: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return bool(await database.value(name, f"SELECT pg_is_in_recovery() AND max(n) = {number} FROM t"))  # noqa: S608

        return check

    await database.run(cluster["Endpoint"], "INSERT INTO t VALUES (10)")
    for name in names:
        await wait_for(follows(name, 10))
    assert second["Endpoint"] not in published(database.hosts), "the endpoint of a secondary cluster is inactive"
    # The secondary cluster forwards the write to the primary cluster.
    await wait_for(lambda: database.run(second["ReaderEndpoint"], "INSERT INTO t VALUES (11)"))

    answer = home.switchover_global_cluster(
        GlobalClusterIdentifier="world", TargetDbClusterIdentifier=second["DBClusterArn"]
    )
    assert answer["GlobalCluster"]["Status"] == "switching-over"
    await wait_for(lambda: database.run(second["Endpoint"], "INSERT INTO t VALUES (12)"))
    assert await database.value(second["Endpoint"], "SELECT count(*) FROM t WHERE n IN (10, 11, 12)") == 3
    for name in (database.endpoint("one"), database.endpoint("two"), names[1]):
        await wait_for(follows(name, 12))
    assert cluster["Endpoint"] not in published(database.hosts)

    # Find both servers before the end of the first, after which the stage restarts the second as the writer.
    for server in [await database.postmaster(name) for name in names]:
        os.kill(server, signal.SIGKILL)
    home.failover_global_cluster(
        GlobalClusterIdentifier="world", TargetDbClusterIdentifier=cluster["DBClusterArn"], AllowDataLoss=True
    )
    await wait_for(lambda: database.run(cluster["Endpoint"], "INSERT INTO t VALUES (13)"))
    for name in names:
        await wait_for(follows(name, 13))
    status = home.describe_global_clusters(GlobalClusterIdentifier="world")["GlobalClusters"][0]["Status"]
    assert status == "available"


async def test_a_deleted_reader_loses_its_server(database: Aurora) -> None:
    writer = database.writer()
    reader = next(name for name in ("one", "two") if name != writer)
    name = database.endpoint(reader)
    database.rds().delete_db_instance(DBInstanceIdentifier=reader, SkipFinalSnapshot=True)

    async def is_gone() -> bool:
        return name not in published(database.hosts)

    await wait_for(is_gone)
    with pytest.raises(ClientError, match="no available reader"):
        database.rds().failover_db_cluster(DBClusterIdentifier=f"game-{HOME}")
