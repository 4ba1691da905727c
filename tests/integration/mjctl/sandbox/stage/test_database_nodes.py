"""Tests that Aurora's instances are real PostgreSQL servers, with TLS, readers, failovers and a second region."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import signal
import socket
import ssl
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import botocore.auth
import botocore.compat
import psutil
import pytest
from botocore.exceptions import ClientError

from gameserver.persistence.database import Database as GameDatabase
from gameserver.persistence.database import DatabaseUnavailable, connection_options, needs_iam
from gameserver.persistence.migrate import _await_database
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from mjctl.files import write_private
from mjctl.models.errors import MjctlError
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.names import published

pytestmark = [
    pytest.mark.timeout(180),
    # asyncpg leaves the socket of a refused log-in to the garbage collection.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HOME, ABROAD = "us-east-1", "eu-west-1"
ACCOUNT = "123456789012"
PASSWORD = "the-first-password"
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, MjctlError, KeyError)


async def wait_for(condition: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    """Call `condition` until its result is true, and return the result."""
    deadline = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if result := await condition():
                return result
        except AWAY as error:
            problem = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"not in time: {problem!r}")


class Database:
    """Connects to the DNS names of Aurora clusters, as the Lambda functions of the game do."""

    def __init__(self, emulators: Emulators, folder: Path) -> None:
        self.emulators = emulators
        self.hosts = folder / "stage" / "hosts"
        self.log = folder / "ministack.log"
        self.authority = folder / "stage" / "authority" / "authority.pem"
        self.password = PASSWORD
        self.iam: Iam | None = None

    def rds(self, region: str = HOME) -> Any:
        return self.emulators.client("rds", region)

    def cluster(self, region: str = HOME) -> dict[str, Any]:
        cluster: dict[str, Any] = self.rds(region).describe_db_clusters(DBClusterIdentifier=f"game-{region}")[
            "DBClusters"
        ][0]
        return cluster

    def writer(self, region: str = HOME) -> str:
        members = self.cluster(region)["DBClusterMembers"]
        name: str = next(member["DBInstanceIdentifier"] for member in members if member["IsClusterWriter"])
        return name

    def endpoint(self, instance: str, region: str = HOME) -> str:
        instance_record = self.rds(region).describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]
        name: str = instance_record["Endpoint"]["Address"]
        return name

    async def connect(self, name: str, *, tls: bool = True, password: str | None = None, user: str = "game") -> Any:
        """Connect to an endpoint. The test is outside the stage, so this method translates and checks the name."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False

        async def log_in(secret: str) -> Any:
            return await asyncpg.connect(
                host=published(self.hosts)[name],
                port=5432,
                user=user,
                database="game",
                password=secret,
                ssl=context if tls else False,
                timeout=5,
                command_timeout=5,
            )

        try:
            connection = await log_in(self.password if password is None else password)
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            if password is not None or self.iam is None or isinstance(error, asyncpg.InvalidPasswordError):
                raise
            # Since another user logs in by IAM, the master user needs a token too.
            token = self.iam.token("master", user=user, host=name, region=name.split(".")[-4])
            connection = await log_in(token)
        if tls:
            certificate = connection._transport.get_extra_info("peercert")
            if ("DNS", name) not in certificate["subjectAltName"]:
                await connection.close()
                raise ssl.SSLCertVerificationError(f"the certificate is not for {name}")
        return connection

    async def value(self, name: str, query: str) -> Any:
        connection = await self.connect(name)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def run(self, name: str, statement: str) -> bool:
        connection = await self.connect(name)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
        return True

    async def postmaster(self, name: str) -> int:
        """Return the process id of the server behind a name: the parent of a connection's process."""
        connection = await self.connect(name)
        try:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            return psutil.Process(backend).ppid()
        finally:
            await connection.close()

    def create_instance(self, identifier: str, cluster: str, region: str, zone: str = "a") -> None:
        created = self.rds(region).create_db_instance(
            DBInstanceIdentifier=identifier,
            DBClusterIdentifier=cluster,
            DBInstanceClass="db.serverless",
            Engine="aurora-postgresql",
            AvailabilityZone=f"{region}{zone}",
        )["DBInstance"]
        assert created["DBInstanceStatus"] == "creating"

    async def wait_until_available(self, region: str = HOME) -> None:
        async def available() -> bool:
            instances = self.rds(region).describe_db_instances()["DBInstances"]
            # The stage publishes names twice a second.
            names = published(self.hosts)
            return all(
                instance["DBInstanceStatus"] == "available" and instance["Endpoint"]["Address"] in names
                for instance in instances
            )

        await wait_for(available)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("database")
    with Emulators(folder, names=["ministack"], stage=True) as emulators:
        database = Database(emulators, folder)
        rds = database.rds()
        rds.create_db_cluster_parameter_group(
            DBClusterParameterGroupName="pg", DBParameterGroupFamily="aurora-postgresql16", Description="test"
        )
        values = {"rds.force_ssl": "1", "log_statement": "ddl", "log_min_duration_statement": "1000", "apg_x": "1"}
        rds.modify_db_cluster_parameter_group(
            DBClusterParameterGroupName="pg",
            Parameters=[
                {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "immediate"}
                for name, value in values.items()
            ],
        )
        rds.create_db_cluster(
            DBClusterIdentifier=f"game-{HOME}",
            DBClusterParameterGroupName="pg",
            DatabaseName="game",
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            MasterUsername="game",
            MasterUserPassword=PASSWORD,
            EnableIAMDatabaseAuthentication=True,
        )
        database.create_instance("one", f"game-{HOME}", HOME)
        database.create_instance("two", f"game-{HOME}", HOME, "b")
        asyncio.run(database.wait_until_available())
        asyncio.run(wait_for(lambda: database.run(database.cluster()["Endpoint"], "CREATE TABLE t (n int)")))
        yield database


