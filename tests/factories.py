"""Builds contracts for tests, with unused addresses or with the addresses of real services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gameserver.runtime.settings import Settings
from mjctl.models.contract import Contract

ACCOUNT_ID = "000000000000"
# No process listens on port 1.
NOWHERE = "http://127.0.0.1:1"


def contract(region: str = "us-east-1", *, folder: Path = Path("/nowhere"), **parts: Any) -> Contract:
    """Return a contract as the local stack publishes it. No process answers at the addresses of the contract.

    Args:
        region: Name of the region that the contract describes.
        folder: The folder that holds the region's secrets.
        parts: Whole parts that replace the default ones, for example `cache={"url": "redis://127.0.0.1:6379"}`.
    """
    queue = f"arn:aws:sqs:{region}:{ACCOUNT_ID}:arena-test-persistence"
    values: dict[str, Any] = {
        "version": 1,
        "project": "arena",
        "environment": "test",
        "target": "local",
        "region": region,
        "zones": [f"{region}{letter}" for letter in "abc"],
        "aws": {"endpoint_url": NOWHERE, "account_id": ACCOUNT_ID},
        "endpoints": {"api": NOWHERE},
        "cache": {"url": "redis://127.0.0.1:1/0"},
        "database": {
            "host": "127.0.0.1",
            "port": 1,
            "name": "arena",
            "user": "arena",
            "secret": f"file:{folder}/database.json",
            "tls": False,
        },
        "tables": {"matches": {"name": "arena-test-matches", "arn": "arn:aws:dynamodb:::table/arena-test-matches"}},
        "topics": {"events": f"arn:aws:sns:{region}:{ACCOUNT_ID}:arena-test-events"},
        "queues": {
            "persistence": {
                "url": f"{NOWHERE}/q",
                "arn": queue,
                "dead_letter": {"url": f"{NOWHERE}/d", "arn": f"{queue}-dead-letter"},
                "max_receive_count": 5,
            }
        },
        "identity": {
            "user_pool_id": f"{region}_pool",
            "client_id": "client",
            "issuer": f"{NOWHERE}/pool",
            "jwks_url": f"{NOWHERE}/pool/.well-known/jwks.json",
        },
        "keys": {"data": "arn:aws:kms:::key/1"},
        "fleet": {"kind": "supervisor"},
        "backup": {},
    }
    return Contract.parse(values | parts)


def contract_over(settings: Settings, aws_secret: str) -> Contract:
    """Return the contract that a stack with the services of `settings` would publish, without game servers, API and
    worker.

    Args:
        settings: Settings that name real services.
        aws_secret: Reference to the key of the emulated AWS.
    """
    import boto3

    sqs = boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    queue_url = settings.persistence_queue_url
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "RedrivePolicy"])
    redrive = json.loads(attributes["Attributes"]["RedrivePolicy"])
    dead_letter = redrive["deadLetterTargetArn"]
    return contract(
        settings.region,
        project=settings.project,
        environment="local",
        aws={"endpoint_url": settings.aws_endpoint_url, "account_id": ACCOUNT_ID, "secret": aws_secret},
        state={"url": settings.state_url},
        cache={"url": settings.cache_url},
        database={
            "host": settings.database_host,
            "port": settings.database_port,
            "name": settings.database_name,
            "user": settings.database_user,
            "secret": settings.database_secret,
            "tls": False,
        },
        tables={key: {"name": name, "arn": f"arn:{name}"} for key, name in settings.tables.items()},
        topics={"events": settings.events_topic_arn},
        queues={
            "persistence": {
                "url": queue_url,
                "arn": attributes["Attributes"]["QueueArn"],
                "dead_letter": {
                    "url": sqs.get_queue_url(QueueName=dead_letter.rsplit(":", 1)[-1])["QueueUrl"],
                    "arn": dead_letter,
                },
                "max_receive_count": int(redrive["maxReceiveCount"]),
            }
        },
        identity={
            "user_pool_id": settings.user_pool_id,
            "client_id": settings.client_id,
            "issuer": settings.issuer,
            "jwks_url": settings.jwks_url,
        },
        keys={"data": settings.data_key_arn},
    )
