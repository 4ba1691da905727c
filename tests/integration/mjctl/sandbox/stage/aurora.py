"""Runs an emulated Aurora database with two instances on a stage, for the tests of the stage's databases."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from mjctl.models.errors import MjctlError
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.names import published

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


class Aurora:
    """Connects to the DNS names of Aurora clusters, as the Lambda functions of the game do."""

    def __init__(self, emulators: Emulators, folder: Path) -> None:
        self.emulators = emulators
        self.hosts = folder / "stage" / "hosts"
        self.log = folder / "ministack.log"
        self.authority = folder / "stage" / "authority" / "authority.pem"
        self.password = PASSWORD

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
        connection = await asyncpg.connect(
            host=published(self.hosts)[name],
            port=5432,
            user=user,
            database="game",
            password=self.password if password is None else password,
            ssl=context if tls else False,
            timeout=5,
            command_timeout=5,
        )
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

    async def run(self, name: str, statement: str, password: str | None = None) -> bool:
        connection = await self.connect(name, password=password)
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

    def add_region(self, *instances: str, **settings: Any) -> None:
        """Make the database a global database with a second cluster, which forwards writes."""
        self.rds().create_global_cluster(
            GlobalClusterIdentifier="world", SourceDBClusterIdentifier=self.cluster()["DBClusterArn"]
        )
        self.rds(ABROAD).create_db_cluster(
            DBClusterIdentifier=f"game-{ABROAD}",
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            GlobalClusterIdentifier="world",
            EnableGlobalWriteForwarding=True,
            **settings,
        )
        for instance in instances:
            self.create_instance(instance, f"game-{ABROAD}", ABROAD)


@contextmanager
def running_aurora(folder: Path, stage: type[Emulators] = Emulators, **settings: Any) -> Iterator[Aurora]:
    """Run a stage with a cluster of two instances and the table `t`. `settings` are further settings of the cluster."""
    with stage(folder, names=["ministack"], stage=True) as emulators:
        aurora = Aurora(emulators, folder)
        rds = aurora.rds()
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
            **settings,
        )
        aurora.create_instance("one", f"game-{HOME}", HOME)
        aurora.create_instance("two", f"game-{HOME}", HOME, "b")
        asyncio.run(aurora.wait_until_available())
        asyncio.run(wait_for(lambda: aurora.run(aurora.cluster()["Endpoint"], "CREATE TABLE t (n int)")))
        yield aurora
