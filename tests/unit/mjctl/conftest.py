"""A contract as the local stack publishes it, with every address free to choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mjctl.models.contract import Contract

MakeContract = Callable[..., Contract]


@pytest.fixture
def make_contract(tmp_path: Path) -> MakeContract:
    """Build a contract; keyword arguments replace whole parts, e.g. `cache={"url": "redis://127.0.0.1:1"}`."""

    def make(region: str = "us-east-1", **parts: Any) -> Contract:
        arn = f"arn:aws:sqs:{region}:000000000000:arena-test"
        values: dict[str, Any] = {
            "version": 1,
            "project": "arena",
            "environment": "test",
            "target": "local",
            "region": region,
            "zones": [f"{region}a", f"{region}b", f"{region}c"],
            "aws": {"endpoint_url": "http://127.0.0.1:1", "account_id": "000000000000"},
            "endpoints": {"api": "http://127.0.0.1:1"},
            "cache": {"url": "redis://127.0.0.1:1/0"},
            "database": {
                "host": "127.0.0.1",
                "port": 1,
                "name": "arena",
                "user": "arena",
                "secret": f"file:{tmp_path}/database.json",
                "tls": False,
            },
            "tables": {"matches": {"name": "arena-test-matches", "arn": "arn:aws:dynamodb:::table/arena-test-matches"}},
            "topics": {"events": f"arn:aws:sns:{region}:000000000000:arena-test-events"},
            "queues": {
                "persistence": {
                    "url": "http://127.0.0.1:1/q",
                    "arn": f"{arn}-persistence",
                    "dead_letter": {"url": "http://127.0.0.1:1/d", "arn": f"{arn}-persistence-dead-letter"},
                    "max_receive_count": 5,
                }
            },
            "identity": {
                "user_pool_id": f"{region}_pool",
                "client_id": "client",
                "issuer": "http://127.0.0.1:1/pool",
                "jwks_url": "http://127.0.0.1:1/pool/.well-known/jwks.json",
            },
            "keys": {"data": "arn:aws:kms:::key/1"},
            "fleet": {"kind": "supervisor"},
            "backup": {},
        }
        return Contract.parse(values | parts)

    return make
