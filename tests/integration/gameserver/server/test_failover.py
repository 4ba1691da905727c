"""Tests that matches survive their server, when it is killed, stopped for a while, drained or restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import boto3
import msgspec
import pytest
from redis.asyncio import Redis

from gameserver.client import Bot, MatchReport, PlayerConnection
from gameserver.cluster import draining, keys
from gameserver.cluster.directory import Directory
from gameserver.protocol import MSGPACK, Hello, Redirect, Welcome
from gameserver.server.host import UnplayableError


@dataclass
class Events:
    """Holds a topic and the queue that is subscribed to it."""

    topic_arn: str
    queue_url: str
    endpoint: str
    sqs: Any

    def received(self) -> dict[str, dict[str, Any]]:
        """Return the received events by event id. If an event was received twice, its two messages must be equal."""
        received: dict[str, dict[str, Any]] = {}
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            messages = answer.get("Messages", [])
            if not messages:
                return received
            for message in messages:
                for body in json.loads(message["Body"]):
                    same = received.setdefault(body["event_id"], body)
                    assert same["payload"] == body["payload"]
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture
def events(aws: Any) -> Iterator[Events]:
    options = {"endpoint_url": aws.endpoint, "region_name": aws.region}
    sns, sqs = boto3.client("sns", **options), boto3.client("sqs", **options)
    topic = sns.create_topic(Name="realtime-events")["TopicArn"]
    queue = sqs.create_queue(QueueName="realtime-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    yield Events(topic, queue, aws.endpoint, sqs)
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)
    for client in (sns, sqs):
        client.close()


Playing = list[asyncio.Task[MatchReport]]


async def _play(player: Any, spec: Any, url: str, players: int, *, others: bool = True) -> Playing:
    """Return bots that play, and wait until each has received an event about points.

    With `others`, also wait until each bot knows another server's address, because these tests have no API that returns
    addresses.
    """
    seats: list[PlayerConnection] = [await player(f"player-{n}").join((spec.match_id, url)) for n in range(players)]
    playing = [asyncio.create_task(Bot(seat).play()) for seat in seats]

    def under_way(seat: PlayerConnection) -> bool:
        scored = any(event.type == "player.scored" for event in seat.events.values())
        return scored and (bool(seat._alternates) or not others)

    while not all(map(under_way, seats)):
        assert not any(bot.done() for bot in playing), "the match has ended before it was under way"
        await asyncio.sleep(0.02)
    return playing


def _finished(redis: Redis, match_id: str) -> Callable[[], Awaitable[bool]]:
    async def finished() -> bool:
        return await redis.zscore(keys.ACTIVE_MATCHES, match_id) is None

    return finished


def _check_acknowledged(reports: list[MatchReport]) -> None:
    """Check that points which were acknowledged before the interruption count in the result."""
    result = reports[0].result
    final = {entry["player_id"]: entry["score"] for entry in result["players"]}
    for report in reports:
        assert report.result == result
        for event in report.events:
            if event.type == "player.scored":
                assert final[event.payload["player_id"]] >= event.payload["score"]


async def test_a_killed_owner_loses_nothing_that_was_acknowledged(
    spawn: Any, new_match: Any, player: Any, redis: Redis, events: Events, eventually: Any
) -> None:
    aws = {"aws_endpoint_url": events.endpoint, "events_topic_arn": events.topic_arn}
    owner, other = await spawn(**aws), await spawn(zone="us-east-1b", **aws)
    spec = await new_match(owner.settings.server_id, seconds=6.0)
    playing = await _play(player, spec, f"ws://127.0.0.1:{owner.settings.port}", 4)
    owner.signal(signal.SIGKILL)
    reports = await asyncio.gather(*playing)
    await eventually(_finished(redis, spec.match_id))

    for report in reports:
        [interruption] = report.interruptions
        assert interruption.to_server == other.settings.server_id
    _check_acknowledged(reports)
    arrived = await asyncio.to_thread(events.received)
    mine = {body["sequence"]: body for body in arrived.values() if body["match_id"] == spec.match_id}
    assert sorted(mine) == list(range(1, max(mine) + 1))
    for report in reports:
        for event in report.events:
            assert mine[event.sequence]["type"] == event.type
            assert mine[event.sequence]["payload"] == event.payload
    assert mine[max(mine)]["type"] == "match.ended"
    assert mine[max(mine)]["payload"] == reports[0].result
    assert [body["type"] for body in mine.values()].count("match.ended") == 1


async def test_an_owner_that_continues_after_a_stop_writes_nothing(
    spawn: Any, new_match: Any, player: Any, redis: Redis, eventually: Any
) -> None:
    owner, other = await spawn(), await spawn()
    spec = await new_match(owner.settings.server_id, seconds=6.0)
    playing = await _play(player, spec, f"ws://127.0.0.1:{owner.settings.port}", 2)
    owner.signal(signal.SIGSTOP)

    async def taken_over() -> bool:
        return await redis.get(keys.lease(spec.match_id)) == f"{other.settings.server_id}:2".encode()

    await eventually(taken_over)
    owner.signal(signal.SIGCONT)
    reports = await asyncio.gather(*playing)

    async def fenced() -> bool:
        return b"match_fenced" in owner.log.read_bytes()

    await eventually(fenced)
    _check_acknowledged(reports)
    for report in reports:
        assert [event.sequence for event in report.events] == sorted({event.sequence for event in report.events})
        assert report.interruptions[-1].to_server == other.settings.server_id


async def test_a_drain_hands_matches_over_and_exits_with_0(spawn: Any, new_match: Any, player: Any) -> None:
    owner, other = await spawn(), await spawn()
    spec = await new_match(owner.settings.server_id, seconds=5.0)
    playing = await _play(player, spec, f"ws://127.0.0.1:{owner.settings.port}", 3)
    owner.signal(signal.SIGTERM)
    assert await owner.wait() == 0
    reports = await asyncio.gather(*playing)
    _check_acknowledged(reports)
    for report in reports:
        [interruption] = report.interruptions
        assert interruption.from_server == owner.settings.server_id
        assert interruption.to_server == other.settings.server_id


async def _redirect(url: str, match_id: str, token: str, seated: asyncio.Event) -> Redirect:
    """Join by a plain WebSocket, and return the redirect that the server sends when it drains."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=("mj1.msgpack",)) as ws:
        await ws.send_bytes(MSGPACK.encode(Hello(match_id, token)))
        while True:
            message = MSGPACK.decode_server(await ws.receive_bytes())
            if isinstance(message, Welcome):
                seated.set()
            elif isinstance(message, Redirect):
                return message


