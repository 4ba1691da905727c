"""Builds the bytes that a load balancer sends: requests to targets, responses to clients, and its own answers.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from mjctl.sandbox.stage.http1 import RequestHead, ResponseHead, has_valid_name
from mjctl.sandbox.stage.routes import ListenerRoute

MOST_FORWARDED_ADDRESSES = 30
"""The largest number of addresses in X-Forwarded-For. A request with more addresses gets the status 463."""

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"expect"})
_REPLACED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-amzn-trace-id", b"host"})
_USUAL_PORTS = frozenset({80, 443})
_OWN_REASONS = {460: "Client Closed Request", 463: "Bad Request", 561: "Unauthorized"}


@dataclass(frozen=True)
class OwnAnswer:
    """Describes an answer that a load balancer gives to a client without a target.

    Attributes:
        status: The HTTP status.
        headers: The headers of the answer beside those that a load balancer always sends.
        content_type: The media type of the body.
        body: The body, or None for the standard HTML page that shows the status.
    """

    status: int
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "text/html"
    body: str | None = None


def request_for_target(head: RequestHead, route: ListenerRoute, client: tuple[str, int]) -> bytes:
    """Return the request line and the headers that a load balancer sends to the target.

    Args:
        head: The request of the client.
        route: The listener that received the request.
        client: The address and the port of the client.
    """
    upgrade = head.has_token(b"connection", b"upgrade")
    removed = _HOP_BY_HOP | _REPLACED | (frozenset() if upgrade else frozenset({b"upgrade"}))
    lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
    for header in head.headers:
        if header[0].lower() in removed or (route.drop_invalid_headers and not has_valid_name(header)):
            continue
        lines.append(b"%s: %s" % header)
    host = head.get(b"host") or b""
    lines.append(b"Host: " + (host if route.preserve_host else _host(host, route.port)))
    forwarded = _forwarded_for(head, route, client)
    lines += [b"X-Forwarded-For: " + forwarded] if forwarded else []
    lines += [
        b"X-Forwarded-Proto: " + (b"https" if route.secure else b"http"),
        b"X-Forwarded-Port: %d" % route.port,
        b"X-Amzn-Trace-Id: " + _trace(head.get(b"x-amzn-trace-id")),
        *([b"Connection: Upgrade"] if upgrade else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_for_client(head: ResponseHead, *, close: bool) -> bytes:
    """Return the status line and the headers that a load balancer sends to the client for a target's response."""
    lines = [b"HTTP/1.1 %d %s" % (head.status, head.reason)]
    lines += [b"%s: %s" % header for header in head.headers if header[0].lower() not in _HOP_BY_HOP]
    lines.append(b"Connection: close" if close else b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def own_answer(answer: OwnAnswer, route: ListenerRoute, *, close: bool, without_body: bool) -> bytes:
    """Return the bytes of an answer that a load balancer gives without a target.

    Args:
        answer: The answer.
        route: The listener that received the request.
        close: Whether the load balancer closes the connection after the answer.
        without_body: True to leave out the body, in an answer to a request with the method HEAD.
    """
    title = f"{answer.status} {_reason(answer.status)}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "</body>\r\n</html>\r\n"
    )
    content = (page if answer.body is None else answer.body).encode()
    fields = [
        *([("Server", "awselb/2.0")] if route.server_header else []),
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(content))),
        ("Connection", "close" if close else "keep-alive"),
        *answer.headers,
    ]
    head = f"HTTP/1.1 {title}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1") + (b"" if without_body else content)


def forwarded_addresses(head: RequestHead) -> int:
    """Return the number of addresses in the header X-Forwarded-For of a client's request."""
    given = head.get(b"x-forwarded-for")
    return given.count(b",") + 1 if given else 0


def _reason(status: int) -> str:
    if status in _OWN_REASONS:
        return _OWN_REASONS[status]
    try:
        return HTTPStatus(status).phrase.replace("Timeout", "Time-out") if status == 504 else HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _host(host: bytes, port: int) -> bytes:
    """Return the header Host for a target. The header Host has the listener's port, unless the port is 80 or 443."""
    name, colon, given = host.rpartition(b":")
    if not colon or not given.isdigit():
        name = host
    return name if port in _USUAL_PORTS else b"%s:%d" % (name, port)


def _forwarded_for(head: RequestHead, route: ListenerRoute, client: tuple[str, int]) -> bytes:
    given = head.get(b"x-forwarded-for") or b""
    if route.forwarded_for == "remove":
        return b""
    if route.forwarded_for == "preserve":
        return given
    own = f"{client[0]}:{client[1]}" if route.forwarded_port else client[0]
    return given + b", " + own.encode() if given else own.encode()


def _trace(given: bytes | None) -> bytes:
    """Return the header X-Amzn-Trace-Id for a target: a new Root, or a new Self before the client's Root."""
    fresh = b"1-%08x-%s" % (int(time.time()), secrets.token_hex(12).encode())
    fields = [part.strip() for part in (given or b"").split(b";") if part.strip()]
    if any(part.startswith(b"Self=") for part in fields):
        return b";".join(b"Self=" + fresh if part.startswith(b"Self=") else part for part in fields)
    if any(part.startswith(b"Root=") for part in fields):
        return b";".join([b"Self=" + fresh, *fields])
    return b";".join([b"Root=" + fresh, *fields])
