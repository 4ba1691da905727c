"""Lists faults of a plan, and the checks of functions and game servers that must find the faults."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from production_door import Door
from production_play import PlayedMatch
from production_programs import Programs, functions, variables

from gameserver.runtime import distribution_pass, operator_pass
from tests.tiny_game import address, eventually
from tools.plan_model import Plan

Json = dict[str, Any]
# An address that is not CloudFront's.
_STRANGER = "198.51.100.23"
_TASK_SECONDS = 30.0
_STORED_SECONDS = 30.0


@dataclass(frozen=True)
class Region:
    """Gives the checks the running functions and game servers.

    Attributes:
        client: returns the client of an AWS service, with all permissions.
        programs: the functions and the game servers.
        door: the API.
        email: e-mail address of an account without a second factor.
        password: password of the account.
        token: access token of the account.
        play: plays a match as the player of the account.
        over: set as soon as a check need not wait any longer.
    """

    client: Callable[[str], Any]
    programs: Programs
    door: Door
    email: str
    password: str
    token: str
    play: Callable[[], Awaitable[PlayedMatch]]
    over: threading.Event = field(default_factory=threading.Event)

    def variable(self, function: str, name: str) -> str:
        return variables(functions(self.programs.plan)[function])[f"GAMESERVER_{name}"]

    def api(self, method: str, path: str, body: Json | None = None) -> None:
        answer = self.door.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
        assert answer.status in (200, 201), answer


def logs_in(region: Region) -> None:
    """Log in, which `auth` does by Cognito's operations for servers, after it has counted the call in a table."""
    answer = region.door.request("POST", "/v1/login", {"email": region.email, "password": region.password})
    assert answer.status == 200, answer


def signs_up(region: Region) -> None:
    """Sign up, for which `auth` creates an account, makes a code and sends the code by mail."""
    body = {"display_name": "Mary", "email": f"{uuid.uuid4().hex}@example.com", "password": region.password}
    answer = region.door.request("POST", "/v1/signup", body)
    assert answer.status == 201, answer


def accepts_a_pass(region: Region) -> None:
    """Log in past CloudFront with an operator's pass, which the function decrypts."""
    settings = {name: region.variable("auth", name) for name in ("DATA_KEY_ARN", "PROJECT", "ENVIRONMENT", "REGION")}
    encrypted = region.client("kms").encrypt(
        KeyId=settings.pop("DATA_KEY_ARN"),
        Plaintext=operator_pass.plaintext(time.time() + 60),
        EncryptionContext=operator_pass.context(*settings.values()),
    )
    headers = {operator_pass.HEADER: operator_pass.encode(encrypted["CiphertextBlob"])}
    body = {"email": region.email, "password": region.password}
    answer = region.door.request("POST", "/v1/login", body, headers, peer=_STRANGER)
    assert answer.status == 200, answer
    assert region.door.request("POST", "/v1/login", body, peer=_STRANGER).status == 403


def refuses_other_distributions(region: Region) -> None:
    """Send a request from a network of CloudFront with the pass of another distribution."""
    body = {"email": region.email, "password": region.password}
    answer = region.door.request("POST", "/v1/login", body, {distribution_pass.HEADER: "another"})
    assert answer.status == 403, answer


def changes_the_profile(region: Region) -> None:
    """Change a sealed field of the profile, and read the profile from both databases and the cache."""
    region.api("PUT", "/v1/profile", {"email": "home@example.com"})
    region.api("GET", "/v1/profile")


def finds_a_match(region: Region) -> None:
    """Find a match, for which `api` needs the list of game servers in the state store."""
    region.api("POST", "/v1/matches", {"join": "open", "mode": "probe"})


def stores_a_result(region: Region) -> None:
    """Store the result of a match as `persistence` stores it for a message of the queue."""
    match_id = uuid.uuid4().hex
    now = int(time.time() * 1000)
    player = {"player_id": str(uuid.uuid4()), "display_name": "Mary", "score": 1, "rank": 1}
    result = {"mode": "probe", "reason": "time_up", "started_at_ms": now, "ended_at_ms": now, "players": [player]}
    event = {
        "event_id": f"{match_id}:1",
        "match_id": match_id,
        "occurred_at_ms": now,
        "payload": result,
        "region": region.programs.plan.region,
        "sequence": 1,
        "server_id": "none",
        "type": "match.ended",
    }
    record = {"attributes": {}, "body": json.dumps(event), "messageAttributes": {}, "messageId": match_id}
    answer = region.programs.invoke("persistence", {"Records": [record]})
    assert answer == {"batchItemFailures": []}, answer