@pytest.mark.parametrize("asked_by", ["signal", "operator"])
async def test_a_drain_hands_over_long_before_the_lease_ends(
    spawn: Any, new_match: Any, player: Any, issuer: Any, redis: Redis, eventually: Any, asked_by: str
) -> None:
    """Use a lease of ten minutes, so that only a hand-over, and not the end of the lease, can move the match."""
    owner, other = await spawn(lease_seconds=600.0), await spawn(lease_seconds=600.0)
    name, url = owner.settings.server_id, f"ws://127.0.0.1:{owner.settings.port}/play"
    spec = await new_match(name, seconds=5.0)
    playing = await _play(player, spec, url, 2)
    seated = asyncio.Event()
    redirect = asyncio.create_task(_redirect(url, spec.match_id, issuer.token("watcher"), seated))
    await asyncio.wait_for(seated.wait(), 60)
    assert await redis.get(keys.lease(spec.match_id)) == f"{name}:1".encode()
    if asked_by == "signal":
        owner.signal(signal.SIGTERM)
    else:
        await draining.request(redis, name)
    assert await asyncio.wait_for(redirect, 60) == Redirect(f"ws://127.0.0.1:{other.settings.port}/play", "drain")
    reports = await asyncio.gather(*playing)
    _check_acknowledged(reports)
    assert [report.interruptions[-1].to_server for report in reports] == [other.settings.server_id] * 2
    if asked_by == "signal":
        assert await owner.wait() == 0
        assert b"hand_over_incomplete" not in owner.log.read_bytes()


