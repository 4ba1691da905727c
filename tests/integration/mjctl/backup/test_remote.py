"""Tests portable backups of a private database: an ECS task of the stage reads the emulated Aurora and DynamoDB."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gameserver
from gameserver.persistence.migrate import upgrade
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from mjctl.backup import operations, remote
from mjctl.backup.create import Selection
from mjctl.backup.messages import TaskWork
from mjctl.backup.remote import run_in_task
from mjctl.files import write_private
from mjctl.models.backup import BackupState, Kind
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, PermissionDeniedError, RefusedError, UnreachableError, UsageError
from mjctl.sandbox.stage import names
from mjctl.sandbox.stage.names import published
from tests import factories
from tests.integration.mjctl.sandbox.stage.aurora import ACCOUNT, HOME, PASSWORD, Aurora, running_aurora, wait_for
from tests.integration.mjctl.sandbox.stage.unguarded import UnguardedStage
from tests.tiny_game import TinyCluster, eventually, image

pytestmark = [pytest.mark.infra, pytest.mark.timeout(240)]

DIGEST = "7d" * 32
BUCKET = f"arena-it-{HOME}-{ACCOUNT}-backups"
TABLE = "arena-it-matches"
STORES = (Kind.DATABASE, Kind.TABLE)
SCRATCH = f"arn:aws:dynamodb:{HOME}:{ACCOUNT}:table/arena-it-scratch.*"


def policy(key: str) -> list[dict[str, Any]]:
    """Return the permissions of the task's role, as terraform/modules/backup_task defines them."""
    own = f"arn:aws:dynamodb:{HOME}:{ACCOUNT}:table/{TABLE}"
    scratch = [
        "BatchWriteItem", "CreateTable", "DeleteTable", "DescribeTable", "DescribeTimeToLive",
        "Scan", "TagResource", "UpdateTimeToLive",
    ]  # fmt: skip
    allowed = {
        f"arn:aws:rds-db:{HOME}:{ACCOUNT}:dbuser:*/arena_it_backup": ["rds-db:connect"],
        own: [f"dynamodb:{action}" for action in ("DescribeTable", "DescribeTimeToLive", "Scan")],
        SCRATCH: [f"dynamodb:{action}" for action in scratch],
        "*": ["dynamodb:ListTables"],
        f"arn:aws:s3:::{BUCKET}/*": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
        f"arn:aws:s3:::{BUCKET}": ["s3:ListBucket"],
    }
    keys = {
        "Effect": "Allow",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": key,
        "Condition": {"StringEquals": {"kms:EncryptionContext:purpose": "backup"}},
    }
    stores = [{"Effect": "Allow", "Action": actions, "Resource": resource} for resource, actions in allowed.items()]
    return [*stores, keys]


def operators_policy(key: str, definition: str) -> list[dict[str, Any]]:
    """Return the statements of the policy `portable-backup`, as terraform/modules/backup_task defines them."""
    cluster = f"arn:aws:ecs:{HOME}:{ACCOUNT}:cluster/arena"
    own_purpose = {"StringEquals": {"kms:EncryptionContext:purpose": "backup"}}
    rows: list[tuple[list[str], str, dict[str, Any]]] = [
        (["ecs:RunTask"], f"{definition.rpartition(':')[0]}:*", {"ArnEquals": {"ecs:cluster": cluster}}),
        (["ecs:DescribeTasks", "ecs:StopTask"], f"{cluster.replace(':cluster/', ':task/')}/*", {}),
        (["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*", {}),
        (["s3:ListBucket"], f"arn:aws:s3:::{BUCKET}", {}),
        (["kms:Decrypt", "kms:Encrypt"], key, own_purpose),
        (["kms:DescribeKey"], key, {}),
    ]
    return [
        {"Effect": "Allow", "Action": actions, "Resource": resource, **({"Condition": limits} if limits else {})}
        for actions, resource, limits in rows
    ]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aurora]:
    if reason := names.obstacle():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("stage")
    release = folder / "releases" / "game" / DIGEST
    release.mkdir(parents=True)
    (release / "gameserver").symlink_to(Path(gameserver.__path__[0]))
    with running_aurora(folder, UnguardedStage, EnableIAMDatabaseAuthentication=True) as running:
        yield running


