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

log = structlog.get_logger()

# An answer this fresh is given again: many probes must not become as many calls.
_FRESH_SECONDS = 1.0
_CHECK_SECONDS = 2.0
_GRACE_SECONDS = 5.0


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

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def listen(
    application: web.Application, host: str, port: int, ssl_context: ssl.SSLContext | None = None
) -> web.AppRunner:
    """Serve `application`, with TLS only when there is an `ssl_context`.

    `cleanup()` of the returned runner finishes the requests under way, up to five seconds.

    Raises:
        OSError: the port is in use.
    """
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=_GRACE_SECONDS, keepalive_timeout=75, handle_signals=False
    )
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
    log.info("listening", host=runner.addresses[0][0], port=runner.addresses[0][1])
    return runner
