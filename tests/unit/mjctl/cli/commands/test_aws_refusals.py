"""Tests of every command that calls AWS, while AWS refuses the calls: a message, a documented exit code, no traceback.

A small HTTP server simulates AWS, and answers in the protocol of each service.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mjctl.clients import boto as clients
from mjctl.clients import ops_function
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode
from tests.integration.mjctl.conftest import CommandLine

COMMANDS = (
    ("cache", "stats"),
    ("cache", "hot", "--seconds", "1"),
    ("cache", "keys"),
    ("cache", "ttl", "profile:p1"),
    ("cache", "expire", "profile:p1", "5"),
    ("cache", "invalidate", "profile:p1", "--all-regions"),
    ("cache", "invalidate", "--pattern", "profile:*", "--all-regions"),
    ("cache", "invalidate", "--namespace", "profile", "--all-regions"),
    ("cache", "flush", "--all-regions", "--yes"),
    ("queue", "list"),
    ("queue", "peek", "persistence"),
    ("queue", "redrive", "persistence", "--all-regions"),
    ("queue", "redrive", "persistence", "--all-regions", "--yes"),
    ("queue", "purge", "persistence", "--all-regions", "--yes"),
    ("servers", "list"),
    ("servers", "drain", "game-1", "--yes"),
    ("servers", "restart", "--yes"),
    ("failover", "--region", "us-east-1", "--restore", "--yes"),
)
# One command for each protocol of AWS: STS uses queries, SQS uses JSON, and ECS uses JSON with another content type.
FEW = (COMMANDS[0], COMMANDS[9], COMMANDS[14])


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str
    message: str


EXPIRED = Refusal(403, "ExpiredTokenException", "The security token included in the request is expired")
EXPIRED_IN_QUERY = Refusal(403, "ExpiredToken", "The security token included in the request is expired")
DENIED = Refusal(403, "AccessDeniedException", "User: arn:aws:sts::1:assumed-role/x is not authorized")
THROTTLED = Refusal(400, "ThrottlingException", "Rate exceeded")
BROKEN = Refusal(500, "", "<html>bad gateway</html>")


class Aws:
    """Simulates AWS by a server that answers every request with `refusal`."""

    def __init__(self) -> None:
        self.refusal = EXPIRED
        self.requests = 0
        aws = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                aws.requests += 1
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kind, body = aws._body(self.headers.get("Content-Type", ""))
                self.send_response(aws.refusal.status)
                self.send_header("Content-Type", kind)
                self.send_header("x-amzn-ErrorType", aws.refusal.code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _body(self, content_type: str) -> tuple[str, bytes]:
        code, message = self.refusal.code, self.refusal.message
        if not code:
            return "text/html", message.encode()
        if "json" in content_type:
            return content_type, json.dumps({"__type": code, "message": message}).encode()
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return "text/xml", f"<ErrorResponse>{error}<RequestId>x</RequestId></ErrorResponse>".encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def aws_that_refuses() -> Iterator[Aws]:
    aws = Aws()
    yield aws
    aws.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses between two attempts, which these tests do not need."""
    monkeypatch.setattr(ops_function, "_THROTTLED_ATTEMPTS", 1)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture
def contract(make_contract: Callable[..., Contract]) -> Contract:
    return make_contract()


