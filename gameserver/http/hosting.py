"""What `gameserver api` and `gameserver worker` share as aiohttp hosts: readiness, operators' routes, life and end."""

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

# An answer this fresh is given again: many probes must not become as many calls.
_FRESH_SECONDS = 1.0
_CHECK_SECONDS = 2.0
_GRACE_SECONDS = 5.0

_BODY_SECONDS = 10.0
"""Time for a request's body: 16 KiB at 13 kbit/s."""

_IDLE_SECONDS = 75.0
"""Time between a connection's start, or its last answer, and the end of the next request's headers. It must be longer
than the 60 s for which a load balancer keeps an idle connection, else the load balancer uses closed connections.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html"""

_LINGER_SECONDS = 2.0
"""Time for the rest of a body that nothing has read, after the answer."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readiness:
    """Whether each dependency answers now.

    Args:
        checks: by name; a check returns when the dependency answers and raises whatever it likes when it does not.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks
        self._found: dict[str, str] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def look(self) -> dict[str, str]:
        """Return `ok` or what is wrong, by dependency; at most two seconds, and at most one second old."""
        async with self._looking:
            if time.monotonic() - self._looked_at > _FRESH_SECONDS:
                found = await asyncio.gather(*(self._check(check) for check in self._checks.values()))
                self._found = dict(zip(self._checks, found, strict=True))
                self._looked_at = time.monotonic()
        return self._found

    async def ready(self) -> bool:
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
    """GET /healthz: the event loop turns. GET /readyz: every dependency answers, else 503. GET /metrics: Prometheus."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        found = await readiness.look()
        ready = all(state == "ok" for state in found.values())
        body = {"status": "ready" if ready else "not ready", "dependencies": found}
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    routes: dict[str, Handler] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return [web.get(path, without_pages(handler)) for path, handler in routes.items()]


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


@web.middleware
async def body_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body before the handler runs, so that a client cannot keep a request open by a body that never ends.

    Raises:
        aiohttp.web.HTTPRequestTimeout: the body has not arrived within 10 s.
        aiohttp.web.HTTPRequestEntityTooLarge: the body is larger than the application's `client_max_size`.
        aiohttp.web.HTTPBadRequest: the client has gone, or the body's encoding is wrong.
    """
    if request.can_read_body:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(reason=f"the body must arrive within {_BODY_SECONDS:g} s") from None
        except (ConnectionError, web.RequestPayloadError):
            raise web.HTTPBadRequest(reason="the body is incomplete") from None
    return await handler(request)


def make_runner(application: web.Application) -> web.AppRunner:
    """Return a runner of `application` whose connections have time limits for headers and bodies."""
    # The last one is the innermost: the application's own middlewares turn its errors into their answers.
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
    """Serve `application`, with TLS only when there is an `ssl_context`.

    `cleanup()` of the returned runner finishes the requests under way, up to five seconds.

    Raises:
        OSError: the port is in use.
    """
    runner = make_runner(application)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
    log.info("listening", host=runner.addresses[0][0], port=runner.addresses[0][1])
    return runner
