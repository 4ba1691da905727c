"""Tests that the API accepts what CloudFront sends at each moment of a replacement, also if the replacement ends early.

The key value store and the secret are those of the emulated AWS. The processes of the API are those of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gameserver.functions.distribution_passes import DistributionPasses
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.distribution_pass import PAUSE_SECONDS, STORE_KEY, decode, digest, secret_name
from mjctl.clients.account import account_at
from mjctl.deploy.distribution_pass import DistributionPass, replace_at
from mjctl.models.config_file import load_environment
from mjctl.models.errors import UnreachableError
from mjctl.models.workspace import Workspace
from mjctl.sandbox.emulators import Emulators

HOME, OTHER = "us-east-1", "eu-west-1"


class KilledError(Exception):
    """Ends a replacement, as the end of the process of mjctl would."""


class Watched:
    """Calls a client of AWS, and calls `moment` before and after each operation that writes."""

    def __init__(self, client: Any, moment: Callable[[], None]) -> None:
        self._client = client
        self._moment = moment

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._client, operation)

        def call(**parameters: Any) -> Any:
            writes = operation.startswith(("put", "update"))
            if writes:
                self._moment()
            answer = method(**parameters)
            if writes:
                self._moment()
            return answer

        return call


class World:
    """Holds one environment of two regions, whose processes of the API have read the secret at different times."""

    def __init__(self, emulators: Emulators, name: str) -> None:
        self.secret = f"{name}-distribution-passes"
        self.now = 0.0
        self.values = emulators.client("cloudfront-keyvaluestore", HOME)
        self.secrets = emulators.client("secretsmanager", HOME)
        self.secrets.create_secret(Name=self.secret, AddReplicaRegions=[{"Region": OTHER}])
        created = emulators.client("cloudfront", HOME).create_key_value_store(Name=name)
        self.store: str = created["KeyValueStore"]["ARN"]
        self._emulators = emulators
        self.processes = [self.process(region) for region in (HOME, OTHER)]
        self.moments = 0
        self.killed_at = -1

    def process(self, region: str) -> DistributionPasses:
        aws = AwsClients(region, self._emulators.url("ministack"))
        return DistributionPasses(self.secret, aws, lambda: self.now)

    def sent(self) -> str:
        items = self.values.list_keys(KvsARN=self.store)["Items"]
        return next((str(item["Value"]) for item in items if item["Key"] == STORE_KEY), "")

    def replace(self, killed_at: int = -1) -> None:
        self.moments, self.killed_at = 0, killed_at
        clients = Watched(self.values, self._moment), Watched(self.secrets, self._moment)
        DistributionPass(self.store, self.secret, *clients, sleep=self._sleep).replace()

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self._moment()

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.killed_at:
            raise KilledError


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("emulators"), names=["ministack"]) as running:
        yield running


@pytest.fixture
def world(emulators: Emulators, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in emulators.key.variables.items():
        monkeypatch.setenv(name, value)
    return World(emulators, f"w{abs(hash(request.node.name))}")


async def nobody_is_refused(world: World) -> None:
    """Check that every process accepts the pass that CloudFront sends, also a process that has just started."""
    world.now += PAUSE_SECONDS + 0.1
    for process in [*world.processes, world.process(HOME), world.process(OTHER)]:
        assert await process.refusal(world.sent()) == ""


@pytest.mark.parametrize("killed_at", range(1, 9))
async def test_a_replacement_that_is_killed_refuses_no_player(world: World, killed_at: int) -> None:
    for known in (False, True):
        # In the first round, the environment has no pass. In the second round, the environment has a pass.
        await nobody_is_refused(world)
        try:
            world.replace(killed_at)
        except KilledError:
            await nobody_is_refused(world)
            world.replace()
        await nobody_is_refused(world)
        assert await world.process(OTHER).refusal("forged") == "unknown_distribution_pass"
        assert known or world.moments >= 4


async def test_a_process_that_has_just_read_the_secret_accepts_the_next_pass(world: World) -> None:
    world.replace()
    before = world.sent()
    (home, other) = world.processes
    assert await home.refusal(before) == await other.refusal(before) == ""
    # A stranger makes the processes read the secret immediately before mjctl changes the secret.
    world.now += PAUSE_SECONDS + 0.1
    assert await home.refusal("forged") == await other.refusal("forged") == "unknown_distribution_pass"
    world.replace()
    assert world.sent() != before
    assert [await process.refusal(world.sent()) for process in world.processes] == ["", ""]
    # CloudFront's edge locations still send the previous pass for some seconds.
    assert [await process.refusal(before) for process in world.processes] == ["", ""]


async def test_an_emptied_store_gets_a_pass_again(world: World) -> None:
    world.replace()
    version = world.values.describe_key_value_store(KvsARN=world.store)["ETag"]
    world.values.delete_key(KvsARN=world.store, Key=STORE_KEY, IfMatch=version)
    world.now += PAUSE_SECONDS + 0.1
    assert await world.process(HOME).refusal(world.sent()) == "no_distribution_pass"
    world.replace()
    await nobody_is_refused(world)


async def test_a_region_that_gets_no_copy_of_the_secret_ends_the_replacement_with_its_name(world: World) -> None:
    world.replace()
    before = world.sent()

    class Failing(Watched):
        def describe_secret(self, **_: Any) -> Any:
            return {"ReplicationStatus": [{"Region": OTHER, "Status": "Failed", "StatusMessage": "no such key"}]}

    clients = world.values, Failing(world.secrets, lambda: None)
    with pytest.raises(UnreachableError, match=f"{OTHER}: no such key"):
        DistributionPass(world.store, world.secret, *clients, sleep=lambda _: None).replace()
    assert world.sent() == before
    await nobody_is_refused(world)


async def test_a_copy_that_never_arrives_ends_the_replacement(world: World) -> None:
    class Waiting(Watched):
        def describe_secret(self, **_: Any) -> Any:
            return {"ReplicationStatus": [{"Region": OTHER, "Status": "InProgress"}]}

    clients = world.values, Waiting(world.secrets, lambda: None)
    with pytest.raises(UnreachableError, match=f"{OTHER}: InProgress"):
        DistributionPass(world.store, world.secret, *clients, sleep=world._sleep).replace()
    assert 120 <= world.now <= 180


async def test_a_second_replacement_at_the_same_time_is_refused_by_the_store(world: World) -> None:
    world.replace()

    class Overtaken(Watched):
        def get_key(self, **parameters: Any) -> Any:
            world.values.put_key(KvsARN=world.store, Key="other", Value="x", IfMatch=version())
            return world.values.get_key(**parameters)

    def version() -> str:
        return str(world.values.describe_key_value_store(KvsARN=world.store)["ETag"])

    clients = Overtaken(world.values, lambda: None), world.secrets
    with pytest.raises(world.values.exceptions.ConflictException):
        DistributionPass(world.store, world.secret, *clients, sleep=lambda _: None).replace()
    await nobody_is_refused(world)


def test_a_deploy_uses_the_store_and_the_secret_of_its_environment(emulators: Emulators) -> None:
    environment = load_environment(Workspace.discover(Path(__file__)), "sandbox")
    account = account_at(environment, emulators.endpoints(), str(emulators.key_file))
    cloudfront = emulators.client("cloudfront", HOME)
    store = cloudfront.create_key_value_store(Name="deployed")["KeyValueStore"]["ARN"]
    manager = emulators.client("secretsmanager", account.region)
    secret = secret_name(environment.project, environment.name)
    manager.create_secret(Name=secret)

    def replaced(**contract: str) -> bool:
        return replace_at(SimpleNamespace(account=account, outputs=lambda: {"contract": contract}), environment)  # type: ignore[arg-type]

    assert replaced(pass_store_arn=store)
    values = emulators.client("cloudfront-keyvaluestore", HOME)
    sent = values.get_key(KvsARN=store, Key=STORE_KEY)["Value"]
    assert decode(manager.get_secret_value(SecretId=secret)["SecretString"]) == {digest(sent)}
    # An edge that an older release deployed has no store.
    assert not replaced(distribution_id="E1")
    with pytest.raises(UnreachableError, match="ResourceNotFoundException"):
        replaced(pass_store_arn=f"{store}-gone")
