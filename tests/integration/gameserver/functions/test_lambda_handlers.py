"""Tests the functions as AWS Lambda runs them: a process receives events in the forms of API Gateway and SQS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import ipaddress
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest

from gameserver.functions.account_codes import AccountCodes, CodePurpose
from gameserver.runtime import distribution_pass, operator_pass
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

PASSWORD = "correct Horse 7 battery"
# A program that acts as the Lambda runtime, and handles one event at a time in one process.
RUNTIME = """
import importlib, json, sys, types
handler = getattr(importlib.import_module("gameserver.functions.lambda_handlers"), sys.argv[1])
context = types.SimpleNamespace(
    aws_request_id="8f507cfc-example",
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:game-ops",
    get_remaining_time_in_millis=lambda: 10_000,
)
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), context)), flush=True)
"""
AUTH_VARIABLES = (
    *("CLIENT_ID", "CODE_KEY_ARN", "ENVIRONMENT", "ISSUER", "JWKS_URL", "MAIL_SENDER", "PROJECT", "REGION"),
    *("TABLES", "USER_POOL_ID"),
)


@dataclasses.dataclass
class Function:
    process: subprocess.Popen[str]
    log: Path

    def invoke(self, event: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(event) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()
        return json.loads(answer)

    def http(self, route: str, body: Any = None, **parts: Any) -> tuple[int, Any, dict[str, str]]:
        answer = self.invoke(http_event(route, body, **parts))
        assert answer.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}
        assert answer["headers"]["Content-Type"] == "application/json"
        assert answer["headers"]["X-Request-Id"] == "JKJaXmPLvHcESHA="
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def http_event(
    route: str,
    body: Any = None,
    *,
    claims: dict[str, Any] | None = None,
    path: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    encoded: bool = False,
    address: str = "192.0.2.1",
    edge: str = "",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return an event of API Gateway's HTTP API, payload format 2.0.

    Args:
        address: address of the player.
        edge: address of CloudFront; "" for a player who calls the API directly.
        headers: further headers of the request.
    """
    method, template = route.split(" ")
    raw_path = template.format(**(path or {}))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": raw_path,
        "rawQueryString": "&".join(f"{name}={value}" for name, value in (query or {}).items()),
        "headers": {
            "content-type": "application/json",
            "host": "api.example.com",
            "user-agent": "agent",
            "x-forwarded-for": f"{address}, {edge}" if edge else address,
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **(headers or {}),
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "r3pmxmplak",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": edge or address,
                "userAgent": "agent",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": "$default",
            "time": "10/Mar/2026:05:16:23 +0000",
            "timeEpoch": 1773119783636,
        },
        "isBase64Encoded": encoded,
    }
    if query:
        event["queryStringParameters"] = query
    if path:
        event["pathParameters"] = path
    if claims is not None:
        # API Gateway passes each claim as a string.
        strings = {name: str(value) for name, value in claims.items()}
        event["requestContext"]["authorizer"] = {"jwt": {"claims": strings, "scopes": None}}
    if body is not None:
        text = json.dumps(body)
        event["body"] = base64.b64encode(text.encode()).decode() if encoded else text
    return event


@pytest.fixture(scope="module")
def settings(make_settings: Any) -> Settings:
    return make_settings()


@pytest.fixture(scope="module")
def start(
    run_environment: Callable[[Settings], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[Function]]:
    @contextlib.contextmanager
    def run(name: str, settings: Settings, only: tuple[str, ...] = ()) -> Iterator[Function]:
        environment = run_environment(settings)
        if only:
            kept = {f"GAMESERVER_{variable}" for variable in only}
            environment = {k: v for k, v in environment.items() if not k.startswith("GAMESERVER_") or k in kept}
        path = tmp_path_factory.mktemp(name) / "log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", RUNTIME, name],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        with process:
            yield Function(process, path)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(15) == 0, path.read_text()

    return run


@pytest.fixture(scope="module")
def api(start: Any, settings: Settings) -> Iterator[Function]:
    with start("api", settings) as function:
        yield function