async def test_a_single_server_continues_its_matches_after_a_restart(spawn: Any, new_match: Any, player: Any) -> None:
    first = await spawn(server_id="game-alone")
    spec = await new_match("game-alone", seconds=5.0)
    playing = await _play(player, spec, f"ws://127.0.0.1:{first.settings.port}", 2, others=False)
    first.signal(signal.SIGKILL)
    await first.wait()
    await spawn(server_id="game-alone", port=first.settings.port)
    _check_acknowledged(await asyncio.gather(*playing))


async def test_a_match_survives_a_redis_that_loses_its_data(
    start: Any, new_match: Any, player: Any, redis: Redis, directory: Directory, eventually: Any
) -> None:
    server = await start()
    spec = await new_match(server.host.identity.server_id, seconds=5.0)
    playing = await _play(player, spec, server.host.identity.url, 2, others=False)
    await redis.flushdb()
    reports = await asyncio.gather(*playing)
    _check_acknowledged(reports)
    assert all(report.reconnects == 0 for report in reports)
    await eventually(_finished(redis, spec.match_id))


async def test_a_match_that_ended_but_was_not_published_is_finished_by_another_server(
    spawn: Any, new_match: Any, player: Any, redis: Redis, events: Events, eventually: Any
) -> None:
    unreachable = {"aws_endpoint_url": "http://127.0.0.1:9", "events_topic_arn": events.topic_arn}
    owner = await spawn(**unreachable)
    spec = await new_match(owner.settings.server_id, seconds=0.5)
    report = await Bot(await player("ada").join((spec.match_id, f"ws://127.0.0.1:{owner.settings.port}"))).play()
    owner.signal(signal.SIGKILL)
    await spawn(aws_endpoint_url=events.endpoint, events_topic_arn=events.topic_arn)
    await eventually(_finished(redis, spec.match_id))
    arrived = await asyncio.to_thread(events.received)
    ended = [body for body in arrived.values() if body["type"] == "match.ended"]
    assert [body["payload"] for body in ended] == [report.result]


async def test_a_match_that_no_server_can_restore_is_ended_after_a_few_attempts(
    start: Any, new_match: Any, redis: Redis, events: Events, eventually: Any
) -> None:
    server = await start(aws_endpoint_url=events.endpoint, events_topic_arn=events.topic_arn)
    spec = await new_match("dead", seconds=60.0)
    await redis.set(keys.snapshot(spec.match_id), b"damaged")
    with pytest.raises(UnplayableError):
        await server.host.adopt(spec.match_id)

    async def given_up() -> bool:
        # Let the server try to restore the match again. The server's own sweep may also try to restore the match.
        with contextlib.suppress(UnplayableError):
            await server.host.adopt(spec.match_id)
        return server.host.metrics.matches_failed == 1

    await eventually(given_up)
    await eventually(_finished(redis, spec.match_id))
    assert await redis.get(keys.unreadable(spec.match_id)) == b"3"
    arrived: list[dict[str, Any]] = []

    async def delivered() -> bool:
        arrived.extend((await asyncio.to_thread(events.received)).values())
        return bool(arrived)

    await eventually(delivered)
    [ended] = arrived
    assert (ended["event_id"], ended["type"]) == (f"{spec.match_id}:1", "match.ended")
    assert (ended["payload"]["reason"], ended["payload"]["players"]) == ("aborted", [])


async def test_a_snapshot_of_another_version_waits_for_servers_of_that_version(
    start: Any, new_match: Any, redis: Redis
) -> None:
    server = await start()
    spec = await new_match("dead", seconds=60.0)
    await redis.set(keys.snapshot(spec.match_id), msgspec.msgpack.encode({"version": 99}))
    for _ in range(5):
        with pytest.raises(UnplayableError):
            await server.host.adopt(spec.match_id)
    assert server.host.metrics.matches_failed == 0
