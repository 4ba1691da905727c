"""Access control of an emulated AWS: only programs that have its access key may send requests.

`refusal` checks requests without TLS to this machine's own names. `service_refusal` checks requests by TLS to AWS's
names, of which the emulator verifies the signature itself.

An emulator checks no signature and answers web pages of every origin. Without this guard, any web page in a browser on
this machine and any other user could read the players' data and run code as the developer. The guard refuses three
kinds of requests:

- A request whose `Host` is not a name of this machine, as in an attack by DNS rebinding.
- A request that a browser sends for a web page (`Origin`, `Sec-Fetch-Site`), also a preflight request.
- A request without the emulator's access key id, which is random and as long as a password.

Two public documents need no access key: `/healthz`, and the set of public keys with which the players' tokens are
verified.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LIVENESS_PATH = "/healthz"

_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_KEY_SET = re.compile(r"/[a-z0-9-]+_[A-Za-z0-9]+/\.well-known/jwks\.json")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
_CREDENTIAL = re.compile(r"\bCredential=([^/,\s]+)/")
# AWS documents that access key ids have 16 to 128 characters, so the emulator's well-known keys cannot match: `test`,
# and the twelve digits of an account. https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=\w{16,128}/")
_SIGNED_BY_QUERY = re.compile(r"\w{16,128}/.+")
# Paths of the emulator that AWS's services do not have.
_EMULATOR_PATHS = ("/_", "/health", "/latest/", "/login", "/logout", "/oauth2/", "/restapis/", "/v2/credentials")
_CORS_PREFIX = "access-control-"
_CODE = "UnrecognizedClientException"

logger = logging.getLogger("mjctl.local.guard")


def refusal(access_key_id: str, method: str, path: str, query: str, headers: Mapping[str, str]) -> str | None:
    """Return the reason to refuse a request, or None if the request is allowed.

    Args:
        access_key_id: The access key id that the request must contain.
        method: The HTTP method.
        path: The path of the URL.
        query: The query string of the URL.
        headers: The headers by lower-case name. The values of a repeated header must be joined, so that the guard
            checks each value.
    """
    host = headers.get("host", "")
    name = re.sub(r":\d+$", "", host).lower()
    # Browsers resolve names below `localhost` to this machine only: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    if name not in _HOSTS and not name.endswith(".localhost"):
        return "its Host is not a name of this machine"
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
        return "it comes from a web page"
    if method == "GET" and (path == LIVENESS_PATH or _KEY_SET.fullmatch(path)):
        return None
    credential = _CREDENTIAL.search(headers.get("authorization", ""))
    named = credential[1] if credential else ""
    if not named and "X-Amz-Credential" in query:
        named = parse_qs(query).get("X-Amz-Credential", [""])[0].partition("/")[0]
    if not hmac.compare_digest(named.encode(), access_key_id.encode()):
        return "it does not name the access key of this emulated AWS"
    return None


def service_refusal(path: str, query: str, headers: Mapping[str, str], *, unsigned: bool) -> str | None:
    """Return the reason to refuse a request to a name of AWS, or None if the emulator may check its signature.

    Args:
        path: The path of the URL.
        query: The query string of the URL.
        headers: The headers by lower-case name, as for `refusal`.
        unsigned: True if AWS answers the request without a signature.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
        return "it comes from a web page"
    if path.lower().startswith(_EMULATOR_PATHS) and not unsigned:
        return "its path belongs to the emulator"
    parameters = parse_qs(query)
    by_query = parameters.get("X-Amz-Algorithm") == ["AWS4-HMAC-SHA256"] and _SIGNED_BY_QUERY.fullmatch(
        parameters.get("X-Amz-Credential", [""])[0]
    )
    if unsigned or by_query or _SIGNED.match(headers.get("authorization", "")):
        return None
    return "it has no signature"


class AsgiGuard:
    """Wraps an ASGI application: refuses requests by `refusal`, and removes CORS headers from the responses."""

    def __init__(self, application: AsgiApplication, access_key_id: str) -> None:
        self._application = application
        self._access_key_id = access_key_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Close every WebSocket, because no emulated service uses WebSockets.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = joined_headers(scope)
        method, path = scope["method"], scope["path"]
        query = scope.get("query_string", b"").decode("latin-1")
        reason = refusal(self._access_key_id, method, path, query, headers)
        if reason is not None:
            await refuse(send, scope, reason)
        elif path == LIVENESS_PATH:
            await _respond(send, 200, b"", [])
        else:
            await self._application(scope, receive, _without_cors(send))


class WsgiGuard:
    """Wraps a WSGI application: refuses requests by `refusal`, and removes CORS headers from the responses."""

    def __init__(self, application: WsgiApplication, access_key_id: str) -> None:
        self._application = application
        self._access_key_id = access_key_id

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        reason = refusal(self._access_key_id, method, path, environ.get("QUERY_STRING", ""), headers)
        if reason is not None:
            kind, body = _answer(method, path, reason, headers)
            fields = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-errortype", _CODE)]
            start_response("403 Forbidden", fields)
            return [body]
        if path == LIVENESS_PATH:
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]

        def start(status: str, fields: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [(name, value) for name, value in fields if not name.lower().startswith(_CORS_PREFIX)]
            return start_response(status, kept, *rest)

        return self._application(environ, start)


def joined_headers(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by lower-case name, with the values of a repeated header joined."""
    return _joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])


async def refuse(send: Send, scope: Scope, reason: str) -> None:
    """Answer that a request was refused, and log it."""
    kind, body = _answer(scope["method"], scope["path"], reason, joined_headers(scope))
    await _respond(send, 403, body, [(b"content-type", kind.encode()), (b"x-amzn-errortype", _CODE.encode())])


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _answer(method: str, path: str, reason: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the content type and the body of a refusal, in the format that the caller's SDK reads."""
    logger.warning("refused %s %r: %s", method, path[:200], reason)
    message = f"The request was refused: {reason}."
    if "json" in headers.get("content-type", ""):
        return "application/x-amz-json-1.1", f'{{"__type": "{_CODE}", "message": "{message}"}}'.encode()
    error = f"<Error><Code>{_CODE}</Code><Message>{message}</Message></Error>"
    return "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _without_cors(send: Send) -> Send:
    async def pass_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            prefix = _CORS_PREFIX.encode()
            kept = [(name, value) for name, value in message.get("headers", []) if not name.lower().startswith(prefix)]
            message = {**message, "headers": kept}
        await send(message)

    return pass_on