async def test_the_endpoints_have_the_names_of_aws_and_the_certificate_covers_them(database: Database) -> None:
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


async def test_connections_without_tls_are_refused(database: Database) -> None:
    with pytest.raises((asyncpg.InvalidAuthorizationSpecificationError, asyncpg.PostgresError), match="no encryption"):
        await database.connect(database.cluster()["Endpoint"], tls=False)


async def test_a_wrong_password_and_the_administrator_are_refused(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await database.connect(database.cluster()["Endpoint"], password="wrong-password")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects connection"):
        await database.connect(database.cluster()["Endpoint"], user="rdsadmin")
    assert (
        await database.value(database.cluster()["Endpoint"], "SELECT rolsuper FROM pg_roles WHERE rolname = 'game'")
        is False
    )


@pytest.fixture(scope="module")
def application(database: Database) -> Iam:
    """Create a role of PostgreSQL that logs in by IAM, and two roles of IAM, of which one may connect."""
    endpoint = database.cluster()["Endpoint"]
    asyncio.run(
        database.run(
            endpoint,
            "CREATE ROLE app LOGIN; GRANT rds_iam TO app; GRANT INSERT ON t TO app;"
            "CREATE ROLE other LOGIN PASSWORD 'p'",
        )
    )
    iam = Iam(database)
    iam.create_role("allowed", f"dbuser:{database.cluster()['DbClusterResourceId']}/app")
    iam.create_role("denied", f"dbuser:{database.cluster()['DbClusterResourceId']}/other")
    iam.create_role("master", "dbuser:*/game", region="*")
    database.iam = iam
    return iam


class Iam:
    """Makes tokens with which a role of IAM logs in to PostgreSQL, by AWS's own client."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, dict[str, str]] = {}

    def create_role(self, name: str, resource: str, region: str = HOME) -> None:
        iam = self._database.emulators.client("iam", HOME)
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        allowed = {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:aws:rds-db:{region}:{ACCOUNT}:{resource}",
        }
        iam.put_role_policy(RoleName=name, PolicyName="a", PolicyDocument=json.dumps({"Statement": [allowed]}))

    def keys(self, role: str) -> dict[str, str]:
        """Return the credentials of a role of IAM, by the names of the environment variables."""
        if role not in self._keys:
            sts = self._database.emulators.client("sts", HOME)
            arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
            keys = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
            names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            values = (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
            self._keys[role] = dict(zip(names, values, strict=True))
        return self._keys[role]

    def token(self, role: str, *, user: str = "app", host: str | None = None, region: str = HOME) -> str:
        keys = self.keys(role)
        session = boto3.session.Session(*keys.values(), region)
        host = host or self._database.cluster()["Endpoint"]
        token: str = session.client("rds").generate_db_auth_token(DBHostname=host, Port=5432, DBUsername=user)
        return token

    async def user(self, token: str, *, user: str = "app", name: str | None = None, tls: bool = True) -> Any:
        """Log in with a token, and return the name of the role in PostgreSQL."""
        name = name or self._database.cluster()["Endpoint"]
        connection = await self._database.connect(name, password=token, user=user, tls=tls)
        try:
            return await connection.fetchval("SELECT current_user")
        finally:
            await connection.close()


REFUSED = pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="PAM authentication failed for user")


async def test_a_role_with_permission_logs_in_with_a_token_at_each_endpoint(
    database: Database, application: Iam
) -> None:
    for name in (database.cluster()["Endpoint"], database.cluster()["ReaderEndpoint"], database.endpoint("two")):
        token = application.token("allowed", host=name)
        assert await application.user(token, name=name) == "app"
        assert await application.user(token, name=name) == "app"


async def test_the_code_of_the_game_logs_in_with_its_own_token(
    application: Iam, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in application.keys("allowed").items():
        monkeypatch.setenv(name, value)
    endpoint = database.cluster()["Endpoint"]
    settings = Settings("arena", "it", HOME, database_host=endpoint, database_user="app", database_secret="iam")
    aws = AwsClients(HOME)
    try:
        assert await application.user(await connection_options(settings, aws)["password"]()) == "app"
    finally:
        aws.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "denied"},
        {"role": "allowed", "user": "game"},
        {"role": "allowed", "host": "other.cluster-x.us-east-1.rds.amazonaws.com"},
        {"role": "allowed", "region": ABROAD},
    ],
    ids=["role", "user", "host", "region"],
)
async def test_a_wrong_token_is_refused(database: Database, application: Iam, wrong: dict[str, str]) -> None:
    token = application.token(**wrong)
    with REFUSED:
        await application.user(token)
    log = database.log.read_text(encoding="utf-8")
    assert "game-us-east-1 refuses a connection: " in log
    assert token.rpartition("X-Amz-Signature=")[2] not in log


async def test_an_expired_or_changed_token_and_a_password_are_refused(
    database: Database, application: Iam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = application.token("allowed")
    for wrong in (token[:-4] + "0000", "a-password", ""):
        with REFUSED:
            await application.user(wrong)
    now, endpoint = botocore.compat.get_current_datetime, database.cluster()["Endpoint"]
    for minutes, accepted in ((16, False), (14, True)):
        late = timedelta(minutes=minutes)
        # Only the token is signed late, because the emulated AWS refuses late requests too.
        with monkeypatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda *args, late=late: now(*args) - late)
            token = application.token("allowed", host=endpoint)
        with nullcontext() if accepted else REFUSED:
            assert await application.user(token) == "app"


async def test_a_token_does_not_replace_the_password_of_another_role(application: Iam) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await application.user(application.token("allowed", user="other"), user="other")
    assert await application.user("p", user="other") == "other"


async def test_the_master_user_needs_a_token_as_soon_as_another_role_logs_in_by_iam(
    database: Database, application: Iam
) -> None:
    endpoint = database.cluster()["Endpoint"]

    async def password_is_refused() -> bool:
        try:
            await (await database.connect(endpoint, password=PASSWORD)).close()
        except asyncpg.InvalidPasswordError:
            raise
        except asyncpg.InvalidAuthorizationSpecificationError:
            return True
        return False

    await wait_for(password_is_refused)
    assert await application.user(application.token("master", user="game"), user="game") == "game"


async def test_migrations_run_again_after_the_password_of_the_master_user_is_refused(
    database: Database, application: Iam, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in application.keys("master").items():
        monkeypatch.setenv(name, value)
    endpoint = database.cluster()["Endpoint"]
    look_up = socket.getaddrinfo
    addresses = published(database.hosts)
    # The test is outside the stage, so it resolves the stage's names itself.
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **by: look_up(addresses.get(host, host), *more, **by)
    )
    secret = tmp_path / "secret.json"
    write_private(secret, json.dumps({"password": PASSWORD}))
    settings = Settings(
        "arena",
        "it",
        HOME,
        database_host=endpoint,
        database_name="game",
        database_user="game",
        database_secret=f"file:{secret}",
        tls_ca_file=str(database.authority),
        tls_required=True,
    )
    aws = AwsClients(HOME)
    try:
        error = await _refusal(settings, aws)
        assert needs_iam(error)
        assert not needs_iam(await _refusal(dataclasses.replace(settings, database_user="other"), aws))
        assert (await _await_database(settings, aws, 10.0)).database_secret == "iam"
    finally:
        aws.close()


async def _refusal(settings: Settings, aws: AwsClients) -> DatabaseUnavailable:
    database = GameDatabase(settings, aws)
    try:
        with pytest.raises(DatabaseUnavailable) as caught:
            await database.ping()
    finally:
        await database.close()
    return caught.value


async def test_a_query_of_a_role_can_be_cancelled(database: Database, application: Iam) -> None:
    name = database.cluster()["Endpoint"]
    connection = await database.connect(name, password=application.token("allowed"), user="app")
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(30)", timeout=0.3)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_the_parameters_of_the_cluster_parameter_group_apply(database: Database) -> None:
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


async def test_a_reader_follows_the_writer_and_refuses_writes(database: Database) -> None:
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


async def test_security_groups_decide_which_functions_reach_the_database(database: Database) -> None:
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


async def test_a_changed_master_password_applies(database: Database) -> None:
    # The master user logs in with a password only if no other user logs in by IAM.
    database.iam, iam = None, database.iam
    if iam is not None:
        token = iam.token("master", user="game")
        connection = await database.connect(database.cluster()["Endpoint"], password=token)
        await connection.execute("REVOKE rds_iam FROM app")
        await connection.close()
    database.rds().modify_db_cluster(
        DBClusterIdentifier=f"game-{HOME}", MasterUserPassword="the-second-password", ApplyImmediately=True
    )
    database.password = "the-second-password"

    async def logged_in() -> bool:
        return bool(await database.value(database.cluster()["Endpoint"], "SELECT true"))

    await wait_for(logged_in)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await database.connect(database.cluster()["Endpoint"], password=PASSWORD)
    if iam is not None:
        await database.run(database.cluster()["Endpoint"], "GRANT rds_iam TO app")
        database.iam = iam


async def test_a_failover_makes_the_reader_the_writer_and_moves_the_names(database: Database) -> None:
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


async def test_a_killed_writer_is_replaced_without_a_loss_of_committed_rows(database: Database) -> None:
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


async def test_a_reboot_restarts_the_server_without_a_failover(database: Database) -> None:
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


async def test_a_second_region_follows_and_takes_over(database: Database, application: Iam) -> None:
    """Creates a global database, switches over to the second region, and fails over back to the first region."""
    home, abroad = database.rds(), database.rds(ABROAD)
    home.create_global_cluster(
        GlobalClusterIdentifier="world", SourceDBClusterIdentifier=database.cluster()["DBClusterArn"]
    )
    abroad.create_db_cluster(
        DBClusterIdentifier=f"game-{ABROAD}",
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        GlobalClusterIdentifier="world",
        EnableGlobalWriteForwarding=True,
        EnableIAMDatabaseAuthentication=True,
    )
    database.create_instance("three", f"game-{ABROAD}", ABROAD)
    database.create_instance("four", f"game-{ABROAD}", ABROAD)
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
    # The token is for the secondary cluster, although the stage connects the client to the writer.
    application.create_role("abroad", f"dbuser:{second['DbClusterResourceId']}/app", ABROAD)
    for role, region, accepted in (("abroad", ABROAD, True), ("abroad", HOME, False), ("allowed", ABROAD, False)):
        token = application.token(role, host=second["ReaderEndpoint"], region=region)
        with nullcontext() if accepted else REFUSED:
            assert await application.user(token, name=second["ReaderEndpoint"]) == "app"
    # The second cluster has no parameter group, so its readers accept passwords without TLS, but no token.
    token = application.token("abroad", host=names[0], region=ABROAD)
    assert await application.user(token, name=names[0]) == "app"
    with REFUSED:
        await application.user(token, name=names[0], tls=False)

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


async def test_a_deleted_reader_loses_its_server(database: Database) -> None:
    writer = database.writer()
    reader = next(name for name in ("one", "two") if name != writer)
    name = database.endpoint(reader)
    database.rds().delete_db_instance(DBInstanceIdentifier=reader, SkipFinalSnapshot=True)

    async def is_gone() -> bool:
        return name not in published(database.hosts)

    await wait_for(is_gone)
    with pytest.raises(ClientError, match="no available reader"):
        database.rds().failover_db_cluster(DBClusterIdentifier=f"game-{HOME}")
