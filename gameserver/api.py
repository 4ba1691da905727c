"""The process `gameserver api`, which serves the HTTP API with aiohttp."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from functools import partial
from pathlib import Path

import msgspec
import structlog
from aiohttp import web
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gameserver.cache import CacheCounters
from gameserver.functions.http import MAX_BODY_BYTES, MAX_USER_AGENT, HttpError, Request, Response, bearer_token
from gameserver.functions.routes import ROUTES, Route, answer
from gameserver.functions.services import Services
from gameserver.http.cors import cross_origin
from gameserver.http.hosting import Handler, Readiness, listen, operations_routes, stop_signal
from gameserver.http.web_files import WebClient
from gameserver.modes import check_modes
from gameserver.runtime import logs
from gameserver.runtime.auth import InvalidToken, KeysUnavailable, Player, TokenVerifier
from gameserver.runtime.settings import Settings
from gameserver.runtime.tls import server_context

log = structlog.get_logger()

REQUESTS = Counter("gameserver_api_requests_total", "Requests by route and status", ("method", "route", "status"))
SECONDS = Histogram("gameserver_api_request_seconds", "Time to answer, by route", ("method", "route"))

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}\Z")
_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "body_too_large"}
_TOO_LARGE = f"the body must be at most {MAX_BODY_BYTES} bytes"
_INTERNAL = HttpError(500, "internal", "the request failed, its id is in the x-request-id header")


def run(settings: Settings) -> int:
    """Serve the API until SIGTERM, finish the requests that have begun, and return 0.

    Raises:
        SettingsError: an environment variable is missing, a mode cannot be played, or the folder of the setting
            `web_dir` has no web client.
    """
    check_modes(settings)
    logs.configure(settings, "api")
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = stop_signal()
    services = Services(settings)
    try:
        runner = await listen(application(services), settings.host, settings.port, server_context(settings))
        try:
            await stopping.wait()
            log.info("stopping")
        finally:
            await runner.cleanup()
    finally:
        await services.close()
    return 0


def application(services: Services) -> web.Application:
    """Return the aiohttp application of the API. The caller closes `services`."""
    # Read here each property of `services` that the API needs, because a property reads its settings when it is first
    # read. A missing environment variable is therefore an error at the start of the API process, not at a player's
    # first request.
    readiness = Readiness(
        {
            "postgres": services.database.ping,
            "state": services.directory.ping,
            "cache": services.cache.ping,
            "dynamodb": services.tables.ping,
        }
    )
    verifier = services.verifier
    _ = services.sealer
    middlewares = [_observed, cross_origin(services.settings.cors_allow_origins), _errors_as_json]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app.add_routes(operations_routes(readiness))

    async def handle(route: Route, request: web.Request) -> web.Response:
        player_id, internal, token = "", False, ""
        if route.player:
            token = bearer_token(request.headers.get("Authorization", ""))
            player = await _authorised(token, verifier)
            player_id, internal = player.id, player.internal
            structlog.contextvars.bind_contextvars(player_id=player_id)
        api_request = Request(
            # The middleware `hosting.body_in_time` has already read the body, so `request.read()` does not wait.
            body=await request.read(),
            path=dict(request.match_info),
            query=dict(request.query),
            player_id=player_id,
            internal=internal,
            source=request.remote or "",
            access_token=token,
            user_agent=request.headers.get("User-Agent", "")[:MAX_USER_AGENT],
        )
        return _as_json(await answer(route, api_request, services))

    for route in ROUTES:
        app.router.add_route(route.method, route.path, partial(handle, route))

    async def play_addresses() -> list[str]:
        return [server.url for server in await services.directory.servers()]

    if services.settings.web_dir:
        app.add_routes(WebClient(Path(services.settings.web_dir), services.settings.modes, play_addresses).routes())
    REGISTRY.register(_CacheCollector(services.cache.counters))
    return app


async def _authorised(token: str, verifier: TokenVerifier) -> Player:
    if not token:
        raise HttpError(401, "unauthorized", "send an access token in the header: Authorization: Bearer <token>")
    try:
        return await verifier.verify(token)
    except KeysUnavailable as error:
        raise HttpError(503, "identity_unavailable", str(error), retry_after_seconds=2) from error
    except InvalidToken as error:
        raise HttpError(401, "unauthorized", str(error)) from error


def _as_json(response: Response) -> web.Response:
    return web.Response(
        status=response.status, body=msgspec.json.encode(response.body), content_type="application/json"
    )


def _error(error: HttpError) -> web.Response:
    response = _as_json(Response(error.status, error.body()))
    response.headers.update(error.headers())
    return response


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HttpError as error:
        if error.status >= 500:
            log.warning("request_failed", code=error.code, cause=repr(error.__cause__))
        return _error(error)
    except web.HTTPException as error:
        code = _CODES.get(error.status, "bad_request")
        message = _TOO_LARGE if error.status == 413 else error.reason.lower()
        response = _error(HttpError(error.status, code, message))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("unexpected_error")
        return _error(_INTERNAL)


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a request an id, count the request, measure the time until its answer, and log its route.

    The log line of a request contains neither its URL nor the client's network address.
    """
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    method = request.method if resource is not None else "unknown"
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        start = time.perf_counter()
        response = await handler(request)
        seconds = time.perf_counter() - start
        response.headers["X-Request-Id"] = request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        REQUESTS.labels(method, route, response.status).inc()
        SECONDS.labels(method, route).observe(seconds)
        if route.startswith("/v1/") or response.status >= 400:
            log.info(
                "request", method=method, route=route, status=response.status, milliseconds=round(seconds * 1000, 1)
            )
    return response


class _CacheCollector(Collector):
    def __init__(self, counters: CacheCounters) -> None:
        self._counters = counters

    def collect(self) -> list[Metric]:
        family = CounterMetricFamily("gameserver_cache_reads", "Reads through the cache by outcome", labels=["outcome"])
        for outcome in ("hits", "near_hits", "misses", "loads", "not_stored", "bypassed"):
            family.add_metric([outcome], getattr(self._counters, outcome))
        return [family]
