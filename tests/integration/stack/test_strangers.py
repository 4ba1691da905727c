"""Attacks every port and every file of a running region as a web page and as another user of the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.strangers import (
    PAGE_REQUESTS,
    as_nobody,
    exchange,
    http,
    page_answers,
    reachable,
    readable,
)

from .conftest import REGION, Operator

pytestmark = pytest.mark.stack

KEY_OF_NOBODY = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
)
# https://www.postgresql.org/docs/current/protocol-message-formats.html: AuthenticationSASL, and an ErrorResponse.
SASL, ERROR = b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256", b"E"


def folder(operator: Operator) -> Path:
    return operator.home / "local" / REGION


def ports(operator: Operator) -> dict[str, int]:
    """Return the ports of the region by the name of the process."""
    ports: dict[str, int] = json.loads((folder(operator) / "ports.json").read_text())
    return ports


def kind_of(name: str) -> str:
    """Return the kind of the port of the process `name`, which must be a key of EXPECTED."""
    if name.startswith("game-"):
        return "operations" if name.endswith("-ops") else "play"
    return {"cache": "redis", "worker": "operations"}.get(name, name)


def started_with(name: str, port: int) -> bytes:
    """Return the first message with which PostgreSQL answers a connection of the user `name`."""
    body = b"\x00\x03\x00\x00" + b"".join(word.encode() + b"\x00" for word in ("user", name, "database", "game", ""))
    return exchange(port, (len(body) + 4).to_bytes(4, "big") + body)


def expect_redis(port: int) -> None:
    for command in (b"PING", b"KEYS *", b"CONFIG GET dir", b"AUTH default x", b"EVAL return(1) 0"):
        answer = exchange(port, command + b"\r\n")
        assert answer.startswith((b"-NOAUTH", b"-WRONGPASS")), (command, answer)


def expect_postgres(port: int) -> None:
    assert started_with("game", port).startswith(SASL)
    assert started_with("postgres", port).startswith(ERROR)
    assert b"password" not in started_with("postgres", port)


def expect_aws(port: int) -> None:
    json_1_1 = {"Content-Type": "application/x-amz-json-1.1"}
    calls = [
        ("POST", "/2015-03-31/functions", {}, b"{}"),
        ("POST", "/", {**json_1_1, "X-Amz-Target": "AWSCognitoIdentityProviderService.ListUserPools"}, b"{}"),
        ("POST", "/", {**json_1_1, "X-Amz-Target": "TrentService.ListKeys"}, b"{}"),
        ("POST", "/_ministack/reset", {}, b""),
        ("GET", "/_ministack/health", {}, b""),
        ("GET", "/?Action=GetCallerIdentity&X-Amz-Credential=test%2F1", {}, b""),
        ("GET", "/us-east-1_abc/.well-known/openid-configuration", {}, b""),
    ]
    for method, path, headers, body in calls:
        for key in ({}, {"Authorization": KEY_OF_NOBODY}):
            answer = http(port, method, path, {**headers, **key}, body)
            assert answer.status == 403, (path, answer)
            assert not answer.readable_by_a_page
    assert http(port, "GET", "/healthz").status == 200


def expect_api(port: int) -> None:
    for method, path in (("GET", "/v1/profile"), ("PUT", "/v1/profile"), ("POST", "/v1/matches")):
        assert http(port, method, path, body=b"{}").status == 401, path


def expect_operations(port: int) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/healthz", "/readyz", "/metrics"):
            assert http(port, method, path).status == 405


def expect_play(port: int) -> None:
    assert http(port, "GET", "/").status in (400, 404, 426)
    assert http(port, "POST", "/play").status in (400, 404, 405, 426)


EXPECTED: dict[str, Callable[[int], None]] = {
    "redis": expect_redis,
    "postgres": expect_postgres,
    "aws": expect_aws,
    "api": expect_api,
    "operations": expect_operations,
    "play": expect_play,
}


def test_the_region_listens_where_its_ports_say_and_on_loopback_alone(operator: Operator) -> None:
    listening = set()
    for process in operator.processes():
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1"
                listening.add(connection.laddr.port)
    assert listening == set(ports(operator).values())


def test_a_web_page_gets_nothing_from_any_port(operator: Operator) -> None:
    tried = 0
    for name, port in ports(operator).items():
        kind = kind_of(name)
        paths = {"aws": ("/", "/us-east-1_abc/.well-known/jwks.json"), "operations": ("/metrics",)}.get(kind, ("/",))
        for path in paths:
            for request, answer in page_answers(port, path).items():
                tried += 1
                assert not answer.readable_by_a_page, (name, request)
                if kind in ("redis", "postgres"):
                    # A port that does not speak HTTP must close the connection without executing the request.
                    assert answer.status == 0
                    assert b"+OK" not in answer.raw
                elif kind == "api":
                    # The port of the API also serves the public web client. A web page of another origin has no
                    # player's access token, so it must not read data of players.
                    assert answer.status in (200, 403, 404, 405), (name, request, answer)
                elif kind == "play":
                    assert answer.status >= 400, (name, request, answer)
                else:
                    refusals = (403, 405) if kind == "operations" else (403,)
                    assert answer.status in refusals, (name, request, answer)
        if kind == "api":
            for request, answer in page_answers(port, "/metrics").items():
                assert answer.status in (403, 405), (request, answer)
            for request, answer in page_answers(port, "/v1/profile").items():
                assert answer.status in (401, 405), (request, answer)
    assert tried >= len(PAGE_REQUESTS) * len(ports(operator))


def test_every_port_asks_a_stranger_for_credentials(operator: Operator) -> None:
    for name, port in ports(operator).items():
        EXPECTED[kind_of(name)](port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_by_every_port_and_reads_no_file(operator: Operator) -> None:
    files = [path for path in operator.home.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"aws.json", "aws-credentials", "cache.json", "database.json", "redis.conf", "terraform.tfstate"} <= names
    control = Path(operator.contract()["fleet"]["supervisor_socket"])
    assert reachable(control)
    every_port = ports(operator)

    def try_everything() -> dict[str, object]:
        for name, port in every_port.items():
            EXPECTED[kind_of(name)](port)
        return {"uid": os.getuid(), "read": readable(files), "supervisor": reachable(control)}

    assert as_nobody(try_everything) == {"uid": 65534, "read": [], "supervisor": False}


def test_no_secret_is_on_a_command_line_in_the_state_or_in_a_log(operator: Operator) -> None:
    kept = folder(operator) / "secrets"
    secrets = {
        value
        for name in ("aws.json", "cache.json", "database.json")
        for field, value in json.loads((kept / name).read_text()).items()
        if field != "username"
    }
    assert len(secrets) == 4
    for path in kept.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    for process in operator.processes():
        shown = " ".join(process.cmdline()) + json.dumps(process.environ())
        assert not any(secret in shown for secret in secrets), process.name()
    for path in (*folder(operator).glob("terraform/*"), *(folder(operator) / "logs").glob("*")):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert not any(secret in text for secret in secrets), path