@pytest.fixture
def mjctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    command = CommandLine({}, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


def production(contract: Contract, url: str | None) -> Contract:
    parts = {
        "aws": {"account_id": contract.aws.account_id, "endpoint_url": url},
        "cache": {
            "access": "ops_function",
            "ops_function_arn": f"arn:aws:lambda:{contract.region}:{contract.aws.account_id}:function:arena-ops",
            "url": "rediss://ops@master.cache.example:6379",
        },
        "fleet": {"kind": "ecs", "cluster": "arena", "service": "arena-game"},
        "managed": {
            "alarm_prefix": "arena-",
            "alarm_topic": f"arn:aws:sns:{contract.region}:1:arena-alarms",
            "api_id": "api",
            "cache_group": "arena",
            "certificate": f"arn:aws:acm:{contract.region}:1:certificate/1",
            "database_cluster": "arena",
            "functions": {"api": "arena-api"},
            "load_balancer": f"arn:aws:elasticloadbalancing:{contract.region}:1:loadbalancer/app/arena/1",
            "primary_region": contract.region,
            "target_group": f"arn:aws:elasticloadbalancing:{contract.region}:1:targetgroup/arena/1",
            "web_acl": f"arn:aws:wafv2:{contract.region}:1:regional/webacl/arena/1",
            "web_domain": "arena.example.com",
        },
    }
    return Contract.parse({**contract.model_dump(), **parts, "target": "aws"})


def check(ran: Any, code: ExitCode, *texts: str) -> None:
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    # The error message may be wrapped at the width of the terminal.
    shown = " ".join(ran.err.split())
    for text in texts:
        assert text in shown


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_the_error_of_an_expired_session_names_the_session(
    mjctl: Any, contract: Contract, aws_that_refuses: Aws, arguments: tuple[str, ...]
) -> None:
    mjctl.contracts = {contract.region: production(contract, aws_that_refuses.url)}
    check(mjctl(*arguments), ExitCode.PERMISSION, "the AWS session has expired", "aws sso login", contract.region)
    document = mjctl(*arguments, "-o", "json").json()
    assert document["error"]["code"] == ExitCode.PERMISSION
    assert aws_that_refuses.requests


@pytest.mark.parametrize(
    ("refusal", "code", "message"),
    [
        (EXPIRED_IN_QUERY, ExitCode.PERMISSION, "the AWS session has expired"),
        (DENIED, ExitCode.PERMISSION, "is not authorized"),
        (THROTTLED, ExitCode.UNREACHABLE, "AWS throttles the call"),
        (BROKEN, ExitCode.UNREACHABLE, "AWS answered with"),
    ],
)
@pytest.mark.parametrize("arguments", FEW, ids=" ".join)
def test_a_refusal_by_aws_has_its_message_and_exit_code(
    mjctl: Any,
    contract: Contract,
    aws_that_refuses: Aws,
    arguments: tuple[str, ...],
    refusal: Refusal,
    code: ExitCode,
    message: str,
) -> None:
    aws_that_refuses.refusal = refusal
    mjctl.contracts = {contract.region: production(contract, aws_that_refuses.url)}
    check(mjctl(*arguments), code, message)


@pytest.mark.parametrize("arguments", FEW, ids=" ".join)
def test_an_endpoint_that_does_not_answer_is_named(mjctl: Any, contract: Contract, arguments: tuple[str, ...]) -> None:
    mjctl.contracts = {contract.region: production(contract, "http://127.0.0.1:1")}
    check(mjctl(*arguments), ExitCode.UNREACHABLE, "does not answer", "http://127.0.0.1:1")


@pytest.mark.parametrize("arguments", FEW, ids=" ".join)
@pytest.mark.parametrize("profile", [None, "nosuch"])
def test_missing_credentials_have_advice(
    mjctl: Any,
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    profile: str | None,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    monkeypatch.setattr(clients, "_sessions", {})
    mjctl.contracts = {contract.region: production(contract, None)}
    advice = "aws configure list-profiles" if profile else "aws sso login"
    check(mjctl(*arguments), ExitCode.PERMISSION, "no AWS credentials can be used", advice)
    monkeypatch.setattr(clients, "_sessions", {})


def test_health_names_the_expired_session_at_each_part(mjctl: Any, contract: Contract, aws_that_refuses: Aws) -> None:
    mjctl.contracts = {contract.region: production(contract, aws_that_refuses.url)}
    parts = ("service", "targets", "table", "queue", "topic", "key", "cache", "certificate", "firewall", "cdn", "dns")
    ran = mjctl("health", *(word for part in parts for word in ("--only", part)), "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    checks = ran.json()["checks"]
    assert {check["name"].split("/")[0] for check in checks} == set(parts)
    assert {check["status"] for check in checks} == {"fail"}
    summaries = [check["summary"] for check in checks]
    assert all("session has expired" in summary for summary in summaries), summaries
    assert all("aws sso login" in check["hint"] for check in checks)


@pytest.mark.parametrize("fail_on", ["fail", "warn", "critical"])
def test_health_without_any_observed_check_is_not_healthy(
    mjctl: Any, contract: Contract, aws_that_refuses: Aws, fail_on: str
) -> None:
    values = production(contract, aws_that_refuses.url).model_dump()
    # An emulated AWS serves no players, so the checks `login` and `match` are skipped.
    unserved = Contract.parse({**values, "endpoints": {**values["endpoints"], "served": False}})
    mjctl.contracts = {contract.region: unserved}
    ran = mjctl("health", "--only", "login", "--only", "match", "--fail-on", fail_on, "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    document = ran.json()
    assert (document["status"], document["healthy"]) == ("skip", False)
    assert f"UNKNOWN: no check could observe {contract.region}" in mjctl("health", "--only", "login").out


def test_a_region_is_not_healthy_if_every_check_was_throttled(
    mjctl: Any, contract: Contract, aws_that_refuses: Aws
) -> None:
    aws_that_refuses.refusal = THROTTLED
    mjctl.contracts = {contract.region: production(contract, aws_that_refuses.url)}
    ran = mjctl("health", "--only", "table", "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    document = ran.json()
    assert (document["status"], document["healthy"]) == ("warn", False)
