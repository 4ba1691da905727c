"""Tests of the guard of an emulated AWS: the refused requests and the reasons."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.local.guard import AsgiGuard, WsgiGuard, refusal, service_refusal

KEY = "MJKEYOFTHISREGION"
SIGNED = {
    "host": "127.0.0.1:20001",
    "authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/kms/aws4_request, SignedHeaders=host",
}
KEY_SET = "/us-east-1_Ab3/.well-known/jwks.json"


def reason(method: str = "POST", path: str = "/", query: str = "", **headers: str | None) -> str | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in {**SIGNED, **named}.items() if value is not None}
    return refusal(KEY, method, path, query, kept)


@pytest.mark.parametrize("host", ["127.0.0.1:20001", "localhost:20001", "LOCALHOST", "[::1]:20001", "a.localhost:1"])
def test_a_signed_request_to_a_name_of_this_machine_is_allowed(host: str) -> None:
    assert reason(host=host) is None


@pytest.mark.parametrize(
    "host", ["evil.example:20001", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1", "xlocalhost"]
)
def test_another_host_is_refused_although_the_request_is_signed(host: str) -> None:
    assert "Host" in str(reason(host=host))
    assert "Host" in str(reason("GET", KEY_SET, host=host, authorization=None))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:20001"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "same-origin"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("OPTIONS", "/"), ("GET", KEY_SET), ("GET", "/healthz")])
def test_a_request_of_a_web_page_is_refused(method: str, path: str, headers: dict[str, str]) -> None:
    assert "web page" in str(reason(method, path, **headers))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        KEY,
        f"Bearer {KEY}",
        SIGNED["authorization"].replace(KEY, "test"),
        SIGNED["authorization"].replace(KEY, "000000000000"),
        SIGNED["authorization"].replace(KEY, f"{KEY}X"),
        SIGNED["authorization"].replace(KEY, KEY.lower()),
        SIGNED["authorization"].replace(KEY, "\u00e9"),
        SIGNED["authorization"].replace(KEY, "other") + f", Credential={KEY}/x",
    ],
)
def test_without_the_key_only_the_public_documents_are_served(authorization: str | None) -> None:
    assert "access key" in str(reason(authorization=authorization))
    assert "access key" in str(reason("GET", "/", authorization=authorization))
    assert reason("GET", KEY_SET, authorization=authorization) is None
    assert reason("GET", "/healthz", authorization=authorization) is None
    assert "access key" in str(reason("POST", KEY_SET, authorization=authorization))
    assert "access key" in str(reason("GET", f"/x{KEY_SET}", authorization=authorization))


def test_the_key_of_a_presigned_request_is_read_from_its_query() -> None:
    assert reason("GET", "/", f"X-Amz-Credential={KEY}%2F20260101%2Fa", authorization=None) is None
    assert reason("GET", "/", "X-Amz-Credential=test%2F20260101%2Fa", authorization=None) is not None


async def answered(headers: dict[str, str], kind: str = "http") -> tuple[list[Any], list[Any]]:
    """Return the messages that a caller of the ASGI guard receives, and the requests that reached the emulator."""
    sent: list[Any] = []
    reached: list[Any] = []

    async def emulator(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        cors = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-allow-headers", b"*"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": cors})
        await send({"type": "http.response.body", "body": b"secret"})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    await AsgiGuard(emulator, KEY)(scope, receive, send)
    return sent, reached


async def test_the_cors_headers_of_the_emulator_are_removed() -> None:
    sent, reached = await answered(SIGNED)
    assert len(reached) == 1
    assert sent[0]["headers"] == [(b"x-kept", b"1")]


async def test_a_second_copy_of_a_header_does_not_hide_the_first() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError

    pairs = [*SIGNED.items(), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "none"), ("host", "evil.example")]
    raw = [(name.encode(), value.encode()) for name, value in pairs]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    await AsgiGuard(never, KEY)(scope, never, send)
    assert sent[0]["status"] == 403


async def test_a_refused_request_does_not_reach_the_emulator_and_sdks_can_read_the_error() -> None:
    sent, reached = await answered({**SIGNED, "authorization": "", "content-type": "application/x-amz-json-1.1"})
    assert reached == []
    assert sent[0]["status"] == 403
    assert (b"x-amzn-errortype", b"UnrecognizedClientException") in sent[0]["headers"]
    assert b'"__type": "UnrecognizedClientException"' in sent[1]["body"]
    sent, reached = await answered({**SIGNED, "authorization": ""})
    assert b"<Code>UnrecognizedClientException</Code>" in sent[1]["body"]


async def test_a_websocket_is_refused() -> None:
    sent, reached = await answered(SIGNED, "websocket")
    assert (sent, reached) == ([{"type": "websocket.close", "code": 1008}], [])


def test_the_guard_of_a_wsgi_application_behaves_alike() -> None:
    statuses: list[tuple[str, list[tuple[str, str]]]] = []

    def emulator(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Access-Control-Allow-Origin", "*"), ("X-Kept", "1")])
        return [b"secret"]

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        statuses.append((status, headers))

    guard = WsgiGuard(emulator, KEY)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_HOST": SIGNED["host"]}
    assert b"access key" in b"".join(guard(dict(environ), start))
    assert guard({**environ, "HTTP_AUTHORIZATION": SIGNED["authorization"]}, start) == [b"secret"]
    assert [status for status, _ in statuses] == ["403 Forbidden", "200 OK"]
    assert statuses[1][1] == [("X-Kept", "1")]


SCOPE = "AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/sqs/aws4_request"


class TestServiceRefusal:
    """Tests requests to AWS's names, whose signature the emulator verifies."""

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            ("", {"authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=a"}),
            (f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SCOPE}", {}),
        ],
    )
    def test_a_signed_request_is_allowed(self, query: str, headers: dict[str, str]) -> None:
        assert service_refusal("/", query, headers, unsigned=False) is None

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            ("", {}),
            ("", {"authorization": "Bearer a"}),
            ("", {"authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/a/b/aws4_request"}),
            ("", {"authorization": "AWS4-HMAC-SHA256 Credential=123456789012/20260101/a/b/aws4_request"}),
            (f"X-Amz-Credential={SCOPE}", {}),
            ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=", {}),
            ("AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=a", {}),
        ],
    )
    def test_a_request_without_a_signature_of_a_possible_key_is_refused(
        self, query: str, headers: dict[str, str]
    ) -> None:
        assert "signature" in str(service_refusal("/", query, headers, unsigned=False))
        assert service_refusal("/", query, headers, unsigned=True) is None

    @pytest.mark.parametrize("headers", [{"origin": "null"}, {"sec-fetch-site": "same-origin"}])
    def test_a_web_page_is_refused_also_for_public_operations(self, headers: dict[str, str]) -> None:
        assert "web page" in str(service_refusal("/", "", headers, unsigned=True))

    @pytest.mark.parametrize("path", ["/_ministack/reset", "/LATEST/meta-data/", "/health", "/v2/credentials/a"])
    def test_the_paths_of_the_emulator_are_refused(self, path: str) -> None:
        signed = {"authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}"}
        assert "emulator" in str(service_refusal(path, "", signed, unsigned=False))