@pytest.fixture(scope="module")
def region(database: Aurora, tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """Return the contract of a region with a private database, rows, items, a bucket and a backup task.

    mjctl calls AWS as a user with the policy `portable-backup`.
    """
    client = lambda service: database.emulators.client(service, HOME)  # noqa: E731
    cluster = TinyCluster(client, ACCOUNT)
    cluster.create()
    client("s3").create_bucket(Bucket=BUCKET)
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "match_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "match_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(30):
        client("dynamodb").put_item(TableName=TABLE, Item={"match_id": {"S": f"m{number}"}, "n": {"N": str(number)}})
    role = cluster.role("backup-task", ["sts:GetCallerIdentity"])
    document = {"Version": "2012-10-17", "Statement": policy(key)}
    client("iam").put_role_policy(RoleName="backup-task", PolicyName="a", PolicyDocument=json.dumps(document))
    group = allow_task(database, client("ec2").describe_subnets(SubnetIds=cluster.subnets)["Subnets"][0]["VpcId"])
    host = database.cluster()["Endpoint"]
    migrated(database, host, tmp_path_factory.mktemp("secret"))
    definition = cluster.register(
        "arena-it-backup",
        command=["program"],
        image=image(ACCOUNT, DIGEST),
        portMappings=[],
        stopTimeout=60,
        task_role=role,
        variables={
            "GAMESERVER_ENVIRONMENT": "it",
            "GAMESERVER_PROJECT": "arena",
            "GAMESERVER_REGION": HOME,
            "GAMESERVER_TLS_REQUIRED": "true",
        },
    )
    iam = client("iam")
    iam.create_user(UserName="operator")
    document = {"Version": "2012-10-17", "Statement": operators_policy(key, definition)}
    iam.put_user_policy(UserName="operator", PolicyName="a", PolicyDocument=json.dumps(document))
    created = iam.create_access_key(UserName="operator")["AccessKey"]
    operator = {"access_key_id": created["AccessKeyId"], "secret_access_key": created["SecretAccessKey"]}
    key_file = tmp_path_factory.mktemp("operator") / "key.json"
    write_private(key_file, json.dumps(operator))
    return factories.contract(
        HOME,
        environment="it",
        target="sandbox",
        aws={
            "endpoint_url": database.emulators.url("ministack"),
            "secret": f"file:{key_file}",
            "account_id": ACCOUNT,
        },
        backup={
            "bucket": BUCKET,
            "task": {
                "container": "game",
                "database_host": host,
                "database_user": "arena_it_backup",
                "log_group": "/arena/game",
                "security_group": group,
                "subnets": cluster.subnets,
                "task_definition": definition,
            },
        },
        cache={"url": "rediss://cache:6379", "access": "ops_function"},
        database={
            "access": "private",
            "host": host,
            "port": 5432,
            "name": "game",
            "user": "game",
            "secret": "arn:secret",
            "tls": True,
        },
        fleet={"kind": "ecs", "cluster": "arena", "service": "arena"},
        keys={"data": key},
        tables={"matches": {"name": TABLE, "arn": f"arn:aws:dynamodb:{HOME}:{ACCOUNT}:table/{TABLE}"}},
    )


def allow_task(database: Aurora, vpc: str) -> str:
    """Let members of a new security group connect to PostgreSQL. Returns: the id of the new group."""
    ec2 = database.emulators.client("ec2", HOME)
    groups = [
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("backup-task", "database")
    ]
    port = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432}
    # The cluster is in no subnet group, so a rule for a network does not cover the cluster.
    for open_port, group, peer in (
        (ec2.authorize_security_group_egress, groups[0], groups[1]),
        (ec2.authorize_security_group_ingress, groups[1], groups[0]),
    ):
        open_port(GroupId=group, IpPermissions=[{**port, "UserIdGroupPairs": [{"GroupId": peer}]}])
    database.rds().modify_db_cluster(
        DBClusterIdentifier=f"game-{HOME}", VpcSecurityGroupIds=groups[1:], ApplyImmediately=True
    )
    return groups[0]


