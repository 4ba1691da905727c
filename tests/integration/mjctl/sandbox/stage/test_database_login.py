"""Tests that users of PostgreSQL log in to the stage's Aurora by IAM, with the tokens and the rules of AWS."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import boto3
import pytest

from gameserver.persistence.database import Database as GameDatabase
from gameserver.persistence.database import DatabaseUnavailable, connection_options, needs_iam
from gameserver.persistence.migrate import upgrade
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from mjctl.files import write_private
from mjctl.sandbox.stage.names import published
from tests.integration.mjctl.sandbox.stage.aurora import (
    ABROAD,
    ACCOUNT,
    HOME,
    PASSWORD,
    Aurora,
    running_aurora,
    wait_for,
)
from tests.signing import sign_at

pytestmark = [
    pytest.mark.timeout(180),
    # asyncpg leaves the socket of a refused log-in to the garbage collection.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Iam:
    """Makes tokens with which a role of IAM logs in to PostgreSQL, by AWS's own client."""

    def __init__(self, database: Aurora) -> None:
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


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aurora]:
    with running_aurora(tmp_path_factory.mktemp("database"), EnableIAMDatabaseAuthentication=True) as running:
        yield running


@pytest.fixture(scope="module")
def iam(database: Aurora) -> Iam:
    """Return roles of IAM: `master` may log in as the master user, `allowed` as `app`, and `denied` as `other`."""
    iam, cluster = Iam(database), database.cluster()["DbClusterResourceId"]
    iam.create_role("master", f"dbuser:{cluster}/game")
    iam.create_role("allowed", f"dbuser:{cluster}/app")
    iam.create_role("denied", f"dbuser:{cluster}/other")
    return iam


@pytest.fixture(scope="module")
def game(database: Aurora, iam: Iam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, AwsClients]]:
    """Return the settings and the clients of a function `migrate` whose first run has created the user of the game."""
    secret = tmp_path_factory.mktemp("secret") / "secret.json"
    write_private(secret, json.dumps({"password": PASSWORD}))
    settings = Settings(
        "arena",
        "it",
        HOME,
        database_host=database.cluster()["Endpoint"],
        database_name="game",
        database_user="game",
        database_secret=f"file:{secret}",
        tls_ca_file=str(database.authority),
        tls_required=True,
    )
    aws, look_up, addresses = AwsClients(HOME), socket.getaddrinfo, published(database.hosts)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in iam.keys("master").items():
            patch.setenv(name, value)
        # The test is outside the stage, so it resolves the stage's names itself.
        patch.setattr(socket, "getaddrinfo", lambda host, *more, **by: look_up(addresses.get(host, host), *more, **by))
        assert len(upgrade(settings, aws).applied) > 1
        yield settings, aws
    aws.close()


@pytest.fixture(scope="module")
def application(database: Aurora, iam: Iam, game: tuple[Settings, AwsClients]) -> Iam:
    """Create a user of PostgreSQL that logs in by IAM, and a user that logs in by a password."""
    asyncio.run(wait_for(lambda: _password_is_refused(database)))
    statements = "CREATE ROLE app LOGIN; GRANT rds_iam TO app; CREATE ROLE other LOGIN PASSWORD 'p'"
    asyncio.run(database.run(database.cluster()["Endpoint"], statements, password=iam.token("master", user="game")))
    return iam


async def _password_is_refused(database: Aurora) -> bool:
    """Return whether the database refuses the correct password of the master user."""
    try:
        await (await database.connect(database.cluster()["Endpoint"])).close()
    except asyncpg.InvalidPasswordError:
        raise
    except asyncpg.InvalidAuthorizationSpecificationError:
        return True
    return False


REFUSED = pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="PAM authentication failed for user")


async def test_a_role_with_permission_logs_in_with_a_token_at_each_endpoint(database: Aurora, application: Iam) -> None:
    for name in (database.cluster()["Endpoint"], database.cluster()["ReaderEndpoint"], database.endpoint("two")):
        token = application.token("allowed", host=name)
        assert await application.user(token, name=name) == "app"
        assert await application.user(token, name=name) == "app"


