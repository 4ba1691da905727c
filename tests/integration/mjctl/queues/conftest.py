"""Provides a client of SQS, and a fixture that replaces an operation of SQS, for example by a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from gameserver.runtime.settings import Settings
from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract

Call = Callable[..., Any]


@pytest.fixture
def sqs(settings: Settings) -> Any:
    return boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)


@pytest.fixture
def intercept(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Call], list[dict[str, Any]]]:
    """Replace an operation of SQS by `replacement(forward, parameters)`. Returns: the parameters of each call of
    the operation."""
    original = RegionClients.call

    def install(operation: str, replacement: Call) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        async def call(self: RegionClients, service: str, name: str, **parameters: Any) -> dict[str, Any]:
            async def forward(**changed: Any) -> dict[str, Any]:
                return await original(self, service, name, **{**parameters, **changed})

            if name != operation:
                return await forward()
            calls.append(parameters)
            answer: dict[str, Any] = await replacement(forward, parameters)
            return answer

        monkeypatch.setattr(RegionClients, "call", call)
        return calls

    return install


def bury(sqs: Any, contract: Contract, bodies: list[str]) -> list[str]:
    """Put messages into the dead-letter queue. Returns: their ids."""
    url = contract.queues["persistence"].dead_letter.url
    return [sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in bodies]
