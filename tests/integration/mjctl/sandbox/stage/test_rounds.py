"""Tests that the caches and databases of a stage run again with their data after the stage ends, also after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from mjctl.local.credentials import ensure_aws_key
from mjctl.sandbox.stage import leftovers
from mjctl.sandbox.stage.names import published

pytestmark = pytest.mark.timeout(180)

REGION = "us-east-1"
PASSWORD = "a-password-of-length-16"
AWAY = (OSError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError, BotoCoreError, ClientError, KeyError)


async def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Call `condition` until its result is true, and return the result. The result may be an awaitable."""
    deadline = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            result = condition()
            if hasattr(result, "__await__"):
                result = await result
            if result:
                return result
        except AWAY as error:
            problem = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"not in time: {problem!r}")


class Sandbox:
    """Runs ministack with a stage whose state survives the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = folder / "stage"
        self.key = ensure_aws_key(folder / "key.json")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        options = {"key": "key.json", "state": "state", "stage": "stage", "releases": "releases"}
        parts = [part for name, path in options.items() for part in (f"--{name}", str(self.folder / path))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - the test waits for no output
                [sys.executable, "-m", "mjctl.sandbox.serve", "ministack", str(self.port), *parts],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await wait_for(lambda: self.client("sts").get_caller_identity())

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=self.key.access_key_id,
            aws_secret_access_key=self.key.secret_access_key,
            config=Config(retries={"max_attempts": 1}),
        )

    def end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def kill_everything(self) -> None:
        self.end(signal.SIGKILL)
        for process in leftovers.processes(self.stage):
            process.kill()

    def is_available(self) -> bool:
        group = self.client("elasticache").describe_replication_groups()["ReplicationGroups"][0]
        instances = self.client("rds").describe_db_instances()["DBInstances"]
        return {group["Status"], *(instance["DBInstanceStatus"] for instance in instances)} == {"available"}

    def redis(self) -> Redis:
        shard = self.client("elasticache").describe_replication_groups()["ReplicationGroups"][0]["NodeGroups"][0]
        return Redis(
            host=published(self.stage / "hosts")[shard["PrimaryEndpoint"]["Address"]],
            username="game",
            password=PASSWORD,
            ssl=True,
            ssl_ca_certs=str(self.stage / "authority" / "authority.pem"),
            ssl_check_hostname=False,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )

    async def rows(self, statement: str = "SELECT 1") -> list[int]:
        """Run a statement at the writer's endpoint, and return the numbers in the table."""
        context = ssl.create_default_context(cafile=str(self.stage / "authority" / "authority.pem"))
        context.check_hostname = False
        cluster = self.client("rds").describe_db_clusters()["DBClusters"][0]
        connection = await asyncpg.connect(
            host=published(self.stage / "hosts")[cluster["Endpoint"]],
            user="game",
            database="game",
            password=PASSWORD,
            ssl=context,
            timeout=5,
        )
        try:
            await connection.execute("CREATE TABLE IF NOT EXISTS t (n int)")
            await connection.execute(statement)
            return [row["n"] for row in await connection.fetch("SELECT n FROM t ORDER BY n")]
        finally:
            await connection.close()


def create(sandbox: Sandbox) -> None:
    cache, rds, ec2 = (sandbox.client(service) for service in ("elasticache", "rds", "ec2"))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
    cache.create_cache_subnet_group(CacheSubnetGroupName="data", CacheSubnetGroupDescription="test", SubnetIds=[subnet])
    for name, access, password in (("default", "off -@all", None), ("game", "on ~* &* +@all", PASSWORD)):
        secret = {"Passwords": [password]} if password else {"NoPasswordRequired": True}
        cache.create_user(UserId=name, UserName=name, AccessString=access, Engine="redis", **secret)
    cache.create_user_group(UserGroupId="users", Engine="redis", UserIds=["default", "game"])
    cache.create_replication_group(
        ReplicationGroupId="state",
        ReplicationGroupDescription="test",
        AutomaticFailoverEnabled=True,
        CacheSubnetGroupName="data",
        Engine="redis",
        NumCacheClusters=2,
        TransitEncryptionEnabled=True,
        UserGroupIds=["users"],
    )
    rds.create_db_cluster(
        DBClusterIdentifier="game",
        DatabaseName="game",
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        MasterUsername="game",
        MasterUserPassword=PASSWORD,
    )
    for name in ("one", "two"):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier="game",
            DBInstanceClass="db.serverless",
            Engine="aurora-postgresql",
        )


async def test_servers_run_again_with_their_data_after_a_stop_and_after_a_crash(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    await sandbox.start()
    try:
        create(sandbox)
        assert await wait_for(lambda: sandbox.redis().set("a", "1"))
        assert await wait_for(lambda: sandbox.rows("INSERT INTO t VALUES (1)")) == [1]
        await wait_for(sandbox.is_available)
        # ministack saves its state once a second.
        await asyncio.sleep(2.5)
        addresses = published(sandbox.stage / "hosts")

        sandbox.end(signal.SIGTERM)
        assert leftovers.processes(sandbox.stage) == []
        await sandbox.start()
        assert await wait_for(lambda: sandbox.redis().get("a")) == "1"
        assert await wait_for(lambda: sandbox.rows("INSERT INTO t VALUES (2)")) == [1, 2]
        await wait_for(lambda: published(sandbox.stage / "hosts") == addresses)

        # The append-only file of Valkey is flushed to the disk once a second, but the kernel has received every write.
        sandbox.redis().set("a", "2")
        sandbox.kill_everything()
        await sandbox.start()
        assert await wait_for(lambda: sandbox.redis().get("a")) == "2"
        assert await wait_for(lambda: sandbox.rows("INSERT INTO t VALUES (3)")) == [1, 2, 3]

        # The servers of a killed ministack still run. These servers must end before new servers use the same data.
        former = {process.pid for process in leftovers.processes(sandbox.stage)}
        sandbox.end(signal.SIGKILL)
        await sandbox.start()
        assert await wait_for(lambda: sandbox.redis().set("a", "3"))
        assert await wait_for(lambda: sandbox.rows("INSERT INTO t VALUES (4)")) == [1, 2, 3, 4]
        await wait_for(lambda: not any(psutil.pid_exists(pid) for pid in former))
    finally:
        sandbox.end(signal.SIGTERM)
        for process in leftovers.processes(sandbox.stage):
            os.kill(process.pid, signal.SIGKILL)
