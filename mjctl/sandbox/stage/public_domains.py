"""Answers requests to the environment's public domains with ministack's API Gateway and CloudFront.

Before CloudFront answers, the web ACL of the distribution decides on the request, as on AWS:
https://docs.aws.amazon.com/waf/latest/developerguide/cloudfront-waf-use-cases.html

This module calls ministack's API Gateway and CloudFront directly, not through ministack's router. The router would
treat some paths of an API, e.g. `/v2/...`, as requests to AWS services other than API Gateway.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, quote

from mjctl.local.guard import joined_headers
from mjctl.sandbox.stage.aws_names import api_of
from mjctl.sandbox.stage.domains import PublicDomain
from mjctl.sandbox.stage.web_acls import KeptFirewalls
from mjctl.sandbox.stage.web_request import CLOUDFRONT_BODY_BYTES, WebRequest

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, dict[str, Any], bytes]

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
_API_BODY_BYTES = 10 * 1024 * 1024
_JSON = {"Content-Type": "application/json"}
_FORWARDED_PROTO = b"x-forwarded-proto"

logger = logging.getLogger("mjctl.sandbox.stage.public_domains")


async def answer(
    domain: PublicDomain, firewalls: KeptFirewalls | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one request to a public domain of the environment.

    Args:
        domain: The domain that the request names.
        firewalls: Decides on requests by web ACLs; None if the emulator of WAF does not run.
        scope: The request, as ASGI describes it.
        receive: Returns the parts of the request's body.
        send: Sends the answer to the client.
    """
    secure = scope["scheme"] == "https"
    client = str(scope["client"][0])
    headers = joined_headers(scope)
    headers["x-forwarded-proto"] = scope["scheme"]
    body = await _body(receive)
    _pin(scope, domain, client, body, secure=secure)
    if domain.kind == "distribution":
        response = await _from_distribution(domain, firewalls, scope, headers, body)
    elif not secure:
        # API Gateway has no endpoints without TLS: https://aws.amazon.com/api-gateway/faqs/
        response = 403, dict(_JSON), b'{"message":"Forbidden"}'
    elif len(body) > _API_BODY_BYTES:
        response = 413, dict(_JSON), b'{"message":"Request Entity Too Large"}'
    else:
        response = await _from_api(domain, scope, headers, body, client)
    await _respond(send, scope["method"], response)


async def _from_distribution(
    domain: PublicDomain, firewalls: KeptFirewalls | None, scope: Scope, headers: dict[str, str], body: bytes
) -> Answer:
    from ministack.services import cloudfront

    distribution = cloudfront._distributions.get(domain.distribution)
    if distribution is None:
        return 403, dict(_JSON), b'{"message":"Forbidden"}'
    blocked = await _blocked(distribution, firewalls, scope, headers, body)
    if blocked is not None:
        return blocked
    return await _from_origin(
        distribution, scope, scope["method"], scope["path"], _raw_path(scope), _query(scope), headers, body
    )


async def _from_origin(
    distribution: dict[str, Any],
    scope: Scope,
    method: str,
    path: str,
    raw_path: str,
    query: dict[str, list[str]],
    headers: dict[str, str],
    body: bytes,
) -> Answer:
    from ministack.services import cloudfront

    status, fields, content = await cloudfront.handle_viewer_request(
        distribution,
        method,
        path,
        raw_path,
        scope["query_string"].decode("latin-1") if query else "",
        headers,
        body,
        query,
        str(scope["client"][0]),
    )
    return status, fields, content


async def _blocked(
    distribution: dict[str, Any],
    firewalls: KeptFirewalls | None,
    scope: Scope,
    headers: dict[str, str],
    body: bytes,
) -> Answer | None:
    """Return the answer to a request that the web ACL of a distribution refuses, or None for any other request."""
    from ministack.services import cloudfront

    arn = cloudfront._text(cloudfront._dist_config_el(distribution), "WebACLId")
    if not arn or firewalls is None:
        return None
    # The gateway sets the header X-Forwarded-Proto, which the viewer has not sent.
    sent = [(name, value) for name, value in scope["headers"] if name.lower() != _FORWARDED_PROTO]
    request = WebRequest(
        str(scope["client"][0]),
        scope["method"],
        _raw_path(scope),
        scope["query_string"].decode("latin-1"),
        [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in sent],
        body,
        CLOUDFRONT_BODY_BYTES,
    )
    decision = await asyncio.to_thread(firewalls.decide, arn, request)
    if decision is None or decision.allowed:
        return None
    logger.warning("%s: the rule %s refuses %s %s", arn, decision.rule, request.method, request.path)
    if decision.custom:
        # A custom response of the web ACL takes precedence over the error pages of the distribution:
        # https://docs.aws.amazon.com/waf/latest/developerguide/customizing-the-response-for-blocked-requests.html
        fields = {"Content-Type": decision.content_type, **dict(decision.headers)}
        return decision.status, fields, (decision.body or "").encode()
    page = cloudfront.parse_distribution_dataplane_config(distribution)["custom_error_responses"].get(decision.status)
    if page is not None:
        status, fields, content = await _from_origin(
            distribution, scope, "GET", page["page"], page["page"], {}, {**headers, "content-length": "0"}, b""
        )
        return page["response_code"] if status < 400 else decision.status, fields, content
    refused: Answer = cloudfront._cf_error_response(decision.status, "Request blocked.", "Error from cloudfront")
    return refused


async def _from_api(domain: PublicDomain, scope: Scope, headers: dict[str, str], body: bytes, client: str) -> Answer:
    from ministack import app

    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {client}" if before else client
    headers["x-forwarded-port"] = "443"
    headers.setdefault("x-amzn-trace-id", f"Root=1-{token_hex(4)}-{token_hex(12)}")
    api = api_of(domain.name)
    response: Answer | None = await app._handle_execute_api_request(
        f"{api}.execute-api.{app._MINISTACK_HOST}" if api else domain.name,
        scope["path"],
        scope["method"],
        headers,
        body,
        _query(scope),
        raw_path=_raw_path(scope),
        raw_query_string=scope["query_string"].decode("latin-1"),
    )
    if response is None:
        # The domain has no mapping to an API.
        return 403, dict(_JSON), b'{"message":"Forbidden"}'
    status, fields, content = app._with_data_plane_headers(response, str(uuid.uuid4()), wildcard_cors=False)
    return status, fields, content


def _pin(scope: Scope, domain: PublicDomain, client: str, body: bytes, *, secure: bool) -> None:
    """Set ministack's context variables for a request, as ministack's own entry point does."""
    from ministack import app
    from ministack.core import iam_evaluator, responses

    responses.set_request_client_ip(client)
    responses.set_request_account_id("")
    responses.set_request_region(domain.region)
    iam_evaluator.pin_request_origin(client, secure)
    app.pin_signed_request(scope["method"], _raw_path(scope), _query(scope), scope["headers"])
    iam_evaluator.pin_signed_body(body)


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1")


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(parts)


async def _respond(send: Send, method: str, response: Answer) -> None:
    from ministack import app

    status, fields, content = response
    if not any(name.lower() == "content-length" for name in fields):
        fields["Content-Length"] = str(len(content))
    await send({"type": "http.response.start", "status": status, "headers": app._asgi_header_list(fields)})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})
