"""Hosts the aiohttp applications of `gameserver api` and `gameserver worker`.

This module has the readiness checks, the operations routes, and the start and the stop of a process.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gameserver.http.page_guard import without_pages

log = structlog.get_logger()

# The result of a readiness check is reused for 1 s, to limit the number of checks when many requests for /readyz
# arrive.
_FRESH_SECONDS = 1.0
_CHECK_SECONDS = 2.0
_GRACE_SECONDS = 5.0

_BODY_SECONDS = 10.0
"""Time limit for the body of a request. A body of 16 KiB takes 10 s at 13 kbit/s."""

_IDLE_SECONDS = 75.0
"""Time limit from the start of a connection, or from its last answer, to the end of the next request's headers.

The limit must be longer than the 60 s for which a load balancer keeps an idle connection. With a shorter limit, the
load balancer would send requests on closed connections.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
"""

_LINGER_SECONDS = 2.0
"""Time after an answer in which the server receives and drops the rest of an unread body."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readiness:
    """Checks whether each dependency of a process answers.

    Args:
        checks: name of a dependency -> function that checks the dependency. A check returns if the dependency answers,
            and raises any exception if the dependency does not answer.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks
        self._states: dict[str, str] = {}
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()

    async def look(self) -> dict[str, str]:
        """Check all dependencies within two seconds, or return a result that is at most one second old.

        Returns:
            Name of a dependency -> `ok`, or the error of its check.
        """
        async with self._checking:
            if time.monotonic() - self._checked_at > _FRESH_SECONDS:
                states = await asyncio.gather(*(self._check(check) for check in self._checks.values()))
                self._states = dict(zip(self._checks, states, strict=True))
                self._checked_at = time.monotonic()
        return self._states

    async def ready(self) -> bool:
        """Return True if all dependencies answer."""
        return all(state == "ok" for state in (await self.look()).values())

    @staticmethod
    async def _check(check: Callable[[], Awaitable[object]]) -> str:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await check()
        except Exception as error:
            return str(error) or type(error).__name__
        return "ok"


def operations_routes(readiness: Readiness) -> list[web.RouteDef]:
    """Return the routes for programs that monitor the process.

    * `GET /healthz` answers 200 if the event loop runs.
    * `GET /readyz` answers with the state of each dependency: status 200 if all dependencies answer, or 503 if one does
      not.
    * `GET /metrics` answers with the metrics for Prometheus.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        states = await readiness.look()
        ready = all(state == "ok" for state in states.values())
        body = {"status": "ready" if ready else "not ready", "dependencies": states}
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    routes: dict[str, Handler] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return [web.get(path, without_pages(handler)) for path, handler in routes.items()]


def stop_signal() -> asyncio.Event:
    """Return an asyncio event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


@web.middleware
async def body_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the whole body of a request before the handler runs, so that a slow body cannot occupy the handler.

    Raises:
        HTTPRequestTimeout: the body has not arrived within 10 s.
        HTTPRequestEntityTooLarge: the body exceeds the application's `client_max_size`.
        HTTPBadRequest: the client closed the connection, or the encoding of the body is wrong.
    """
    if request.can_read_body:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason=f"the body must arrive within {_BODY_SECONDS:g} s") from None
        except (ConnectionError, web.RequestPayloadError):
            raise web.HTTPBadRequest(reason="the body of the request is incomplete") from None
    return await handler(request)


def make_runner(application: web.Application) -> web.AppRunner:
    """Return a runner of `application` whose connections have time limits for headers and bodies."""
    # aiohttp runs the last middleware inside all other middlewares, so the application's own middlewares handle the
    # errors of `body_in_time`.
    application.middlewares.append(body_in_time)
    return web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=_GRACE_SECONDS,
        keepalive_timeout=_IDLE_SECONDS,
        lingering_time=_LINGER_SECONDS,
        handle_signals=False,
    )


async def listen(
    application: web.Application, host: str, port: int, ssl_context: ssl.SSLContext | None = None
) -> web.AppRunner:
    """Start to serve an application.

    Args:
        application: the application.
        host: address to listen on.
        port: port to listen on, or 0 for any free port.
        ssl_context: certificate for HTTPS, or None to serve HTTP.

    Returns:
        The runner of the application. `cleanup` of the runner waits up to five seconds for requests in progress.

    Raises:
        OSError: the port is in use.
    """
    runner = make_runner(application)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
    log.info("listening", host=runner.addresses[0][0], port=runner.addresses[0][1])
    return runner
