"""A contract over the session's real services, and the command as a process would run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from gameserver.runtime.settings import Settings
from mjctl.__main__ import run
from mjctl.models.contract import Contract
from tests.integration.conftest import EmulatedAws

ACCOUNT = "000000000000"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def contract(settings: Settings, aws: EmulatedAws) -> Contract:
    """What a stack of these services would publish, without game servers, API and worker."""
    sqs = boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    queue_url = settings.persistence_queue_url
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "RedrivePolicy"])
    redrive = json.loads(attributes["Attributes"]["RedrivePolicy"])
    dead_letter_arn = redrive["deadLetterTargetArn"]
    return Contract.parse(
        {
            "version": 1,
            "project": settings.project,
            "environment": "local",
            "target": "local",
            "region": settings.region,
            "zones": [f"{settings.region}{letter}" for letter in "abc"],
            "aws": {"endpoint_url": settings.aws_endpoint_url, "account_id": ACCOUNT, "secret": aws.secret},
            "endpoints": {"api": "http://127.0.0.1:1"},
            "cache": {"url": settings.cache_url},
            "database": {
                "host": settings.database_host,
                "port": settings.database_port,
                "name": settings.database_name,
                "user": settings.database_user,
                "secret": settings.database_secret,
                "tls": False,
            },
            "tables": {key: {"name": name, "arn": f"arn:{name}"} for key, name in settings.tables.items()},
            "topics": {"events": settings.events_topic_arn},
            "queues": {
                "persistence": {
                    "url": queue_url,
                    "arn": attributes["Attributes"]["QueueArn"],
                    "dead_letter": {
                        "url": sqs.get_queue_url(QueueName=dead_letter_arn.rsplit(":", 1)[-1])["QueueUrl"],
                        "arn": dead_letter_arn,
                    },
                    "max_receive_count": int(redrive["maxReceiveCount"]),
                }
            },
            "identity": {
                "user_pool_id": settings.user_pool_id,
                "client_id": settings.client_id,
                "issuer": settings.issuer,
                "jwks_url": settings.jwks_url,
            },
            "keys": {"data": settings.data_key_arn},
            "fleet": {"kind": "supervisor"},
            "backup": {},
        }
    )


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Runs `mjctl` in this process over `contracts`, as if Terraform had published them."""

    contracts: Mapping[str, Contract]
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        code = run(list(arguments))
        captured = self.capture.readouterr()
        return Ran(int(code), captured.out, captured.err)

    def add(self, region: str, contract: Contract) -> None:
        """One more deployed region."""
        self.contracts = {**self.contracts, region: contract.model_copy(update={"region": region})}


@pytest.fixture
def mjctl(
    contract: Contract, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> CommandLine:
    command = CommandLine({contract.region: contract}, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


@pytest.fixture
def without_cache(contract: Contract) -> Contract:
    """The same region, but nothing listens where its Redis should be."""
    return contract.model_copy(update={"cache": contract.cache.model_copy(update={"url": "redis://127.0.0.1:1/0"})})