@pytest.fixture(scope="module")
def tokens(api: Function) -> dict[str, dict[str, Any]]:
    """Return the claims of a player's access token and id token."""
    credentials = {"email": "lambda@example.com", "password": PASSWORD}
    status, _, _ = api.http("POST /v1/signup", {**credentials, "display_name": "Ada"})
    assert status == 201
    status, answer, _ = api.http("POST /v1/login", credentials, encoded=True)
    assert status == 200
    return {kind: jwt.decode(answer[f"{kind}_token"], options={"verify_signature": False}) for kind in ("access", "id")}


def test_two_instances_count_the_guesses_of_a_password_together(start: Any, settings: Settings) -> None:
    body = {"email": "guessed@example.com", "password": "wrong Horse 7 battery"}
    with start("auth", settings, AUTH_VARIABLES) as first, start("auth", settings, AUTH_VARIABLES) as second:
        answers = [first.http("POST /v1/login", body)[0] for _ in range(14)]
        assert answers.count(401) < 14
        status, _, headers = second.http("POST /v1/login", body)
        assert (status, headers["Retry-After"]) in [(429, "1"), (429, "2")]
        # A player at another address can still log in.
        assert second.http("POST /v1/login", body, address="198.51.100.7")[0] == 401


def test_players_behind_one_address_of_cloudfront_have_separate_limits(start: Any, settings: Settings) -> None:
    behind_edge = dataclasses.replace(settings, edge_networks=(ipaddress.ip_network("203.0.113.0/24"),))
    body = {"email": "behind@example.com", "password": "wrong Horse 7 battery"}
    with start("auth", behind_edge, (*AUTH_VARIABLES, "EDGE_NETWORKS")) as function:
        stranger = [
            function.http("POST /v1/login", body, address="198.51.100.7", edge="203.0.113.9") for _ in range(14)
        ]
        assert stranger[-1][0] == 429
        assert function.http("POST /v1/login", body, address="192.0.2.9", edge="203.0.113.9")[0] == 401


