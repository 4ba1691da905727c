"""Tests the bytes that a load balancer writes to its targets and its clients.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mjctl.sandbox.stage.forwarding import OwnAnswer, own_answer, request_for_target, response_for_client
from mjctl.sandbox.stage.http1 import RequestHead, parse_request, parse_response
from mjctl.sandbox.stage.routes import ListenerRoute

ROUTE = ListenerRoute(
    address="127.64.0.2",
    port=443,
    balancer="app/game/1",
    secure=True,
    certificate=None,
    key=None,
    only_tls_1_3=False,
    obstacle=None,
    rules=[],
    firewall=None,
    idle_seconds=60,
    keep_alive_seconds=3600,
    drop_invalid_headers=False,
    forwarded_for="append",
    forwarded_port=False,
    preserve_host=False,
    server_header=True,
)


def forwarded(*headers: bytes, route: ListenerRoute = ROUTE) -> RequestHead:
    head = parse_request(b"\r\n".join([b"GET /play HTTP/1.1", b"Host: play.example.com:8443", *headers]))
    return parse_request(request_for_target(head, route, ("203.0.113.7", 5000)).removesuffix(b"\r\n\r\n"))


def test_the_target_learns_the_client_the_protocol_and_the_port() -> None:
    head = forwarded(b"X-Forwarded-Proto: http", b"X-Forwarded-Port: 1")
    assert head.get(b"x-forwarded-for") == b"203.0.113.7"
    assert (head.get(b"x-forwarded-proto"), head.get(b"x-forwarded-port")) == (b"https", b"443")


@pytest.mark.parametrize(
    ("mode", "given", "result"),
    [
        ("append", b"192.0.2.1", b"192.0.2.1, 203.0.113.7"),
        ("preserve", b"192.0.2.1", b"192.0.2.1"),
        ("preserve", None, None),
        ("remove", b"192.0.2.1", None),
    ],
)
def test_forwarded_addresses_follow_the_mode(mode: str, given: bytes | None, result: bytes | None) -> None:
    headers = [b"X-Forwarded-For: " + given] if given else []
    assert forwarded(*headers, route=replace(ROUTE, forwarded_for=mode)).get(b"x-forwarded-for") == result


def test_the_port_of_the_client_is_added_on_request() -> None:
    assert forwarded(route=replace(ROUTE, forwarded_port=True)).get(b"x-forwarded-for") == b"203.0.113.7:5000"


@pytest.mark.parametrize(
    ("port", "preserve", "host"),
    [(443, False, b"play.example.com"), (9000, False, b"play.example.com:9000"), (443, True, b"play.example.com:8443")],
)
def test_the_host_has_the_port_of_an_unusual_listener(port: int, host: bytes, *, preserve: bool) -> None:
    assert forwarded(route=replace(ROUTE, port=port, preserve_host=preserve)).get(b"host") == host


def test_headers_with_invalid_names_are_removed_on_request() -> None:
    assert forwarded(b"X_One: 1").get(b"x_one") == b"1"
    assert forwarded(b"X_One: 1", route=replace(ROUTE, drop_invalid_headers=True)).get(b"x_one") is None


def test_headers_of_the_connection_are_removed_except_those_of_an_upgrade() -> None:
    plain = forwarded(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Upgrade: h2c", b"Expect: 100-continue")
    assert {name.lower() for name, _ in plain.headers}.isdisjoint({b"connection", b"keep-alive", b"upgrade", b"expect"})
    upgrade = forwarded(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket")
    assert (upgrade.get(b"connection"), upgrade.get(b"upgrade")) == (b"Upgrade", b"websocket")


def test_each_request_has_a_trace_id() -> None:
    fresh, known = forwarded().get(b"x-amzn-trace-id"), forwarded(b"X-Amzn-Trace-Id: Root=1-a;Self=1-b")
    assert fresh is not None
    assert fresh.startswith(b"Root=1-")
    assert (known.get(b"x-amzn-trace-id") or b"").startswith(b"Root=1-a;Self=1-")


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "Forbidden"), (463, "Bad Request"), (502, "Bad Gateway"), (504, "Gateway Time-out")]
)
def test_own_answers_have_the_page_of_aws(status: int, reason: str) -> None:
    answer = own_answer(OwnAnswer(status), ROUTE, close=True, without_body=False)
    raw, body = answer.split(b"\r\n\r\n", 1)
    head = parse_response(raw)
    assert (head.status, head.reason.decode()) == (status, reason)
    assert (head.get(b"server"), head.get(b"connection")) == (b"awselb/2.0", b"close")
    assert int(head.get(b"content-length") or 0) == len(body)
    assert f"<h1>{status} {reason}</h1>".encode() in body
    hidden = own_answer(OwnAnswer(status), replace(ROUTE, server_header=False), close=False, without_body=True)
    assert b"Server:" not in hidden
    assert hidden.endswith(b"\r\n\r\n")


def test_responses_pass_with_the_connection_of_the_client() -> None:
    head = parse_response(b"HTTP/1.0 404 Not Found\r\nServer: game\r\nConnection: close")
    assert response_for_client(head, close=False) == (
        b"HTTP/1.1 404 Not Found\r\nServer: game\r\nConnection: keep-alive\r\n\r\n"
    )
