"""Tests that processes limit a caller together in DynamoDB, and alone while DynamoDB does not answer."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gameserver.functions.http import HttpError
from gameserver.functions.rate_limit import RateLimit
from gameserver.persistence.call_counts import CallCounts, open_call_counts
from gameserver.persistence.tables import TablesUnavailable
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

ADDRESS, EMAIL = "192.0.2.1", "ada@example.com"
Process = Callable[[], CallCounts]


class Clock:
    def __init__(self) -> None:
        self.now = float(round(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def process(settings: Settings, clock: Clock) -> Iterator[Process]:
    """Return a function that opens the counts as a further process does."""
    opened = []

    def open_counts() -> CallCounts:
        aws = AwsClients(settings.region, settings.aws_endpoint_url)
        opened.append(CallCounts(settings.tables["rate_limits"], aws, clock=clock))
        return opened[-1]

    yield open_counts
    for counts in opened:
        counts.close()


async def allowed(limit: RateLimit, calls: int, *key: str) -> int:
    answers = await asyncio.gather(*(limit.take(*key) for _ in range(calls)), return_exceptions=True)
    assert all(answer is None or isinstance(answer, HttpError) for answer in answers), answers
    return answers.count(None)


async def test_concurrent_calls_of_two_processes_share_one_burst_and_one_rate(process: Process, clock: Clock) -> None:
    first, second = process(), process()
    limits = [
        RateLimit("guess", per_second=0.5, burst=5, shared=shared, clock=clock)
        for shared in (lambda: first, lambda: second)
    ]
    assert sum(await asyncio.gather(*(allowed(limit, 12, ADDRESS, EMAIL) for limit in limits))) == 5
    clock.now += 4
    assert sum(await asyncio.gather(*(allowed(limit, 12, ADDRESS, EMAIL) for limit in limits))) == 2
    # A stranger from another address, who has used up every call, takes no call of the player.
    await allowed(limits[0], 12, "198.51.100.7", EMAIL)
    clock.now += 3600
    assert await allowed(limits[1], 12, ADDRESS, EMAIL) == 5


async def test_a_new_process_knows_the_calls_and_says_how_long_to_wait(process: Process) -> None:
    first, second = process(), process()
    for _ in range(3):
        assert await first.take("codes", EMAIL, per_second=0.1, burst=3) == 0
    assert await second.take("codes", EMAIL, per_second=0.1, burst=3) == 10
    assert await second.take("codes", "bob@example.com", per_second=0.1, burst=3) == 0
    assert await second.take("logins", EMAIL, per_second=0.1, burst=3) == 0


async def test_a_process_asks_no_more_until_the_shared_bucket_has_a_token(process: Process, clock: Clock) -> None:
    counts, other = process(), process()
    limit = RateLimit("asks", per_second=0.1, burst=3, shared=lambda: counts, clock=clock)
    for _ in range(3):
        await other.take("asks", EMAIL, per_second=0.1, burst=3)
    requests = _requests(counts)
    assert await allowed(limit, 1, EMAIL) == 0
    assert await allowed(limit, 50, EMAIL) == 0
    assert len(requests) == 1
    clock.now += 10
    assert await allowed(limit, 1, EMAIL) == 1


async def test_items_hide_the_caller_and_expire(process: Process, settings: Settings, clock: Clock) -> None:
    await process().take("hidden", f"{ADDRESS}\n{EMAIL}", per_second=0.1, burst=3)
    with_clients = AwsClients(settings.region, settings.aws_endpoint_url)
    items = with_clients.dynamodb.scan(TableName=settings.tables["rate_limits"])["Items"]
    with_clients.close()
    (item,) = [item for item in items if item["caller"]["S"].startswith("hidden#")]
    assert not {EMAIL, ADDRESS} & {str(value) for entry in item.values() for value in entry.values()}
    assert EMAIL not in str(item)
    assert ADDRESS not in str(item)
    assert 60 <= int(item["expires_at"]["N"]) - clock.now <= 600


async def test_a_process_limits_alone_and_without_a_delay_while_dynamodb_does_not_answer(settings: Settings) -> None:
    """Test a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        counts = open_call_counts("t", settings.region, f"http://127.0.0.1:{silent.getsockname()[1]}")
        limit = RateLimit("alone", per_second=0.01, burst=4, shared=lambda: counts)
        start = time.monotonic()
        assert await allowed(limit, 1, ADDRESS) == 1
        assert time.monotonic() - start < 3
        start = time.monotonic()
        assert await allowed(limit, 20, ADDRESS) == 3
        assert time.monotonic() - start < 0.5
        counts.close()


async def test_a_process_repeats_a_call_whose_connection_dynamodb_has_closed(settings: Settings) -> None:
    closed = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal closed
        closed += 1
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        counts = open_call_counts("t", settings.region, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(TablesUnavailable, match="ConnectionClosedError"):
            await counts.take("closed", EMAIL, per_second=1, burst=1)
        counts.close()
    assert closed == 2


async def test_a_process_asks_again_some_seconds_after_a_failure(process: Process, clock: Clock) -> None:
    counts = process()
    table, counts._table = counts._table, "missing"
    for _ in range(2):
        with pytest.raises(TablesUnavailable):
            await counts.take("again", EMAIL, per_second=1, burst=1)
    counts._table = table
    clock.now += 6
    assert await counts.take("again", EMAIL, per_second=1, burst=1) == 0


def _requests(counts: CallCounts) -> list[Any]:
    """Return a list that gets an entry for each request of `counts` to DynamoDB."""
    requests: list[Any] = []
    counts._aws.dynamodb.meta.events.register("before-send.dynamodb", lambda request, **_: requests.append(request))
    return requests
