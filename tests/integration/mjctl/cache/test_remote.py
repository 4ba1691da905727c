"""Tests a private cache through the ops function, with an emulated Lambda and a real Redis.

The tests cover long sweeps, the function's log, the rights of the function's Redis user, and errors.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from redis.asyncio import Redis

from gameserver.cache import DistributedCache, SweepProgress, SyncDistributedCache
from gameserver.cluster.directory import Directory, ServerInfo
from gameserver.runtime.settings import Settings
from gameserver.server.process import end_tasks
from mjctl.cache import remote
from mjctl.cache.access import flush, invalidate_key, invalidate_namespace, with_cache
from mjctl.cache.model import split_name
from mjctl.cli.commands.cache.change import _Sweeps
from mjctl.clients import ops_function
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError, UnreachableError
from mjctl.models.exit_codes import ExitCode
from tests.integration.mjctl.ops_lambda import ops_lambda

KEYS = 3000
FORBIDDEN = (["GET", "{m:1}:lease"], ["DEL", "{m:1}:lease"], ["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"])
GAME_SERVER = ServerInfo("game-1", "us-east-1a", "http://127.0.0.1:1", 0, 0, 10, draining=True)
STACK = Path(__file__).parents[4] / "terraform" / "stacks" / "region" / "main.tf"


def behind(contract: Contract, arn: str) -> Contract:
    access = {"access": "ops_function", "ops_function_arn": arn, "url": "rediss://nobody@master.cache.example:6379"}
    return contract.model_copy(update={"cache": contract.cache.model_copy(update=access)})


@pytest.fixture
def private(contract: Contract, settings: Settings) -> Iterator[Contract]:
    with ops_lambda(settings) as arn:
        yield behind(contract, arn)


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """Fill the namespace `big` with 3000 keys."""
    async with Redis.from_url(settings.cache_url) as client:
        generation = await DistributedCache(client).invalidate_namespace("big")
        pipeline = client.pipeline(transaction=False)
        for number in range(KEYS):
            pipeline.set(f"cache:{{big}}:{generation}:{number}", b"\x01", ex=300)
        await pipeline.execute()
        yield client


def logged(settings: Settings, event: str) -> list[dict[str, Any]]:
    """Return the lines of the event `event` from the function's log in CloudWatch."""
    logs = boto3.client("logs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    group = f"/aws/lambda/{settings.environment}-ops"
    messages = [item["message"] for item in logs.filter_log_events(logGroupName=group)["events"]]
    lines = [line for message in messages for line in message.splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line.get("event") == event]


async def test_a_sweep_of_several_invocations_reports_progress_and_counts_all_keys(
    private: Contract, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SLICE_SECONDS", 0.3)
    reports: list[SweepProgress] = []
    dry = await with_cache(private, lambda opened: opened.invalidate_pattern("big:*", dry_run=True))
    assert (dry.matched, dry.removed) == (KEYS, 0)
    done = await with_cache(
        private,
        lambda opened: opened.invalidate_pattern(
            "big:*", dry_run=False, max_keys_per_second=2500, on_progress=reports.append
        ),
    )
    assert (done.removed, done.resume_token) == (KEYS, None)
    assert await redis.keys("cache:{big}:*") == []
    assert reports
    assert [report.removed for report in reports] == sorted(report.removed for report in reports)
    assert done.keys_per_second < 4000


async def test_an_interrupted_sweep_continues_from_its_token(
    private: Contract, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SLICE_SECONDS", 0.1)
    reports: list[SweepProgress] = []

    def stop(progress: SweepProgress) -> None:
        reports.append(progress)
        sweep.cancel()

    sweep = asyncio.create_task(
        with_cache(
            private,
            lambda opened: opened.invalidate_pattern(
                "big:*", dry_run=False, max_keys_per_second=1500, on_progress=stop
            ),
        )
    )
    with pytest.raises(asyncio.CancelledError):
        await sweep
    left = len(await redis.keys("cache:{big}:*"))
    assert left == KEYS - reports[-1].removed
    rest = await with_cache(
        private, lambda opened: opened.invalidate_pattern("big:*", dry_run=False, resume_token=reports[-1].resume_token)
    )
    assert rest.removed == left > 0


def test_ctrl_c_shows_how_to_resume_the_sweep(
    mjctl: Any, private: Contract, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SLICE_SECONDS", 0.1)
    with SyncDistributedCache(settings.cache_url) as cache:
        for number in range(1500):
            cache.set("big", str(number), 1, ttl_seconds=300)
    original = _Sweeps.of

    def interrupt_after_the_first(self: Any, region: str) -> Any:
        on_progress = original(self, region)

        def interrupt(progress: SweepProgress) -> None:
            on_progress(progress)
            signal.raise_signal(signal.SIGINT)

        return interrupt

    mjctl.contracts = {private.region: private}
    sweep = ("cache", "invalidate", "--pattern", "big:*")
    with monkeypatch.context() as patch:
        patch.setattr(_Sweeps, "of", interrupt_after_the_first)
        ran = mjctl(*sweep, "--all-regions", "--max-keys-per-second", "500")
    assert ran.code == ExitCode.INTERRUPTED
    (stopped,) = re.findall(
        r"stopped after (\d+) keys; repeat the command with --resume (big:\d+)", " ".join(ran.err.split())
    )
    assert 0 < int(stopped[0]) < 1500
    resumed = mjctl(*sweep, "--resume", stopped[1], "--region", private.region, "-o", "json")
    assert resumed.code == ExitCode.OK, resumed.err
    assert resumed.json()["regions"][0]["removed"] == 1500 - int(stopped[0])


async def test_the_functions_log_names_operator_and_command(private: Contract, settings: Settings) -> None:
    await with_cache(private, lambda opened: opened.ttl(*split_name("profile:p1")))
    sts = boto3.client("sts", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    caller = sts.get_caller_identity()["Arn"]
    for _ in range(20):
        started = [line for line in logged(settings, "operation") if line["key"] == "p1"]
        requests = {line["request_id"] for line in started}
        ended = [line for line in logged(settings, "operation_ended") if line["request_id"] in requests]
        if ended:
            break
        # The emulator adds the last lines of a function to the log of the next invocation, so the test makes another
        # invocation.
        await with_cache(private, lambda opened: opened.ttl(*split_name("profile:other")))
    assert [(line["command"], line["operator"]) for line in started] == [("ttl", caller)]
    assert [(line["outcome"], line["operator"]) for line in ended] == [("done", caller)]


@asynccontextmanager
async def heartbeats(redis: Redis, server: ServerInfo) -> AsyncIterator[None]:
    """Renew the entry of `server` in the registry of game servers, as a running server does."""
    directory = Directory(redis)

    async def beat() -> None:
        while True:
            await directory.heartbeat(server)
            await asyncio.sleep(0.2)

    await directory.heartbeat(server)
    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        await end_tasks([beating])
        await directory.deregister(server.id)


async def test_the_functions_redis_user_can_access_the_cache_but_no_match(
    contract: Contract, settings: Settings, redis: Redis
) -> None:
    # The test reads the access strings of both Redis users `ops` from the stack `region`.
    accesses = re.findall(r'ops +?= \{ access = "([^"]+)" \}', STACK.read_text(encoding="utf-8"))
    urls = {}
    for name, access in zip(("state", "cache"), accesses, strict=True):
        user = f"{settings.environment}-{name}-ops"
        await redis.execute_command("ACL", "SETUSER", user, *access.split(), ">only-for-this-test")
        parts = urlsplit(getattr(settings, f"{name}_url"))
        urls[name] = parts._replace(netloc=f"{user}:only-for-this-test@{parts.netloc.rpartition('@')[2]}").geturl()
    state = Redis.from_url(settings.state_url)
    await state.set("{m:1}:lease", "server-1:7")
    await state.set("cache:{profile}:1:p1", "a key of the state store with a name of the cache", ex=300)
    try:
        for url in urls.values():
            async with Redis.from_url(url) as limited:
                for command in FORBIDDEN:
                    with pytest.raises(Exception, match=r"(?i)noperm|permission"):
                        await limited.execute_command(*command)
        with ops_lambda(settings, STATE_URL=urls["state"], CACHE_URL=urls["cache"]) as arn:
            private = behind(contract, arn)
            assert (await with_cache(private, lambda opened: opened.stats())).total_keys > KEYS
            assert (await with_cache(private, lambda opened: opened.list_keys("big:*", limit=5, sizes=True))).truncated
            assert (await with_cache(private, lambda opened: opened.hot_keys(seconds=1, limit=5))).sampled_keys > KEYS
            assert await with_cache(private, lambda opened: opened.expire(*split_name("big:1"), 100))
            assert await with_cache(private, lambda opened: invalidate_key(opened, *split_name("big:1"), dry_run=False))
            assert (
                await with_cache(private, lambda opened: opened.invalidate_pattern("big:2*", dry_run=False))
            ).removed > 1000
            assert (
                await with_cache(private, lambda opened: invalidate_namespace(opened, "big", dry_run=False))
            ).generation
            assert (await with_cache(private, lambda opened: flush(opened, dry_run=False))).keys > 0
            async with ops_function.ops_function(private) as function:
                assert await function.run("servers") == {"servers": [], "drains": {}}
                assert await function.run("drain", server_id="game-1") == {"found": False}
                assert (await function.run("state"))["policy"] == "noeviction"
                async with heartbeats(state, GAME_SERVER):
                    assert await function.run("drain", server_id="game-1", message="patch") == {"found": True}
                    answer = await function.run("servers")
                assert [server["id"] for server in answer["servers"]] == ["game-1"]
                drain = answer["drains"]["game-1"]
                assert (drain["by"], drain["message"]) == (function.operator, "patch")
        assert await state.get("{m:1}:lease") == b"server-1:7"
        assert await state.exists("cache:{profile}:1:p1")
    finally:
        await state.aclose()
        for name in urls:
            await redis.execute_command("ACL", "DELUSER", f"{settings.environment}-{name}-ops")


async def error_of(contract: Contract) -> MjctlError:
    with pytest.raises(MjctlError) as raised:
        await with_cache(contract, lambda opened: opened.stats())
    assert contract.region in str(raised.value)
    return raised.value


async def test_the_error_says_that_the_redis_behind_the_function_does_not_answer(
    contract: Contract, settings: Settings
) -> None:
    with ops_lambda(settings, CACHE_URL="redis://127.0.0.1:1/0") as arn:
        error = await error_of(behind(contract, arn))
    assert error.exit_code is ExitCode.UNREACHABLE
    assert "cannot use the cache" in error.what
    assert "aws logs tail /aws/lambda/" in (error.hint or "")


@pytest.mark.parametrize(
    ("code", "seconds", "message"),
    [
        ("def handler(event, context):\n    raise KeyError('x')\n", 60, "the ops function failed: "),
        ("import time\ndef handler(event, context):\n    time.sleep(5)\n", 1, "timed out"),
        ("def handler(event, context):\n    return 7\n", 60, "not a JSON object"),
        ("import nothing_like_it\n", 60, "the ops function failed"),
    ],
)
async def test_the_error_describes_a_failure_of_the_function(
    contract: Contract, settings: Settings, code: str, seconds: int, message: str
) -> None:
    with ops_lambda(settings, code=code, timeout_seconds=seconds) as arn:
        error = await error_of(behind(contract, arn))
    assert isinstance(error, UnreachableError)
    assert message in error.what


async def test_a_missing_function_is_not_found_and_the_advice_is_to_deploy(contract: Contract) -> None:
    arn = f"arn:aws:lambda:{contract.region}:{contract.aws.account_id}:function:nowhere-ops"
    error = await error_of(behind(contract, arn))
    assert isinstance(error, NotFoundError)
    assert "mjctl deploy" in (error.hint or "")


async def test_a_throttled_function_is_invoked_again_and_then_reported_as_throttled(
    private: Contract, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_function, "_THROTTLED_ATTEMPTS", 2)
    client = boto3.client("lambda", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    name = str(private.cache.ops_function_arn).rsplit(":", 1)[-1]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    error = await error_of(private)
    assert isinstance(error, UnreachableError)
    assert "TooManyRequestsException" in error.what
    client.delete_function_concurrency(FunctionName=name)
    assert (await with_cache(private, lambda opened: opened.stats())).clients >= 1
