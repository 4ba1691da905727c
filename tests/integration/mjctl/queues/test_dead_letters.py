"""Tests `queue peek`: it shows every body, and the worker's record of the failure if the cache has this record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from gameserver.functions.persistence import persist
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings
from mjctl.clients.boto import RegionClients
from mjctl.clients.queues import queue_depth
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

from .conftest import bury

Call = Callable[..., Any]


async def handle(settings: Settings, message_id: str, body: str) -> None:
    """Process one delivery as the worker does."""
    services = Services(settings)
    try:
        answer = await persist({"Records": [{"messageId": message_id, "body": body}]}, services)
    finally:
        await services.close()
    assert answer == {"batchItemFailures": [{"itemIdentifier": message_id}]}


def test_peek_shows_why_a_message_failed(mjctl: Any, contract: Contract, settings: Settings, sqs: Any) -> None:
    event = {
        "event_id": "m:1", "type": "match.exploded", "match_id": "m", "region": "us-east-1", "server_id": "s",
        "sequence": 1, "occurred_at_ms": 1, "payload": {},
    }  # fmt: skip
    for body in (json.dumps(event), "{", json.dumps({"event_id": "m:2"})):
        (message_id,) = bury(sqs, contract, [body])
        if "m:2" not in body:
            asyncio.run(handle(settings, message_id, body))
    mjctl.capture.readouterr()  # Discard the log lines of the worker.
    messages = mjctl("queue", "peek", "persistence", "-o", "json").json()["regions"][0]["letters"]
    causes = {message["event_id"]: message["last_error"] for message in messages}
    assert causes["m:1"] == "an event is not valid: unknown event type"
    assert causes[None].startswith("an event is not valid: ")
    assert causes["m:2"] is None
    assert {message["failed_at"] is None for message in messages} == {True, False}
    # The table wraps the last column if the text is longer than the line.
    text = " ".join(mjctl("queue", "peek", "persistence").out.split())
    assert "an event is not valid: unknown event type" in text
    assert "unknown" in text


def test_peek_works_without_the_cache(mjctl: Any, contract: Contract, without_cache: Contract, sqs: Any) -> None:
    bury(sqs, contract, ["x"])
    mjctl.contracts = {contract.region: without_cache}
    (message,) = mjctl("queue", "peek", "persistence", "-o", "json").json()["regions"][0]["letters"]
    assert message["last_error"] is None


def test_a_damaged_record_of_a_failure_is_ignored(mjctl: Any, contract: Contract, settings: Settings, sqs: Any) -> None:
    (message_id,) = bury(sqs, contract, ["{"])
    asyncio.run(handle(settings, message_id, "{"))
    with Redis.from_url(contract.cache.url) as client:
        (physical,) = client.keys("cache:{worker-failures}:*")
        client.set(physical, b"\xc1", ex=60)
    mjctl.capture.readouterr()
    (message,) = mjctl("queue", "peek", "persistence", "-o", "json").json()["regions"][0]["letters"]
    assert message["last_error"] is None


async def peeked(sqs: Any, contract: Contract, body: str) -> Any:
    from mjctl.queues.dead_letters import peek

    bury(sqs, contract, [body])
    return await peek(contract, "persistence", limit=10)


ODD_BODIES = [
    '{"type": []}',
    '{"event_id": 5, "type": true}',
    '{"event_id": {"a": 1}, "type": null}',
    '[{"type": {}}, {"type": []}, {"event_id": 1}]',
    "[" * 100_000,
    '{"event_id": ' + "[" * 500 + "]" * 500 + "}",
    '{"event_id": "\\ud800", "type": "\\udfff"}',
    '{"event_id": "a\\u001b]0;t\\u0007b"}',
    "null",
    "NaN",
    "9" * 5000,
    "not JSON",
]


async def test_peek_shows_messages_with_any_body(mjctl: Any, sqs: Any, contract: Contract) -> None:
    bury(sqs, contract, ODD_BODIES)
    for options in ((), ("--bodies",)):
        shown = await asyncio.to_thread(mjctl, "queue", "peek", "persistence", "--limit", "50", *options, "-o", "json")
        assert shown.code == 0, shown.err
        assert len(shown.json()["regions"][0]["letters"]) == len(ODD_BODIES)
        text = await asyncio.to_thread(mjctl, "queue", "peek", "persistence", "--limit", "50", *options)
        assert text.code == 0, text.err
        text.out.encode()


async def test_peek_shows_ids_and_types_that_are_not_strings(sqs: Any, contract: Contract) -> None:
    (shown,) = await peeked(sqs, contract, '{"event_id": 5, "type": []}')
    assert (shown.event_id, shown.event_type) == ("5", "[]")


async def test_all_messages_are_visible_after_a_peek_whose_second_call_fails(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    from mjctl.queues.dead_letters import peek

    bury(sqs, contract, [f"m{number}" for number in range(12)])
    answered = 0

    async def once(forward: Call, _parameters: dict[str, Any]) -> Any:
        nonlocal answered
        answered += 1
        if answered > 1:
            raise UnreachableError("no answer")
        return await forward()

    intercept("receive_message", once)
    with pytest.raises(UnreachableError):
        await peek(contract, "persistence", limit=12)
    with RegionClients(contract) as clients:
        depth = await queue_depth(clients, contract.queues["persistence"].dead_letter.url)
    assert (depth.waiting, depth.in_flight) == (12, 0)