def migrated(database: Aurora, host: str, folder: Path) -> None:
    """Run the migrations as the function `migrate` does, and insert rows."""
    write_private(folder / "secret.json", json.dumps({"password": PASSWORD}))
    settings = Settings(
        "arena",
        "it",
        HOME,
        # The test is outside the stage, so it uses the address of the name.
        database_host=published(database.hosts)[host],
        database_name="game",
        database_user="game",
        database_secret=f"file:{folder / 'secret.json'}",
    )
    asyncio.run(database.run(host, "DROP TABLE t"))
    aws = AwsClients(HOME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gameserver.persistence.database.database_context", lambda _: "require")
        assert upgrade(settings, aws).applied
    aws.close()
    insert_as_master(
        database,
        "INSERT INTO matches (match_id, region, server_id, state, started_at, ended_at) "
        "SELECT 'm' || i, 'r', 's', 'ended', now(), now() FROM generate_series(1, 500) i",
    )


def insert_as_master(database: Aurora, statement: str) -> None:
    iam = database.emulators.client("iam", HOME)
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    if "master" not in [role["RoleName"] for role in iam.list_roles()["Roles"]]:
        iam.create_role(RoleName="master", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        allowed = {"Effect": "Allow", "Action": "rds-db:connect", "Resource": "*"}
        iam.put_role_policy(RoleName="master", PolicyName="a", PolicyDocument=json.dumps({"Statement": [allowed]}))
    host = database.cluster()["Endpoint"]
    asyncio.run(wait_for(lambda: database.run(host, statement, password=token(database, "game"))))


def token(database: Aurora, user: str) -> str:
    import boto3

    sts = database.emulators.client("sts", HOME)
    keys = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/master", RoleSessionName="test")["Credentials"]
    session = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], HOME)
    host = database.cluster()["Endpoint"]
    result: str = session.client("rds").generate_db_auth_token(DBHostname=host, Port=5432, DBUsername=user)
    return result


async def no_checks(_: Contract) -> list[CheckResult]:
    raise AssertionError("the task runs the checks")


def databases(database: Aurora) -> list[str]:
    async def read() -> list[str]:
        connection = await database.connect(database.cluster()["Endpoint"], password=token(database, "game"))
        try:
            return [row[0] for row in await connection.fetch("SELECT datname FROM pg_database WHERE NOT datistemplate")]
        finally:
            await connection.close()

    return asyncio.run(read())


def tasks(database: Aurora) -> list[str]:
    ecs = database.emulators.client("ecs", HOME)
    arns: list[str] = ecs.list_tasks(cluster="arena", desiredStatus="RUNNING")["taskArns"]
    return arns


def objects(database: Aurora) -> list[str]:
    listed = database.emulators.client("s3", HOME).list_objects_v2(Bucket=BUCKET)
    return [item["Key"] for item in listed.get("Contents", [])]


def test_a_task_makes_a_backup_and_a_drill_proves_it(region: Contract, database: Aurora) -> None:
    planned = asyncio.run(operations.plan_create(region, Selection(STORES)))
    counts = {part.name: part.records for part in planned}
    assert (counts["public.matches"], counts["matches"]) == (500, 30)
    seen: list[int] = []
    manifest = asyncio.run(
        operations.create(region, Selection(STORES), None, on_progress=lambda _, count: seen.append(count))
    )
    assert manifest.counts()["database"] >= 500
    assert manifest.counts()["table"] == 30
    assert sum(seen) == manifest.records
    [entry] = asyncio.run(operations.catalog(region, None))
    assert (entry.backup_id, entry.state, entry.opens) == (manifest.backup_id, BackupState.COMPLETE, True)

    report = asyncio.run(operations.drill(region, None, "latest", no_checks))
    assert report.proven, report
    assert {check.name for check in report.checks} == {"database", "table/matches"}
    assert {item.name: item.restored for item in report.comparisons}["public.matches"] == 500
    assert not [name for name in databases(database) if name.startswith("scratch_")]
    assert [name for name in objects(database) if "/tasks/" in name] == []


