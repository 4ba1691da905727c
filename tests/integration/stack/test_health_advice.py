"""Breaks the part that a check of `health` observes, follows the printed advice, and expects the check to pass.

The test runs each command between backquotes as the advice prints it. A step that an operator takes without a command
is a function in `Case.steps`, by the text of the advice that asks for the step.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gameserver.cache import DistributedCache
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import cache, database
from mjctl.health.registry import checks_for
from mjctl.local.supervisor import SupervisorClient
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, eventually

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

GAMES = tuple(f"game-{REGION}{zone}-1" for zone in "abc")
TABLES = ("table/matches", "table/players", "table/processed_events", "table/rate_limits")
SECONDS = 120.0
_COMMAND = re.compile(r"`([^`]+)`")
_CHECK = re.compile(r"\bchecks? `")
# Commands that ask before they change something, so that the test confirms them.
_ASKS = re.compile(r"^mjctl (deploy|servers restart|cache flush|queue redrive|failover)\b")


@dataclass
class Bench:
    """Holds the region that a case breaks, and the steps that undo the fault."""

    operator: Operator
    undo: ExitStack

    @property
    def contract(self) -> Contract:
        return Contract.parse(self.operator.contract())

    @property
    def supervisor(self) -> SupervisorClient:
        return SupervisorClient(Path(self.contract.fleet.supervisor_socket or ""), scope=self.contract.scope)

    def aws(self, service: str, operation: str, **parameters: Any) -> Any:
        with RegionClients(self.contract) as clients:
            return getattr(clients.client(service), operation)(**parameters)

    def look(self, checks: tuple[str, ...], thresholds: tuple[str, ...]) -> dict[str, Any]:
        only = [word for check in checks for word in ("--only", check)]
        bounds = [word for threshold in thresholds for word in ("--threshold", threshold)]
        ran = self.operator.run("health", "--region", REGION, *only, *bounds, "--output", "json")
        assert ran.code in (ExitCode.OK, ExitCode.UNHEALTHY), ran.stderr
        return {item["name"]: item for item in ran.json()["checks"]}

    def follow(self, command: str) -> None:
        """Run one command of an advice."""
        words = shlex.split(command)
        if words[0] != "mjctl":
            # In an advice, a command of another program than mjctl only shows files or settings. A wrong path or option
            # in a command of another program fails the test.
            subprocess.run(words, check=True, capture_output=True)
            return
        extra = ["--yes"] if _ASKS.match(command) else []
        ran = self.operator.run(*words[1:], *extra)
        assert ran.code == ExitCode.OK, f"{command}: exit code {ran.code}\n{ran.stderr}"


@dataclass(frozen=True)
class Case:
    """Describes one fault.

    Attributes:
        fault: function that breaks the region.
        checks: the names of the checks that must fail.
        thresholds: the thresholds of `mjctl health` with which the checks fail.
        steps: text of an advice -> function that does what the text asks for.
    """

    fault: Callable[[Bench], None]
    checks: tuple[str, ...]
    thresholds: tuple[str, ...] = ()
    steps: dict[str, Callable[[Bench], None]] = field(default_factory=dict)


def _supervisor_killed(bench: Bench) -> None:
    os.kill(bench.supervisor.pid(), signal.SIGKILL)


def _stopped(*names: str) -> Callable[[Bench], None]:
    def fault(bench: Bench) -> None:
        for name in names:
            bench.supervisor.stop(name)

    return fault


def _process_killed(bench: Bench) -> None:
    process = bench.supervisor.process("api")
    assert process is not None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.5)


def _drained(bench: Bench) -> None:
    assert bench.operator.run("servers", "drain", GAMES[0], "--region", REGION, "--yes").code == ExitCode.OK


def _worker_stopped_with_a_message_waiting(bench: Bench) -> None:
    bench.supervisor.stop("worker")
    bench.aws("sqs", "send_message", QueueUrl=bench.contract.queues["persistence"].url, MessageBody=_event("waiting"))


def _dead_letter(bench: Bench) -> None:
    url = bench.contract.queues["persistence"].dead_letter.url
    bench.aws("sqs", "send_message", QueueUrl=url, MessageBody=_event("dead"))


def _event(match: str) -> str:
    """Return the JSON of an event that the worker accepts."""
    match = f"{match}-{time.time_ns()}"
    payload = {"mode": "arena", "seats": 2}
    return json.dumps(
        {
            "event_id": f"{match}:1", "type": "match.started", "match_id": match, "region": REGION,
            "server_id": GAMES[0], "sequence": 1, "occurred_at_ms": 1, "payload": payload,
        }
    )  # fmt: skip


def _data_plane_broken(bench: Bench) -> None:
    contract = bench.contract
    bench.aws("dynamodb", "delete_table", TableName=contract.tables["matches"].name)
    bench.aws("dynamodb", "delete_table", TableName=contract.tables["processed_events"].name)
    bench.aws("dynamodb", "delete_table", TableName=contract.tables["rate_limits"].name)
    off = {"Enabled": False, "AttributeName": "expires_at"}
    name = contract.tables["players"].name
    bench.aws("dynamodb", "update_time_to_live", TableName=name, TimeToLiveSpecification=off)
    bench.aws("sqs", "delete_queue", QueueUrl=contract.queues["persistence"].url)
    bench.aws("sqs", "delete_queue", QueueUrl=contract.queues["persistence"].dead_letter.url)
    bench.aws("sns", "delete_topic", TopicArn=contract.topics["events"])
    bench.aws("kms", "schedule_key_deletion", KeyId=contract.keys["data"], PendingWindowInDays=7)


def _unsubscribed(bench: Bench) -> None:
    topic = bench.contract.topics["events"]
    for subscription in bench.aws("sns", "list_subscriptions_by_topic", TopicArn=topic)["Subscriptions"]:
        bench.aws("sns", "unsubscribe", SubscriptionArn=subscription["SubscriptionArn"])


def _pool_gone(bench: Bench) -> None:
    bench.aws("cognito-idp", "delete_user_pool", UserPoolId=bench.contract.identity.user_pool_id)


def _cache_full(bench: Bench) -> None:
    async def fill() -> None:
        with RegionClients(bench.contract) as clients:
            async with cache(bench.contract, clients) as redis:
                # The test writes many small values, because Redis still holds the buffer of a large command when `used`
                # is read. The values are random, because the cache compresses values.
                for piece in range(100):
                    await DistributedCache(redis).set(
                        "filler", str(piece), secrets.token_hex(200_000), ttl_seconds=3600
                    )
                used = int((await redis.info("memory"))["used_memory"])
                await redis.config_set("maxmemory", used * 5 // 4)

    async def unlimited() -> None:
        with RegionClients(bench.contract) as clients:
            async with cache(bench.contract, clients) as redis:
                await redis.config_set("maxmemory", 0)

    asyncio.run(fill())
    bench.undo.callback(lambda: asyncio.run(unlimited()))


_PROGRAM = """
import asyncio, asyncpg, json, sys
async def main():
    options = json.loads(sys.argv[1])
    password = json.load(open(sys.argv[2]))["password"]
    held = [await asyncpg.connect(**options, password=password) for _ in range(30)]
    print("held", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
_leaks: list[subprocess.Popen[str]] = []


def _connections_leak(bench: Bench) -> None:
    part = bench.contract.database
    options = {
        "host": part.host, "port": part.port, "database": part.name, "user": part.user,
        "server_settings": {"application_name": "leaking-report"},
    }  # fmt: skip
    command = [sys.executable, "-c", _PROGRAM, json.dumps(options), part.secret.removeprefix("file:")]
    leak = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _leaks.append(leak)
    bench.undo.callback(lambda: (leak.kill(), leak.wait()))
    assert leak.stdout is not None
    with leak.stdout:
        assert leak.stdout.readline() == "held\n"


def _end_the_leak(_: Bench) -> None:
    leak = _leaks.pop()
    leak.kill()
    leak.wait()


def _schema_gone(bench: Bench) -> None:
    async def drop() -> None:
        with RegionClients(bench.contract) as clients:
            async with database(bench.contract, clients) as connection:
                await connection.execute("drop schema public cascade; create schema public")

    asyncio.run(drop())


def _no_backup(bench: Bench) -> None:
    """Remove the backups of earlier tests."""
    bench.operator.remove_backups()


def _wait(_: Bench) -> None:
    """Do nothing: the advice is to wait, and `eventually` checks again."""


AWS_PARTS = (*TABLES, "queue/persistence", "dead-letters/persistence", "topic/events", "identity", "key/data")
CASES: dict[str, Case] = {
    "no backup yet": Case(_no_backup, ("backup",)),
    "a process has ended unexpectedly": Case(
        _process_killed, ("process/api",), ("restart_window_seconds=20",), {"passes again in a few seconds": _wait}
    ),
    "a server was drained": Case(_drained, (f"process/{GAMES[0]}", f"server/{GAMES[0]}")),
    "the state store has stopped": Case(_stopped("redis"), ("process/redis", "redis")),
    "the cache has stopped": Case(_stopped("cache"), ("process/cache", "cache")),
    "PostgreSQL has stopped": Case(_stopped("postgres"), ("process/postgres", "database")),
    "the emulated AWS has stopped": Case(_stopped("aws"), ("process/aws", *AWS_PARTS)),
    "the API has stopped": Case(_stopped("api"), ("process/api", "api", "login", "match")),
    "the worker has stopped": Case(
        _worker_stopped_with_a_message_waiting,
        ("process/worker", "worker", "queue/persistence"),
        ("queue_depth_warn=1",),
        {"if the check `worker` fails, follow the advice of that check": _wait},
    ),
    "all game servers have stopped": Case(
        _stopped(*GAMES), (*(f"process/{name}" for name in GAMES), *(f"server/{name}" for name in GAMES), "match")
    ),
    "a message has failed for good": Case(_dead_letter, ("dead-letters/persistence",)),
    "parts of the data plane were deleted": Case(
        _data_plane_broken, (*TABLES, "queue/persistence", "dead-letters/persistence", "topic/events", "key/data")
    ),
    "the queue was unsubscribed": Case(_unsubscribed, ("topic/events",)),
    "the user pool was deleted": Case(_pool_gone, ("identity",)),
    "the cache is full": Case(_cache_full, ("cache",)),
    "connections leak": Case(
        _connections_leak,
        ("database",),
        ("database_connections_percent_warn=25",),
        {"end the program that opened the connections: leaking-report has the most, 30": _end_the_leak},
    ),
    "the schema is gone": Case(_schema_gone, ("database",)),
    # The case of the killed supervisor is the last case, because its advice replaces every process.
    "the supervisor was killed": Case(
        _supervisor_killed,
        ("supervisor", *(f"process/{name}" for name in ("redis", "cache", "postgres", "aws", *GAMES))),
    ),
}
ELSEWHERE = {"certificate": "test_tls.py::test_a_certificate_near_its_end_is_replaced_by_the_next_deploy"}


def test_every_check_of_a_local_region_has_a_case(operator: Operator) -> None:
    """Fail for a new check until it has a case in CASES."""
    contract = Contract.parse(operator.contract())
    encrypted = contract.model_copy(update={"ca_file": "/nowhere/authority.pem"})
    covered = {check for case in CASES.values() for check in case.checks} | set(ELSEWHERE)
    assert {check.name for check in checks_for(encrypted)} == covered


@pytest.mark.parametrize("name", CASES)
def test_following_the_advice_cures_the_check(operator: Operator, name: str) -> None:
    case = CASES[name]
    with ExitStack() as undo:
        bench = Bench(operator, undo)
        # The checks of the case must pass before the fault, so that the fault causes their failure. Only the check
        # `backup` may fail before the fault, if no test has made a backup.
        if case.fault is not _no_backup:
            eventually(lambda: _all(bench, case, "pass"), SECONDS, f"{case.checks} pass before the fault")
        case.fault(bench)
        eventually(lambda: _all(bench, case, "warn", "fail"), SECONDS, f"{case.checks} see the fault")
        checks = bench.look(case.checks, case.thresholds)
        for check, item in checks.items():
            assert item["hint"], f"{check} gives no advice: {item}"
        _follow(bench, case, [item["hint"] for item in checks.values() if item["status"] != "pass"])
        eventually(lambda: _all(bench, case, "pass"), SECONDS, f"{case.checks} pass after the advice was followed")


def _all(bench: Bench, case: Case, *statuses: str) -> bool:
    return {item["status"] for item in bench.look(case.checks, case.thresholds).values()} <= set(statuses)


def _follow(bench: Bench, case: Case, hints: list[str]) -> None:
    """Run every command of the hints once, and take the steps that the hints describe without a command."""
    done: set[str] = set()
    for hint in hints:
        steps = [step for words, step in {**case.steps, "look again": _wait}.items() if words in hint]
        text = _CHECK.sub("check ", hint) if steps else hint
        commands = [command for command in _COMMAND.findall(text) if command.startswith(("mjctl ", "tail ", "aws "))]
        assert steps or any(command.startswith("mjctl ") for command in commands), f"nothing to do: {hint}"
        for step in steps:
            step(bench)
        for command in commands:
            if command not in done:
                done.add(command)
                bench.follow(command)
