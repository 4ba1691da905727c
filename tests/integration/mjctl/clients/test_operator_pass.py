"""Tests that the functions accept the passes that mjctl makes, with the KMS of the emulated AWS."""

from __future__ import annotations

import dataclasses
import ipaddress
import time
from typing import Any

import pytest

from gameserver.functions.direct_calls import DirectCalls
from gameserver.functions.http import HttpError
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from mjctl.clients.boto import RegionClients
from mjctl.clients.operator_pass import LIFETIME_SECONDS, OperatorPass
from mjctl.models.contract import Contract

STRANGER = "192.0.2.1"


@pytest.fixture
def managed(contract: Contract, settings: Settings) -> Contract:
    """Return the contract of a region that has CloudFront in front of its API."""
    named = {"managed": object(), "environment": settings.environment}
    return contract.model_copy(update=named)


@pytest.fixture
def door(settings: Settings) -> Any:
    """Return a factory of the admission of calls. Its arguments replace settings."""
    edge = (ipaddress.ip_network("203.0.113.0/24"),)

    def make(**changes: Any) -> DirectCalls:
        changed = dataclasses.replace(settings, **{"edge_networks": edge, **changes})
        return DirectCalls(changed, AwsClients(settings.region, settings.aws_endpoint_url))

    return make


async def refused(calls: DirectCalls, headers: dict[str, str]) -> str:
    with pytest.raises(HttpError) as error:
        await calls.admit(STRANGER, headers)
    return error.value.code


async def test_a_pass_is_accepted_in_its_region_and_environment_only(managed: Contract, door: Any) -> None:
    with RegionClients(managed) as clients:
        headers = await OperatorPass(managed, clients).headers()
    await door().admit(STRANGER, headers)
    assert await refused(door(region="eu-west-1"), headers) == "forbidden"
    assert await refused(door(environment="other"), headers) == "forbidden"
    (name, value) = next(iter(headers.items()))
    assert await refused(door(), {name: value[:-8] + "AAAAAAA="}) == "forbidden"


async def test_an_expired_pass_is_named_so(managed: Contract, door: Any) -> None:
    with RegionClients(managed) as clients:
        old = OperatorPass(managed, clients, clock=lambda: time.time() - LIFETIME_SECONDS - 1)
        assert await refused(door(), await old.headers()) == "operator_pass_expired"


async def test_a_pass_is_renewed_after_half_of_its_lifetime(managed: Contract) -> None:
    now = [time.time()]
    with RegionClients(managed) as clients:
        renewing = OperatorPass(managed, clients, clock=lambda: now[0])
        first = await renewing.headers()
        now[0] += LIFETIME_SECONDS / 2 - 1
        assert await renewing.headers() == first
        now[0] += 2
        assert await renewing.headers() != first


async def test_a_local_region_needs_no_pass(contract: Contract) -> None:
    with RegionClients(contract) as clients:
        assert await OperatorPass(contract, clients).headers() == {}
