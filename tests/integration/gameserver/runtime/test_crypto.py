"""Tests of sealed values with an emulated KMS: which process can open a value, at which place, and with how many
calls."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import FieldContext, KeyUnavailable, Sealed, Sealer, Undecipherable
from gameserver.runtime.settings import Settings, SettingsError

EMAIL = FieldContext("players", "p1", "email")
VALUE = "ada@example.com"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def settings(make_settings: Any) -> Settings:
    return make_settings()


@pytest.fixture
async def clients(settings: Settings) -> AsyncIterator[AwsClients]:
    clients = AwsClients(settings.region, settings.aws_endpoint_url)
    yield clients
    clients.close()


@pytest.fixture
def calls(clients: AwsClients) -> list[str]:
    """Return the names of the operations that KMS has received."""
    names: list[str] = []
    clients.kms.meta.events.register("before-call.kms", lambda model, **_: names.append(model.name))
    return names


@pytest.mark.parametrize("value", [VALUE, "", "Straße 1, Köln 🏰", "x" * 10_000])
async def test_a_sealed_value_opens_and_is_not_readable(settings: Settings, clients: AwsClients, value: str) -> None:
    sealed = await Sealer(settings, clients).seal(value, EMAIL)
    assert not value or value.encode() not in sealed
    # A second `Sealer` stands for another process.
    assert await Sealer(settings, clients).open(sealed, EMAIL) == value


async def test_equal_values_are_sealed_differently(settings: Settings, clients: AwsClients) -> None:
    sealer = Sealer(settings, clients)
    assert len({await sealer.seal(VALUE, EMAIL) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        FieldContext("players", "p2", "email"),
        FieldContext("players", "p1", "address"),
        FieldContext("matches", "p1", "email"),
        FieldContext("player", "sp1", "email"),
        FieldContext("players", "p1e", "mail"),
    ],
)
async def test_a_value_opens_only_where_it_belongs(
    settings: Settings, clients: AwsClients, elsewhere: FieldContext
) -> None:
    sealer = Sealer(settings, clients)
    with pytest.raises(Undecipherable):
        await sealer.open(await sealer.seal(VALUE, EMAIL), elsewhere)


async def test_every_altered_byte_is_noticed(settings: Settings, clients: AwsClients) -> None:
    sealer = Sealer(settings, clients)
    sealed = await sealer.seal(VALUE, EMAIL)
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(Undecipherable):
            await sealer.open(bytes(altered), EMAIL)
    for length in range(len(sealed)):
        with pytest.raises(Undecipherable):
            await sealer.open(sealed[:length], EMAIL)


async def test_errors_do_not_contain_the_value(settings: Settings, clients: AwsClients) -> None:
    sealer = Sealer(settings, clients)
    with pytest.raises(Undecipherable) as caught:
        await sealer.open(await sealer.seal(VALUE, EMAIL), FieldContext("players", "p2", "email"))
    assert "ada" not in str(caught.value)
    assert "p2" not in str(caught.value)


async def test_values_of_another_environment_or_key_do_not_open(settings: Settings, clients: AwsClients) -> None:
    sealed = await Sealer(settings, clients).seal(VALUE, EMAIL)
    # The sealer of another environment has the same KMS key, but its encryption context differs from the context with
    # which the data key was wrapped.
    with pytest.raises(Undecipherable):
        await Sealer(dataclasses.replace(settings, environment="other"), clients).open(sealed, EMAIL)
    foreign = clients.kms.create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(Undecipherable):
        await Sealer(dataclasses.replace(settings, data_key_arn=foreign), clients).open(sealed, EMAIL)
    with pytest.raises(Undecipherable):
        await Sealer(settings, clients).open(
            await Sealer(dataclasses.replace(settings, data_key_arn=foreign), clients).seal(VALUE, EMAIL), EMAIL
        )


async def test_one_call_of_kms_serves_many_values(settings: Settings, clients: AwsClients, calls: list[str]) -> None:
    sealer = Sealer(settings, clients)
    places = [FieldContext("players", f"p{number}", "email") for number in range(50)]
    sealed = await asyncio.gather(*(sealer.seal(VALUE, place) for place in places))
    assert [await sealer.open(*pair) for pair in zip(sealed, places, strict=True)] == [VALUE] * 50
    assert calls == ["GenerateDataKey"]
    reader = Sealer(settings, clients)
    for pair in zip(sealed, places, strict=True):
        await reader.open(*pair)
    assert calls == ["GenerateDataKey", "Decrypt"]


async def test_data_keys_are_replaced_by_age_and_by_uses(
    settings: Settings, clients: AwsClients, calls: list[str]
) -> None:
    clock = Clock()
    sealer = Sealer(settings, clients, max_age_seconds=60, max_uses=3, clock=clock)
    sealed = [await sealer.seal(VALUE, EMAIL) for _ in range(4)]
    assert calls == ["GenerateDataKey"] * 2
    clock.now = 61
    sealed.append(await sealer.seal(VALUE, EMAIL))
    assert calls == ["GenerateDataKey"] * 3
    # Values of an earlier data key can still be opened, because KMS unwraps the earlier data key again.
    assert [await sealer.open(value, EMAIL) for value in sealed] == [VALUE] * 5
    assert calls == ["GenerateDataKey"] * 3 + ["Decrypt"] * 2


async def test_after_a_key_is_disabled_nothing_opens_for_longer_than_the_age(
    settings: Settings, clients: AwsClients
) -> None:
    arn = clients.kms.create_key()["KeyMetadata"]["Arn"]
    clock = Clock()
    sealer = Sealer(dataclasses.replace(settings, data_key_arn=arn), clients, max_age_seconds=60, clock=clock)
    sealed = await sealer.seal(VALUE, EMAIL)
    clients.kms.disable_key(KeyId=arn)
    assert await sealer.open(sealed, EMAIL) == VALUE
    clock.now = 61
    with pytest.raises(KeyUnavailable, match="KMS: "):
        await sealer.open(sealed, EMAIL)
    with pytest.raises(KeyUnavailable):
        await sealer.seal(VALUE, EMAIL)
    clients.kms.enable_key(KeyId=arn)
    assert await sealer.open(sealed, EMAIL) == VALUE


async def test_sealing_fails_while_kms_is_unavailable(settings: Settings, unused_tcp_port: int) -> None:
    alone = AwsClients(settings.region, f"http://127.0.0.1:{unused_tcp_port}", attempts=1)
    try:
        with pytest.raises(KeyUnavailable):
            await Sealer(settings, alone).seal(VALUE, EMAIL)
        with pytest.raises(KeyUnavailable):
            await Sealer(settings, alone).open(Sealed(b"\x01\x00\x01k" + bytes(40)), EMAIL)
    finally:
        alone.close()


async def test_a_sealer_needs_a_key(settings: Settings, clients: AwsClients) -> None:
    with pytest.raises(SettingsError, match="GAMESERVER_DATA_KEY_ARN"):
        Sealer(dataclasses.replace(settings, data_key_arn=""), clients)