async def test_the_code_of_the_game_logs_in_with_its_own_token(
    application: Iam, database: Aurora, monkeypatch: pytest.MonkeyPatch
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
async def test_a_wrong_token_is_refused(database: Aurora, application: Iam, wrong: dict[str, str]) -> None:
    token = application.token(**wrong)
    with REFUSED:
        await application.user(token)
    log = database.log.read_text(encoding="utf-8")
    assert "game-us-east-1 refuses a connection: " in log
    assert token.rpartition("X-Amz-Signature=")[2] not in log


async def test_an_expired_or_changed_token_and_a_password_are_refused(
    database: Aurora, application: Iam, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = application.token("allowed")
    for wrong in (token[:-4] + "0000", "a-password", ""):
        with REFUSED:
            await application.user(wrong)
    endpoint = database.cluster()["Endpoint"]
    for minutes, accepted in ((16, False), (14, True)):
        late = timedelta(minutes=minutes)
        # Only the token is signed late, because the emulated AWS refuses late requests too.
        with monkeypatch.context() as patch:
            sign_at(patch, lambda late=late: datetime.now(UTC) - late)
            token = application.token("allowed", host=endpoint)
        with nullcontext() if accepted else REFUSED:
            assert await application.user(token) == "app"


async def test_a_token_does_not_replace_the_password_of_another_role(application: Iam) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await application.user(application.token("allowed", user="other"), user="other")
    assert await application.user("p", user="other") == "other"


async def test_a_query_of_a_role_can_be_cancelled(database: Aurora, application: Iam) -> None:
    name = database.cluster()["Endpoint"]
    connection = await database.connect(name, password=application.token("allowed"), user="app")
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(30)", timeout=0.3)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_the_master_user_needs_a_token_as_soon_as_another_user_logs_in_by_iam(
    database: Aurora, application: Iam, game: tuple[Settings, AwsClients]
) -> None:
    assert await application.user(application.token("master", user="game"), user="game") == "game"
    settings, aws = game
    connecting = GameDatabase(settings, aws)
    with pytest.raises(DatabaseUnavailable) as caught:
        await connecting.ping()
    assert needs_iam(caught.value)


async def test_a_wrong_password_does_not_need_iam(application: Iam, game: tuple[Settings, AwsClients]) -> None:
    settings, aws = game
    connecting = GameDatabase(dataclasses.replace(settings, database_user="other"), aws)
    with pytest.raises(DatabaseUnavailable) as caught:
        await connecting.ping()
    assert not needs_iam(caught.value)


async def test_migrations_run_again_after_the_password_of_the_master_user_is_refused(
    application: Iam, game: tuple[Settings, AwsClients]
) -> None:
    assert (await asyncio.to_thread(upgrade, *game)).applied == []


async def test_a_token_is_for_the_cluster_to_which_the_client_connects(database: Aurora, application: Iam) -> None:
    database.add_region("three", EnableIAMDatabaseAuthentication=True)
    await database.wait_until_available(ABROAD)
    second, reader = database.cluster(ABROAD), database.endpoint("three", ABROAD)
    application.create_role("abroad", f"dbuser:{second['DbClusterResourceId']}/app", ABROAD)
    token = application.token("abroad", host=reader, region=ABROAD)

    async def copied() -> bool:
        return bool(await application.user(token, name=reader) == "app")

    await wait_for(copied)
    # The second cluster has no parameter group, so its readers accept passwords without TLS, but no token.
    with REFUSED:
        await application.user(token, name=reader, tls=False)
    # The token is for the secondary cluster, although the stage connects the client to the writer.
    for role, region, accepted in (("abroad", ABROAD, True), ("abroad", HOME, False), ("allowed", ABROAD, False)):
        token = application.token(role, host=second["ReaderEndpoint"], region=region)
        with nullcontext() if accepted else REFUSED:
            assert await application.user(token, name=second["ReaderEndpoint"]) == "app"