def test_requests_through_another_distribution_are_refused(start: Any, settings: Settings) -> None:
    name = distribution_pass.secret_name(settings.project, settings.environment)
    manager = boto3.client("secretsmanager", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    text = distribution_pass.encode([distribution_pass.digest("genuine")])
    secret = manager.create_secret(Name=name, SecretString=text)["ARN"]
    networks = (ipaddress.ip_network("203.0.113.0/24"),)
    behind_edge = dataclasses.replace(settings, edge_networks=networks, distribution_passes=name)
    body = {"email": "through@example.com", "password": "wrong Horse 7 battery"}
    variables = (*AUTH_VARIABLES, "DISTRIBUTION_PASSES", "EDGE_NETWORKS")

    def answer(function: Any, *passes: str) -> int:
        headers = dict.fromkeys([distribution_pass.HEADER], passes[0]) if passes else {}
        status: int = function.http("POST /v1/login", body, edge="203.0.113.9", headers=headers)[0]
        return status

    with start("auth", behind_edge, variables) as function:
        assert [answer(function), answer(function, "forged"), answer(function, "genuine")] == [403, 403, 401]
    manager.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    with start("auth", behind_edge, variables) as function:
        assert answer(function) == 401


def test_calls_past_cloudfront_need_an_operators_pass(start: Any, settings: Settings) -> None:
    behind_edge = dataclasses.replace(settings, edge_networks=(ipaddress.ip_network("203.0.113.0/24"),))
    kms = boto3.client("kms", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    encrypted = kms.encrypt(
        KeyId=settings.data_key_arn,
        Plaintext=operator_pass.plaintext(time.time() + 60),
        EncryptionContext=operator_pass.context(settings.project, settings.environment, settings.region),
    )
    headers = {operator_pass.HEADER: operator_pass.encode(encrypted["CiphertextBlob"])}
    body = {"email": "past@example.com", "password": "wrong Horse 7 battery"}
    with start("auth", behind_edge, (*AUTH_VARIABLES, "DATA_KEY_ARN", "EDGE_NETWORKS")) as function:
        for headers_without_pass in ({}, {operator_pass.HEADER: "AAAA"}):
            status, answer, _ = function.http("POST /v1/login", body, headers=headers_without_pass)
            assert (status, answer["error"]["code"]) == (403, "forbidden")
        assert function.http("POST /v1/login", body, headers=headers)[0] == 401
        assert function.http("POST /v1/login", body, edge="203.0.113.9")[0] == 401


def test_auth_runs_with_its_own_variables_only(start: Any, settings: Settings) -> None:
    kms, ses = (
        boto3.client(name, endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
        for name in ("kms", "sesv2")
    )
    ses.create_email_identity(EmailIdentity="arena.example.com")
    strict = dataclasses.replace(
        settings,
        auto_confirm_sign_up=False,
        code_key_arn=kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"],
        mail_sender="no-reply@arena.example.com",
    )
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    with start("auth", strict, AUTH_VARIABLES) as function, contextlib.closing(aws):
        body = {"email": "strict@example.com", "password": PASSWORD, "display_name": "Grace"}
        status, answer, _ = function.http("POST /v1/signup", body)
        player_id = answer["player_id"]
        assert (status, answer["confirmed"]) == (201, False)
        assert function.http("POST /v1/login", {"email": "strict@example.com", "password": PASSWORD})[0] == 401
        status, answer, headers = function.http("POST /v1/login", {"email": "x@example.com", "password": "wrong"})
        assert (status, answer["error"]["code"]) == (401, "invalid_credentials")
        assert headers["WWW-Authenticate"] == "Bearer"
        assert function.http("POST /v1/login", {"email": 7})[0] == 400
        assert function.http("POST /v1/confirm/resend", {"email": "strict@example.com"})[:2] == (202, {})
        codes = AccountCodes(strict, aws)
        sent = asyncio.run(codes.issue(CodePurpose.CONFIRMATION, player_id, "strict@example.com"))
        code = {"email": " Strict@Example.com", "code": f" {sent} "}
        assert function.http("POST /v1/confirm", code)[:2] == (200, {"confirmed": True})
        assert function.http("POST /v1/confirm", {"email": "x@example.com", "code": "1"})[0] == 400
        assert function.http("POST /v1/login", {"email": "strict@example.com", "password": PASSWORD})[0] == 200
        log = function.log.read_text()
    assert "strict@example.com" not in log
    assert "code_not_sent" not in log
    assert sent not in log
    assert PASSWORD not in log
    assert "192.0.2.1" not in log


def test_api_answers_players(api: Function, tokens: dict[str, Any]) -> None:
    claims = tokens["access"]
    status, profile, _ = api.http("GET /v1/profile", claims=claims)
    assert (status, profile["player_id"], profile["display_name"]) == (200, claims["sub"], "Ada")
    status, changed, _ = api.http("PUT /v1/profile", {"email": "ada@home.example"}, claims=claims)
    assert (status, changed["contact"]["email"]) == (200, "ada@home.example")
    status, board, _ = api.http("GET /v1/leaderboard", query={"limit": "5"})
    # Another test of this file may have stored a result of the player, so the player may be on the leaderboard.
    assert (status, {entry["player_id"] for entry in board["entries"]} - {claims["sub"]}) == (200, set())
    assert api.http("GET /v1/leaderboard", query={"limit": "500"})[0] == 400
    status, answer, _ = api.http("GET /v1/matches/{match_id}", claims=claims, path={"match_id": "nothing"})
    assert (status, answer["error"]["code"]) == (404, "no_such_match")
    status, answer, headers = api.http("POST /v1/matches", {"mode": "sprint"}, claims=claims)
    assert (status, answer["error"]["code"], headers["Retry-After"]) == (503, "no_capacity", "2")
    assert "ada@home.example" not in api.log.read_text()


def test_only_access_tokens_of_this_game_open_the_api(api: Function, tokens: dict[str, Any]) -> None:
    other = {**tokens["access"], "client_id": "another"}
    for claims in (None, {}, tokens["id"], other):
        status, answer, _ = api.http("GET /v1/profile", claims=claims)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


def test_an_unknown_route_is_answered_by_404(api: Function) -> None:
    assert api.http("DELETE /v1/profile")[0] == 404


def test_a_store_that_does_not_answer_causes_503(
    start: Any, settings: Settings, tokens: dict[str, Any], unused_tcp_port: int
) -> None:
    alone = dataclasses.replace(settings, aws_endpoint_url=f"http://127.0.0.1:{unused_tcp_port}")
    with start("api", alone) as function:
        status, answer, headers = function.http("GET /v1/profile", claims=tokens["access"] | {"sub": "nobody"})
        assert (status, answer["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "2")
        assert function.http("GET /v1/leaderboard")[0] == 200


def sqs_event(queue: str, bodies: dict[str, str]) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": message_id,
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue}",
                "awsRegion": "us-east-1",
            }
            for message_id, body in bodies.items()
        ]
    }


def test_persistence_names_failed_messages_and_stores_the_others(
    start: Any, settings: Settings, api: Function, tokens: dict[str, Any]
) -> None:
    player_id, match_id = tokens["access"]["sub"], uuid.uuid4().hex
    player = {"player_id": player_id, "display_name": "Ada", "score": 7, "rank": 1}
    event = {
        "event_id": f"{match_id}:1",
        "type": "match.ended",
        "match_id": match_id,
        "region": "us-east-1",
        "server_id": "game-us-east-1a-1",
        "sequence": 1,
        "occurred_at_ms": int(time.time() * 1000),
        "payload": {"mode": "probe", "reason": "time_up", "started_at_ms": 1, "ended_at_ms": 2, "players": [player]},
    }
    # Fill the cache, so that later reads show whether the cache was invalidated.
    assert api.http("GET /v1/profile", claims=tokens["access"])[1]["matches"] == 0
    api.http("GET /v1/leaderboard")
    good, poison = str(uuid.uuid4()), str(uuid.uuid4())
    batch = sqs_event("persistence", {good: json.dumps(event), poison: "{}"})
    with start("persistence", settings) as function:
        for _ in range(2):
            assert function.invoke(batch) == {"batchItemFailures": [{"itemIdentifier": poison}]}
    profile = api.http("GET /v1/profile", claims=tokens["access"])[1]
    assert (profile["matches"], profile["total_score"]) == (1, 7)
    entries = api.http("GET /v1/leaderboard")[1]["entries"]
    assert [(entry["player_id"], entry["total_score"]) for entry in entries] == [(player_id, 7)]
    dynamodb = boto3.client("dynamodb", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    item = dynamodb.get_item(TableName=settings.tables["matches"], Key={"match_id": {"S": match_id}})["Item"]
    assert item["state"] == {"S": "ended"}


def test_ops_runs_commands_on_the_cache(start: Any, settings: Settings, api: Function) -> None:
    api.http("GET /v1/leaderboard")
    with start("ops", settings, ("PROJECT", "ENVIRONMENT", "REGION", "STATE_URL", "CACHE_URL")) as function:
        listed = function.invoke({"command": "keys", "pattern": "leaderboard:*"})
        assert [entry["key"] for entry in listed["keys"]] == ["top"]
        assert listed["complete"] is True
        assert any(space["name"] == "leaderboard" for space in function.invoke({"command": "stats"})["namespaces"])
        key = {"namespace": "leaderboard", "key": "top"}
        assert 0 < function.invoke({"command": "ttl", **key})["ttl_seconds"] <= 300
        assert function.invoke({"command": "expire", **key, "ttl_seconds": 60}) == {"found": True}
        plan = function.invoke({"command": "invalidate_pattern", "pattern": "leader*:*", "dry_run": True})
        assert (plan["matched"], plan["removed"]) == (1, 0)
        assert function.invoke({"command": "invalidate", **key}) == {"found": True}
        assert function.invoke({"command": "invalidate", **key}) == {"found": False}
        first = function.invoke({"command": "invalidate_namespace", "namespace": "leaderboard"})
        second = function.invoke({"command": "invalidate_namespace", "namespace": "leaderboard"})
        assert second["generation"] == first["generation"] + 1
        for bad in ({}, {"command": "flushall"}, {"command": "ttl"}, {"command": "ttl", **key, "x": 1}, [], "x"):
            assert function.invoke(bad)["error"]["code"] == "invalid_request"
        assert function.log.read_text().count('"operation"') >= 9
