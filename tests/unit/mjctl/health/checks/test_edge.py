"""Tests what the check `edge-pass` says about each answer to a request through CloudFront."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.health.checks.edge import check_edge_pass
from mjctl.models.check import CheckStatus

SECRET = "arena-it-distribution-passes"


class DeployedAws:
    """Answers as AWS does after a deploy of the edge."""

    async def call(self, service: str, operation: str, **_: str) -> Mapping[str, Any]:
        assert (service, operation) == ("lambda", "get_function_configuration")
        return {"Environment": {"Variables": {"GAMESERVER_DISTRIBUTION_PASSES": SECRET}}}

    async def call_in(self, region: str, service: str, operation: str, **parameters: str) -> Mapping[str, Any]:
        assert (region, service, operation, parameters["SecretId"]) == (
            "us-east-1",
            "secretsmanager",
            "describe_secret",
            SECRET,
        )
        copies = [{"Region": "eu-west-1", "Status": "InSync"}, {"Region": "ap-south-1", "Status": "InProgress"}]
        return {"VersionIdsToStages": {"v": ["AWSCURRENT"]}, "ReplicationStatus": copies}


class AnsweringSession:
    def __init__(self, status: int, body: Any) -> None:
        self.answer = status, body
        self.asked: list[tuple[str, Any]] = []

    @asynccontextmanager
    async def get(self, url: str, headers: Any) -> AsyncIterator[Any]:
        self.asked.append((url, headers))
        status, body = self.answer

        async def text() -> str:
            return str(body)

        async def document(content_type: None) -> Any:
            if isinstance(body, str):
                raise ValueError
            return body

        yield SimpleNamespace(status=status, text=text, json=document)


def context(session: AnsweringSession, region: str = "eu-west-1") -> Any:
    managed = SimpleNamespace(
        functions={"api": "arena-it-api", "auth": "arena-it-auth"},
        primary_region="us-east-1",
        web_domain="arena.example.com",
    )
    contract = SimpleNamespace(environment="it", region=region, managed=managed, endpoints=SimpleNamespace(served=True))
    return SimpleNamespace(contract=contract, clients=DeployedAws(), http=session)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"players": []}, CheckStatus.PASS),
        (403, {"error": {"code": "forbidden"}}, CheckStatus.FAIL),
        (403, "Request blocked.", CheckStatus.WARN),
        (502, "Bad gateway", CheckStatus.WARN),
    ],
)
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_a_request_through_cloudfront_shows_whether_the_pass_is_accepted(
    region: str, status: int, body: Any, expected: CheckStatus
) -> None:
    session = AnsweringSession(status, body)
    finding = await check_edge_pass(context(session, region))
    assert finding.status is expected, finding
    assert bool(finding.hint) is (expected is not CheckStatus.PASS)
    # An operator's pass would hide that CloudFront sends no pass.
    assert session.asked == [("https://arena.example.com/v1/leaderboard", None)]


@pytest.mark.parametrize(("region", "copy"), [("ap-south-1", "InProgress"), ("sa-east-1", "missing")])
async def test_a_region_with_an_old_list_of_passes_may_refuse_players(region: str, copy: str) -> None:
    finding = await check_edge_pass(context(AnsweringSession(200, {}), region))
    assert (finding.status, finding.evidence["copy"]) == (CheckStatus.FAIL, copy)