def reads_the_queue(region: Region) -> None:
    """Let the queue invoke `persistence`. AWS checks that the queue exists, and that the role may read the queue."""
    from botocore.exceptions import ClientError

    try:
        region.programs.map_queue()
    except ClientError as error:
        raise AssertionError(str(error)) from error


def migrates(region: Region) -> None:
    """Run the migrations, as the master user of the database."""
    answer = region.programs.invoke("migrate", {})
    assert answer.get("applied") == [], answer


def operates(region: Region) -> None:
    """Measure the cache, and list the game servers of the state store, as an operator."""
    for command, part in (("stats", "namespaces"), ("servers", "servers")):
        answer = region.programs.invoke("ops", {"command": command})
        assert part in answer, answer


def starts_a_game_server(region: Region) -> None:
    """Start a further game server, and stop the game server when it listens."""
    arn = region.programs.run_task()
    try:
        task = eventually(lambda: _settled(region.programs.task(arn)), _TASK_SECONDS)
        assert task["lastStatus"] == "RUNNING", task["stoppedReason"]
    finally:
        region.programs.kill_tasks(arn)


def plays_a_match(region: Region) -> None:
    """Play a match, whose result the game server publishes and `persistence` stores."""
    match = asyncio.run(region.play())
    table = json.loads(region.variable("api", "TABLES"))["matches"]
    key = {"match_id": {"S": match.match_id}}

    def ended() -> bool:
        item = region.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
        return bool(item["state"]["S"] == "ended")

    eventually(lambda: ended() or region.over.is_set(), _STORED_SECONDS)


def _settled(task: Json) -> Json | None:
    listening = {c.laddr.ip for c in psutil.net_connections("tcp4") if c.status == "LISTEN"}
    running = task["lastStatus"] == "RUNNING" and address(task) in listening
    return task if running or task["lastStatus"] == "STOPPED" else None


CHECKS = (
    migrates,
    signs_up,
    logs_in,
    accepts_a_pass,
    refuses_other_distributions,
    changes_the_profile,
    finds_a_match,
    stores_a_result,
    reads_the_queue,
    operates,
    plays_a_match,
)
"""Checks that pass with a correct plan."""


@dataclass(frozen=True)
class Fault:
    """Describes a fault of a plan.

    Attributes:
        label: what is wrong.
        change: returns a copy of a plan with the fault.
        check: the check that must find the fault.
        restarts: the function whose process must start again to get the fault and to lose it, or "".
    """

    label: str
    change: Callable[[Plan], Plan]
    check: Callable[[Region], None]
    restarts: str = ""

    def __str__(self) -> str:
        return self.label


def _edited(plan: Plan, kind: str, edit: Callable[[Json], None], **wanted: Any) -> Plan:
    """Return a copy of a plan in which the only resource of a type with the attributes `wanted` is changed."""
    changes = list(plan.document["resource_changes"])
    (index,) = (
        number
        for number, change in enumerate(changes)
        if change["type"] == kind and wanted.items() <= {**change, **(change["change"]["after"] or {})}.items()
    )
    changes[index] = copy.deepcopy(changes[index])
    edit(changes[index]["change"]["after"])
    return Plan(plan.name, plan.region, {**plan.document, "resource_changes": changes})


def _variable(function: str, name: str, value: Callable[[str], str] | None = None) -> Callable[[Plan], Plan]:
    """Remove a variable of a function, or change its value."""

    def edit(after: Json) -> None:
        known = after["environment"][0]["variables"]
        old = known.pop(f"GAMESERVER_{name}")
        if value is not None:
            known[f"GAMESERVER_{name}"] = value(old)
            assert known[f"GAMESERVER_{name}"] != old

    return lambda plan: _edited(plan, "aws_lambda_function", edit, index=function)


