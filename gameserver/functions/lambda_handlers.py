"""Runs the functions on AWS Lambda.

API Gateway calls `api` and `auth`, and SQS calls `persistence`. Operators invoke `ops`, and `mjctl deploy` invokes
`migrate`.

An execution environment of Lambda serves one event at a time, and Lambda freezes it between events. Each execution
environment keeps one event loop, so that later events reuse open connections, the public keys of the user pool and
the data keys.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from gameserver.functions import operations
from gameserver.functions.http import MAX_USER_AGENT, HttpError, Request, Response, bearer_token
from gameserver.functions.persistence import persist
from gameserver.functions.routes import ROUTES, Route, answer
from gameserver.functions.services import Services
from gameserver.functions.viewer import viewer_address
from gameserver.persistence.database import DatabaseUnavailable
from gameserver.persistence.migrate import PATIENCE_SECONDS, MigrationFailed, upgrade
from gameserver.runtime import logs
from gameserver.runtime.auth import is_internal
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")

_ROUTES = {f"{route.method} {route.path}": route for route in ROUTES}
# Servers may close connections of this process while Lambda freezes the process. After a pause of 10 s or more, the
# event loop gets 5 ms to notice closed connections before a call uses them.
_THAW_SECONDS = 10.0
# Seconds that `migrate` reserves for its answer, and for the end of an SQL statement that has reached its time limit.
_ANSWER_SECONDS = 5.0
_INTERNAL = HttpError(500, "internal", "the request failed, its id is in the x-request-id header")


def api(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Answer an event of API Gateway's HTTP API (payload format 2.0), on any route."""
    return _host("api").run(lambda services: respond(event, services))


def auth(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Answer an event of API Gateway's HTTP API, on the routes that receive passwords.

    The routes that receive passwords have a separate Lambda function, which can reach neither PostgreSQL nor Redis.
    """
    return _host("auth").run(lambda services: respond(event, services))


def persistence(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Store the events of a batch of SQS messages.

    The event source mapping of the queue must have `ReportBatchItemFailures`.
    """
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        return _host("persistence").run(lambda services: persist(event, services))


def ops(event: Any, context: Any) -> dict[str, Any]:
    """Run a command for an operator, see `operations`.

    CloudTrail records the operator's identity with the request id.
    """
    # An operator's command has one second less than Lambda gives the invocation, so that `ops` can return the answer in
    # time.
    seconds = context.get_remaining_time_in_millis() / 1000 - 1
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        return _host("ops").run(lambda services: operations.run(event, services, seconds=seconds))


def migrate(_event: Any, context: Any) -> dict[str, Any]:
    """Run the migrations that have not run on the database.

    Returns:
        {heads, applied}: the newest migrations of the database before the run, and the migrations that have run. If the
        migrations failed, {error: {code, migration, message, kept}}. `migration` is the name of the migration that
        failed, or null. `kept` has the names of the migrations that have changed the schema.
    """
    settings = Settings.from_env()
    logs.configure(settings, "migrate")
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    remaining = context.get_remaining_time_in_millis() / 1000
    patience = min(PATIENCE_SECONDS, remaining / 4)
    # The remaining time after the longest wait for the database is for the migrations and the answer.
    seconds = max(1.0, remaining - patience - _ANSWER_SECONDS)
    with structlog.contextvars.bound_contextvars(request_id=context.aws_request_id):
        try:
            progress = upgrade(settings, aws, patience_seconds=patience, seconds=seconds)
        except DatabaseUnavailable as error:
            return _migration_error("database_unavailable", str(error))
        except MigrationFailed as error:
            return _migration_error("migration_failed", error.cause, error.migration, error.kept)
        finally:
            aws.close()
        log.info("schema_up_to_date", applied=progress.applied)
    return {"heads": list(progress.heads), "applied": progress.applied}


def _migration_error(code: str, message: str, migration: str | None = None, kept: Sequence[str] = ()) -> dict[str, Any]:
    return {"error": {"code": code, "migration": migration, "message": message, "kept": list(kept)}}


async def respond(event: Mapping[str, Any], services: Services) -> dict[str, Any]:
    """Answer an event of API Gateway's HTTP API, in the form that API Gateway expects."""
    route = _ROUTES.get(event["routeKey"])
    request_id = str(event["requestContext"]["requestId"])
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        start = time.perf_counter()
        try:
            if route is None:
                raise HttpError(404, "not_found", "not found")
            response = await _answer(route, event, services)
            status, body, headers = response.status, response.body, {}
        except Exception as error:
            failure = error if isinstance(error, HttpError) else _INTERNAL
            if failure is _INTERNAL:
                log.exception("unexpected_error")
            elif failure.status >= 500:
                log.warning("request_failed", code=failure.code, cause=repr(error.__cause__))
            status, body, headers = failure.status, failure.body(), failure.headers()
        milliseconds = round(1000 * (time.perf_counter() - start), 1)
        log.info("request", route=event["routeKey"], status=status, milliseconds=milliseconds)
    return {
        "statusCode": status,
        "headers": {
            "Content-Type": "application/json",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": request_id,
            **headers,
        },
        "body": msgspec.json.encode(body).decode(),
        "isBase64Encoded": False,
    }


async def _answer(route: Route, event: Mapping[str, Any], services: Services) -> Response:
    try:
        await services.direct_calls.admit(event["requestContext"]["http"]["sourceIp"], event.get("headers") or {})
    except KeyUnavailable as error:
        message = "a service that the request needs does not answer, try again shortly"
        raise HttpError(503, "unavailable", message, retry_after_seconds=2) from error
    return await answer(route, _request(route, event, services.settings), services)


def _request(route: Route, event: Mapping[str, Any], settings: Settings) -> Request:
    body = event.get("body") or ""
    claims = _claims(event, settings) if route.player else {}
    # API Gateway writes the names of headers in lower case:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    headers = event.get("headers") or {}
    return Request(
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
        path=event.get("pathParameters") or {},
        query=event.get("queryStringParameters") or {},
        player_id=str(claims.get("sub", "")),
        internal=is_internal(claims.get("cognito:groups")),
        source=viewer_address(
            event["requestContext"]["http"]["sourceIp"], headers.get("x-forwarded-for", ""), settings.edge_networks
        ),
        access_token=bearer_token(headers.get("authorization", "")) if route.player else "",
        user_agent=headers.get("user-agent", "")[:MAX_USER_AGENT],
    )


def _claims(event: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Return the claims of a request's token, whose signature, issuer and expiry the gateway's authorizer has checked.

    The gateway's authorizer also accepts id tokens, because an id token names the game's client as its audience.
    `_claims` refuses id tokens.
    """
    claims: Mapping[str, Any] = event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims", {})
    if claims.get("token_use") != "access" or claims.get("client_id") != settings.client_id:
        raise HttpError(401, "unauthorized", "the request needs an access token of this game, log in again")
    return claims


class _Host:
    """Holds the event loop and the services of an execution environment."""

    def __init__(self, process: str) -> None:
        settings = Settings.from_env()
        logs.configure(settings, process)
        self._loop = asyncio.new_event_loop()
        self._services = Services(settings)
        self._idle_since = time.time()

    def run(self, call: Callable[[Services], Awaitable[T]]) -> T:
        return self._loop.run_until_complete(self._run(call))

    async def _run(self, call: Callable[[Services], Awaitable[T]]) -> T:
        try:
            if time.time() - self._idle_since > _THAW_SECONDS:
                await asyncio.sleep(0.005)
            return await call(self._services)
        finally:
            self._idle_since = time.time()


@functools.cache
def _host(process: str) -> _Host:
    return _Host(process)
