"""Calls the functions of a plan over HTTP, as API Gateway calls them for requests from CloudFront.

The routes and the authorizer are those of the plan. Real API Gateway also checks the signature of a token.
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import jwt
from production_account import DISTRIBUTION_PASS
from production_programs import functions, variables

from gameserver.runtime import distribution_pass
from tools.plan_model import Plan

VIEWER = "192.0.2.44"
"""Address of the players."""

Json = dict[str, Any]


class Answer(NamedTuple):
    """Holds the status and the JSON document of an answer."""

    status: int
    document: Any


class _Route(NamedTuple):
    key: str
    pattern: re.Pattern[str]
    function: str
    authorized: bool


class Door:
    """Answers requests by the functions of a plan.

    Args:
        plan: the plan of a region.
        invoke: invokes a function by its name in the stack. The answer of a failed function has no `statusCode`.

    Attributes:
        called: the keys of the routes that were called.
    """

    def __init__(self, plan: Plan, invoke: Callable[[str, Any], Json]) -> None:
        self._invoke = invoke
        self._edge = edge_address(plan)
        # The plan does not know the id of an integration, so the name of a route's function is in the configuration.
        targets = plan.module(())["module_calls"]["api"]["expressions"]["routes"]["constant_value"]
        self._routes = [
            _Route(key, _pattern(key), targets[key]["target"], route.get("authorization_type") == "JWT")
            for route in plan.resources("aws_apigatewayv2_route")
            for key in (route.get("route_key"),)
        ]
        (authorizer,) = plan.resources("aws_apigatewayv2_authorizer")
        self._authorizer = authorizer.blocks("jwt_configuration")[0]
        self.called: set[str] = set()

    @property
    def routes(self) -> set[str]:
        """Return the keys of all routes."""
        return {route.key for route in self._routes}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        peer: str | None = None,
    ) -> Answer:
        """Answer a request.

        Args:
            method: the HTTP method.
            path: the path with the query.
            body: the JSON document in the body, or None.
            headers: the headers.
            peer: the address from which API Gateway receives the request; None for an address of CloudFront.
        """
        url = urllib.parse.urlsplit(path)
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        for route in self._routes:
            match = route.pattern.fullmatch(f"{method} {url.path}")
            if match is None:
                continue
            claims = self._claims(sent.get("authorization", "")) if route.authorized else {}
            if claims is None:
                return Answer(401, {"message": "Unauthorized"})
            self.called.add(route.key)
            event = _event(route.key, url, match.groupdict(), sent, peer or self._edge)
            if peer is None:
                event["headers"]["x-forwarded-for"] = f"{VIEWER}, {self._edge}"
                event["headers"].setdefault(distribution_pass.HEADER, DISTRIBUTION_PASS)
            if route.authorized:
                event["requestContext"]["authorizer"] = {"jwt": {"claims": _strings(claims), "scopes": None}}
            if body is not None:
                event["body"] = json.dumps(body)
            answer = self._invoke(route.function, event)
            if "statusCode" not in answer:
                return Answer(500, {"message": "Internal Server Error"})
            return Answer(answer["statusCode"], json.loads(answer["body"]))
        return Answer(404, {"message": "Not Found"})

    def _claims(self, header: str) -> Json | None:
        """Return the claims of a token of the authorizer's issuer, or None for another token.

        API Gateway compares the claim `client_id` with the audience if a token has no claim `aud`:
        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
        """
        try:
            claims = jwt.decode(header.removeprefix("Bearer "), options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return None
        audience = claims.get("aud") or claims.get("client_id")
        valid = claims.get("iss") == self._authorizer["issuer"] and audience in self._authorizer["audience"]
        return claims if valid else None


def edge_address(plan: Plan) -> str:
    """Return an address that the functions of a plan know as an address of CloudFront."""
    networks = variables(functions(plan)["auth"])["GAMESERVER_EDGE_NETWORKS"]
    return str(ipaddress.ip_network(networks.split(",")[0]).network_address)


@contextmanager
def listening(door: Door) -> Iterator[str]:
    """Serve a door over HTTP on 127.0.0.1 during the block, and give the block the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = door.request(self.command, self.path, json.loads(body) if body else None, dict(self.headers))
            content = json.dumps(answer.document).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", key))


def _event(
    key: str, url: urllib.parse.SplitResult, parameters: Mapping[str, str], headers: Mapping[str, str], peer: str
) -> Json:
    """Return an event of payload format 2.0.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    event: Json = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": url.path,
        "rawQueryString": url.query,
        "headers": {**headers, "x-forwarded-for": peer},
        "requestContext": {
            "http": {"method": key.split(" ", 1)[0], "path": url.path, "sourceIp": peer},
            "requestId": f"test-{time.monotonic_ns()}",
            "routeKey": key,
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }
    if url.query:
        event["queryStringParameters"] = dict(urllib.parse.parse_qsl(url.query))
    if parameters:
        event["pathParameters"] = dict(parameters)
    return event


def _strings(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return claims as texts, which API Gateway passes. A list has the form `[a b]`."""
    return {
        name: f"[{' '.join(map(str, value))}]" if isinstance(value, list) else str(value)
        for name, value in claims.items()
    }