def _statement(role: str, sid: str, change: Callable[[Json], None] | None = None) -> Callable[[Plan], Plan]:
    """Remove a statement of a role's policy, or change the statement."""

    def edit(after: Json) -> None:
        document = json.loads(after["policy"])
        (statement,) = (s for s in document["Statement"] if s["Sid"] == sid)
        if change is None:
            document["Statement"].remove(statement)
        else:
            change(statement)
        after["policy"] = json.dumps(document)

    return lambda plan: _edited(plan, "aws_iam_policy", edit, name=f"arena-prod-{plan.region}-{role}")


def _task_variable(name: str) -> Callable[[Plan], Plan]:
    """Remove a variable of the game server."""

    def edit(after: Json) -> None:
        (container,) = json.loads(after["container_definitions"])
        kept = [v for v in container["environment"] if v["name"] != f"GAMESERVER_{name}"]
        assert len(kept) < len(container["environment"])
        after["container_definitions"] = json.dumps([{**container, "environment": kept}])

    return lambda plan: _edited(plan, "aws_ecs_task_definition", edit)


def _condition(key: str, value: str) -> Callable[[Json], None]:
    """Replace the value of a condition that a statement must have."""

    def change(statement: Json) -> None:
        required = statement["Condition"]["StringEquals"]
        assert required[key] != value
        required[key] = value

    return change


def _other_queue(after: Json) -> None:
    after["event_source_arn"] += "-events"


FAULTS = (
    Fault("auth has no right to log players in", _statement("auth-fn", "LogIn"), logs_in),
    Fault("auth has no right to count calls", _statement("auth-fn", "RateLimits"), logs_in),
    Fault("auth has no right to create accounts", _statement("auth-fn", "Accounts"), signs_up),
    Fault("auth has no right to make codes", _statement("auth-fn", "Codes"), signs_up),
    Fault(
        "the condition for mail is too narrow",
        _statement("auth-fn", "Mail", _condition("ses:FromAddress", "reply@example.com")),
        signs_up,
    ),
    Fault(
        "the condition for passes is too narrow",
        _statement("auth-fn", "Passes", _condition("kms:EncryptionContext:purpose", "operators-pass")),
        accepts_a_pass,
    ),
    Fault("auth has no right to read passes", _statement("auth-fn", "DistributionPasses"), logs_in, "auth"),
    Fault(
        "auth requires no pass of the distribution",
        _variable("auth", "DISTRIBUTION_PASSES"),
        refuses_other_distributions,
        "auth",
    ),
    Fault("auth has no user pool", _variable("auth", "USER_POOL_ID"), logs_in, "auth"),
    Fault("api has no right to use the players", _statement("api-fn", "Players"), changes_the_profile),
    Fault("api has no right to use the matches", _statement("api-fn", "Matches"), finds_a_match),
    Fault("api has no right to use the keys", _statement("api-fn", "KeyUse"), changes_the_profile, "api"),
    Fault(
        "api has the wrong name of a table",
        _variable("api", "TABLES", lambda tables: tables.replace("-players", "-player")),
        changes_the_profile,
        "api",
    ),
    Fault("api has no state store", _variable("api", "STATE_URL"), finds_a_match, "api"),
    Fault("migrate has no right to log in", _statement("migrate-fn", "MasterLogIn"), migrates),
    Fault("ops has no right to log in at the cache", _statement("ops-fn", "CacheLogIn"), operates, "ops"),
    Fault("persistence has no right to use the matches", _statement("persistence-fn", "Matches"), stores_a_result),
    Fault(
        "persistence has no right to remember events", _statement("persistence-fn", "ProcessedEvents"), stores_a_result
    ),
    Fault("persistence has no database", _variable("persistence", "DATABASE_HOST"), stores_a_result, "persistence"),
    Fault("persistence has no right to read the queue", _statement("persistence-fn", "OwnQueue"), reads_the_queue),
    Fault(
        "the mapping has the wrong name of the queue",
        lambda plan: _edited(plan, "aws_lambda_event_source_mapping", _other_queue),
        reads_the_queue,
    ),
    Fault("the game server has no state store", _task_variable("STATE_URL"), starts_a_game_server),
    Fault("ECS has no right to pull the image", _statement("game-exec", "PullImage"), starts_a_game_server),
    Fault(
        "the condition for the owners of a match is too narrow",
        _statement("game-task", "MatchEpochs", _condition("dynamodb:ReturnValues", "ALL_OLD")),
        plays_a_match,
    ),
    Fault("the game server has no right to publish", _statement("game-task", "PublishEvents"), plays_a_match),
)
