"""Tests the tokens of load tests with moto's WAF, and with the stage's evaluation of the web ACL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.clients.boto import RegionClients
from mjctl.clients.firewall_tokens import HEADER, MATCHES_NOTHING, expired, past_rate_limit, tokens
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.firewall import Firewall
from mjctl.sandbox.stage.web_acls import WebAcls
from mjctl.sandbox.stage.web_request import WebRequest
from tests.factories import contract

REGION = "eu-west-1"
BALANCER = f"arn:aws:elasticloadbalancing:{REGION}:123456789012:loadbalancer/app/game/1"
SEEN = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
LIMIT = 100


class Wall:
    """Holds a web ACL with a rate limit, as terraform/modules/firewall makes it."""

    def __init__(self, running: Emulators) -> None:
        self.running = running
        self.wafv2 = wafv2 = running.client("wafv2", REGION)
        self.set = wafv2.create_regex_pattern_set(
            Name="arena-load-tests", Scope="REGIONAL", RegularExpressionList=[{"RegexString": MATCHES_NOTHING}]
        )["Summary"]
        reference = {
            "ARN": self.set["ARN"],
            "FieldToMatch": {"SingleHeader": {"Name": HEADER}},
            "TextTransformations": [{"Priority": 0, "Type": "NONE"}],
        }
        scope = {"NotStatement": {"Statement": {"RegexPatternSetReferenceStatement": reference}}}
        limit = {"Limit": LIMIT, "AggregateKeyType": "IP", "ScopeDownStatement": scope}
        rule = {"Name": "rate-limit", "Priority": 0, "Action": {"Block": {}}, "VisibilityConfig": SEEN}
        self.acl = wafv2.create_web_acl(
            Name="arena",
            Scope="REGIONAL",
            DefaultAction={"Allow": {}},
            VisibilityConfig=SEEN,
            Rules=[{**rule, "Statement": {"RateBasedStatement": limit}}],
        )["Summary"]["ARN"]
        wafv2.associate_web_acl(WebACLArn=self.acl, ResourceArn=BALANCER)

    @property
    def contract(self) -> Contract:
        aws = {
            "endpoint_url": self.running.url("moto"),
            "account_id": self.running.account_id,
            "secret": f"file:{self.running.key_file}",
        }
        return contract(REGION, aws=aws).model_copy(update={"managed": SimpleNamespace(load_balancer=BALANCER)})

    def patterns(self) -> list[str]:
        listed = self._get()["RegexPatternSet"]["RegularExpressionList"]
        return [entry["RegexString"] for entry in listed]

    def write(self, *patterns: str) -> None:
        self.wafv2.update_regex_pattern_set(
            Name=self.set["Name"],
            Id=self.set["Id"],
            Scope="REGIONAL",
            LockToken=self._get()["LockToken"],
            RegularExpressionList=[{"RegexString": pattern} for pattern in patterns],
        )

    def allowed(self, headers: dict[str, str]) -> int:
        """Return how many of 300 requests the web ACL allows, ten seconds after 300 other requests."""
        documents = WebAcls(self.running.url("moto"), self.running.key.access_key_id).of_arn(self.acl)
        assert documents is not None
        firewall = Firewall(documents)
        request = WebRequest("203.0.113.1", "GET", "/play", "", list(headers.items()))
        for _ in range(3 * LIMIT):
            firewall.evaluate(request, now=0.0)
        return sum(firewall.evaluate(request, now=10.0).allowed for _ in range(3 * LIMIT))

    def _get(self) -> Any:
        return self.wafv2.get_regex_pattern_set(Name=self.set["Name"], Id=self.set["Id"], Scope="REGIONAL")


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    with Emulators(tmp_path_factory.mktemp("waf"), names=["ministack", "moto"]) as running:
        yield Wall(running)


@pytest.fixture
def clients(wall: Wall) -> Iterator[RegionClients]:
    wall.write(MATCHES_NOTHING)
    with RegionClients(wall.contract) as opened:
        yield opened


async def test_only_requests_with_the_token_pass_the_rate_limit_and_only_during_the_load_test(
    wall: Wall, clients: RegionClients
) -> None:
    async with past_rate_limit(wall.contract, clients, 60) as headers:
        assert await asyncio.to_thread(wall.allowed, headers) == 3 * LIMIT
        assert await asyncio.to_thread(wall.allowed, {}) == 0
        assert await asyncio.to_thread(wall.allowed, {HEADER: "\\n"}) == 0
    assert wall.patterns() == [MATCHES_NOTHING]
    assert await asyncio.to_thread(wall.allowed, headers) == 0


async def test_a_cancelled_load_test_removes_its_token(wall: Wall, clients: RegionClients) -> None:
    running = asyncio.Event()

    async def play() -> None:
        async with past_rate_limit(wall.contract, clients, 60):
            running.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(play())
    await running.wait()
    assert len(wall.patterns()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wall.patterns() == [MATCHES_NOTHING]


async def test_two_load_tests_at_once_keep_each_others_tokens(wall: Wall, clients: RegionClients) -> None:
    async with past_rate_limit(wall.contract, clients, 60):
        (first,) = wall.patterns()
        async with past_rate_limit(wall.contract, clients, 60):
            assert len(wall.patterns()) == 2
        assert wall.patterns() == [first]


async def test_a_change_by_another_caller_is_not_lost(
    wall: Wall, clients: RegionClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"^{int(time.time()) + 60}-{'0' * 32}$"
    call, interfered = clients.call, []

    async def interfere(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        if operation == "update_regex_pattern_set" and not interfered:
            interfered.append(True)
            await asyncio.to_thread(wall.write, other)
        return await call(service, operation, **parameters)

    monkeypatch.setattr(clients, "call", interfere)
    async with past_rate_limit(wall.contract, clients, 60):
        assert other in wall.patterns()
        assert len(wall.patterns()) == 2
    assert wall.patterns() == [other]


async def test_the_next_load_test_removes_expired_tokens(wall: Wall, clients: RegionClients) -> None:
    old, new = (f"^{int(time.time()) + seconds}-{'0' * 32}$" for seconds in (-1, 60))
    wall.write(old, new)
    acl = wall.wafv2.get_web_acl_for_resource(ResourceArn=BALANCER)["WebACL"]
    assert expired(await tokens(clients, acl), time.time()) == [old]
    async with past_rate_limit(wall.contract, clients, 60):
        assert old not in wall.patterns()
    assert wall.patterns() == [new]


async def test_a_region_without_a_pattern_set_gets_no_token(wall: Wall, clients: RegionClients) -> None:
    local = wall.contract.model_copy(update={"managed": None})
    async with past_rate_limit(local, clients, 60) as headers:
        assert headers == {}
    unguarded = SimpleNamespace(load_balancer=f"{BALANCER}0")
    async with past_rate_limit(wall.contract.model_copy(update={"managed": unguarded}), clients, 60) as headers:
        assert headers == {}
    assert wall.patterns() == [MATCHES_NOTHING]


async def test_a_refused_change_ends_the_load_test(wall: Wall, clients: RegionClients) -> None:
    acl = wall.wafv2.get_web_acl_for_resource(ResourceArn=BALANCER)["WebACL"]
    wall.wafv2.delete_regex_pattern_set(
        Name=wall.set["Name"], Id=wall.set["Id"], Scope="REGIONAL", LockToken=wall._get()["LockToken"]
    )
    assert acl["Rules"]
    with pytest.raises(NotFoundError):
        async with past_rate_limit(wall.contract, clients, 60):
            raise AssertionError("the block must not run")
