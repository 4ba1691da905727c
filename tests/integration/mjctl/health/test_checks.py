from __future__ import annotations

import asyncio
import json
from pathlib import Path

import boto3
import pytest
from redis.asyncio import Redis

from gameserver.runtime.settings import Settings
from mjctl.cli.output.documents.observe import health_fields
from mjctl.health.model import HealthReport, Thresholds
from mjctl.health.runner import run_health
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract

PARTS = ("redis", "cache", "database", "table", "queue", "dead-letters", "topic", "identity", "key")


async def look(contract: Contract, folder: Path, *only: str, **bounds: float) -> HealthReport:
    thresholds = Thresholds().with_overrides(f"{name}={value}" for name, value in bounds.items())
    return await run_health(
        "local", {contract.region: contract}, {contract.region: folder}, only=only or PARTS, thresholds=thresholds
    )


def status(report: HealthReport) -> dict[str, str]:
    return {item.name: str(item.status) for item in report.results}


async def test_all_checks_of_a_new_data_plane_pass(contract: Contract, tmp_path: Path) -> None:
    report = await look(contract, tmp_path)
    assert report.status is CheckStatus.PASS, [item for item in report.results if item.status is not CheckStatus.PASS]
    assert status(report).keys() == {
        "redis",
        "cache",
        "database",
        *(f"table/{key}" for key in contract.tables),
        "queue/persistence",
        "dead-letters/persistence",
        "topic/events",
        "identity",
        "key/data",
    }
    assert all(item.evidence for item in report.results)
    json.dumps(health_fields(report))


def test_no_finding_shows_the_databases_password(contract: Contract, tmp_path: Path) -> None:
    report = asyncio.run(look(contract, tmp_path, "database"))
    secret = json.loads(Path(contract.database.secret.removeprefix("file:")).read_text())["password"]
    assert secret not in json.dumps(health_fields(report))


async def test_the_summary_names_the_address_of_a_redis_that_does_not_answer(
    without_cache: Contract, tmp_path: Path
) -> None:
    report = await look(without_cache, tmp_path, "redis", "cache", "database")
    assert status(report) == {"redis": "pass", "cache": "fail", "database": "pass"}
    (failure,) = [result for result in report.results if result.status is CheckStatus.FAIL]
    assert "redis://127.0.0.1:1/0" in failure.summary


async def test_a_service_that_is_not_redis_counts_as_not_answering(contract: Contract, tmp_path: Path) -> None:
    elsewhere = contract.cache.model_copy(update={"url": contract.aws.endpoint_url.replace("http:", "redis:")})
    report = await look(contract.model_copy(update={"cache": elsewhere}), tmp_path, "cache")
    assert report.status is CheckStatus.FAIL
    assert "the cache does not answer" in report.results[0].summary


async def test_a_database_without_schema_fails(contract: Contract, tmp_path: Path) -> None:
    empty = contract.database.model_copy(update={"name": "game"})
    report = await look(contract.model_copy(update={"database": empty}), tmp_path, "database")
    assert report.status is CheckStatus.FAIL
    assert "no migration has run" in report.results[0].summary


async def test_a_message_that_could_not_be_processed_fails_with_advice(
    contract: Contract, settings: Settings, tmp_path: Path
) -> None:
    sqs = boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    sqs.send_message(QueueUrl=contract.queues["persistence"].dead_letter.url, MessageBody="x")
    report = await look(contract, tmp_path, "queue", "dead-letters")
    assert status(report) == {"queue/persistence": "pass", "dead-letters/persistence": "fail"}
    assert "mjctl queue redrive persistence" in (report.results[1].hint or "")


async def test_thresholds_decide_when_a_queue_warns_or_fails(
    contract: Contract, settings: Settings, tmp_path: Path
) -> None:
    sqs = boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    sqs.send_message(QueueUrl=contract.queues["persistence"].url, MessageBody="x")
    assert (await look(contract, tmp_path, "queue")).status is CheckStatus.PASS
    assert (await look(contract, tmp_path, "queue", queue_depth_warn=1)).status is CheckStatus.WARN
    assert (await look(contract, tmp_path, "queue", queue_depth_fail=1)).status is CheckStatus.FAIL


async def test_a_topic_without_a_subscribed_queue_fails(contract: Contract, settings: Settings, tmp_path: Path) -> None:
    sns = boto3.client("sns", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    lonely = sns.create_topic(Name=f"{settings.environment}-lonely")["TopicArn"]
    report = await look(contract.model_copy(update={"topics": {"events": lonely}}), tmp_path, "topic")
    assert report.status is CheckStatus.FAIL


@pytest.mark.parametrize("part", ["table", "key"])
async def test_a_missing_table_or_key_fails(contract: Contract, tmp_path: Path, part: str) -> None:
    missing = {
        "table": {"tables": {"matches": contract.tables["matches"].model_copy(update={"name": "no-such-table"})}},
        "key": {"keys": {"data": "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"}},
    }[part]
    report = await look(contract.model_copy(update=missing), tmp_path, part)
    assert report.status is CheckStatus.FAIL
    assert report.results[0].hint


async def test_a_disabled_key_fails(contract: Contract, settings: Settings, tmp_path: Path) -> None:
    kms = boto3.client("kms", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    kms.disable_key(KeyId=contract.keys["data"])
    report = await look(contract, tmp_path, "key")
    assert report.status is CheckStatus.FAIL
    assert "Disabled" in report.results[0].summary


async def test_a_cache_that_fills_up_warns_and_then_fails(contract: Contract, tmp_path: Path) -> None:
    redis = Redis.from_url(contract.cache.url)
    used = int((await redis.info("memory"))["used_memory"])
    await redis.config_set("maxmemory", used * 10)
    try:
        bounds = {"cache_memory_percent_warn": 5.0}
        assert (await look(contract, tmp_path, "cache", **bounds)).status is CheckStatus.WARN
        assert (
            await look(contract, tmp_path, "cache", **bounds, cache_memory_percent_fail=6)
        ).status is CheckStatus.FAIL
    finally:
        await redis.config_set("maxmemory", 0)
        await redis.aclose()


async def test_a_state_store_that_may_evict_matches_fails(contract: Contract, tmp_path: Path) -> None:
    async with Redis.from_url(contract.state.url) as redis:
        await redis.config_set("maxmemory-policy", "volatile-lru")
        try:
            report = await look(contract, tmp_path, "redis")
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")
    assert report.status is CheckStatus.FAIL
    assert "may evict running matches, because its policy is volatile-lru" in report.results[0].summary
    assert (await look(contract, tmp_path, "redis")).status is CheckStatus.PASS