def test_a_damaged_backup_fails_the_drill_and_leaves_no_copy(region: Contract, database: Aurora) -> None:
    manifest = asyncio.run(operations.create(region, Selection((Kind.DATABASE,)), None))
    s3 = database.emulators.client("s3", HOME)
    chunk = next(name for name in objects(database) if manifest.backup_id in name and "public.matches" in name)
    content = bytearray(s3.get_object(Bucket=BUCKET, Key=chunk)["Body"].read())
    content[40] ^= 1
    s3.put_object(Bucket=BUCKET, Key=chunk, Body=bytes(content))
    report = asyncio.run(operations.drill(region, None, manifest.backup_id, no_checks))
    assert not report.proven
    assert "public.matches" in str(report.error)
    assert not [name for name in databases(database) if name.startswith("scratch_")]
    with pytest.raises(NotFoundError, match="no backup"):
        asyncio.run(operations.drill(region, None, "20200101T000000000Z-00000000", no_checks))


def test_an_interrupted_command_stops_its_task(region: Contract, database: Aurora) -> None:
    async def interrupt() -> None:
        work = asyncio.ensure_future(operations.create(region, Selection(STORES), None))
        await asyncio.to_thread(eventually, lambda: tasks(database))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    before = objects(database)
    asyncio.run(interrupt())
    eventually(lambda: not tasks(database))
    assert objects(database) == before


def test_the_errors_of_a_task_have_an_advice(
    region: Contract, database: Aurora, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = region.backup.task
    assert task is not None
    other = task.model_copy(update={"database_user": "arena_it_nobody"})
    stranger = region.model_copy(update={"backup": region.backup.model_copy(update={"task": other})})
    with pytest.raises(PermissionDeniedError, match="arena_it_nobody") as refused:
        asyncio.run(operations.create(stranger, Selection(STORES), None))
    assert "mjctl deploy" in str(refused.value.hint)
    # A program that differs from its SHA-256 does not run.
    monkeypatch.setattr(remote, "code_archive", lambda: b"other" + os.urandom(4))
    with pytest.raises(UnreachableError, match="without a result"):
        asyncio.run(run_in_task(region, TaskWork.COPIES, None))
    assert not [name for name in objects(database) if "/tasks/" in name]


def test_the_scratch_database_of_a_killed_drill_is_discarded(region: Contract, database: Aurora) -> None:
    async def leave() -> None:
        host = database.cluster()["Endpoint"]
        connection = await database.connect(host, password=token(database, "arena_it_backup"), user="arena_it_backup")
        try:
            await connection.execute('CREATE DATABASE "scratch_drill_1"')
        finally:
            await connection.close()

    asyncio.run(leave())
    assert asyncio.run(operations.copies(region)) == ["drill-1"]
    assert asyncio.run(operations.discard(region, "drill-1")) == ["database scratch_drill_1"]
    assert "scratch_drill_1" not in databases(database)


def test_impossible_requests_are_refused_before_a_task_starts(region: Contract, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="own bucket"):
        asyncio.run(operations.create(region, Selection(STORES), str(tmp_path)))
    with pytest.raises(RefusedError, match="cache is private"):
        asyncio.run(operations.create(region, Selection(tuple(Kind)), None))
    without = region.model_copy(update={"backup": region.backup.model_copy(update={"task": None})})
    with pytest.raises(RefusedError, match="no backup task"):
        asyncio.run(operations.create(without, Selection(STORES), None))
    restore = operations.Restore(region, region, None, "latest", None)
    with pytest.raises(RefusedError, match="only in a drill"):
        asyncio.run(restore.plan())
