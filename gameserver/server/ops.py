"""The operations port: health checks, metrics for Prometheus, and the server's status for `mjctl`."""

from __future__ import annotations

import os
import time
from typing import Final

from aiohttp import web

from gameserver.http.page_guard import without_pages
from gameserver.server.heartbeat import Heartbeat
from gameserver.server.host import MatchHost
from gameserver.server.metrics import render

_READY_SECONDS: Final = 3.0
"""Age of the last heartbeat in Redis above which the server reports that it is not ready for new players."""


class OpsApp:
    """Answers GET requests for /healthz, /servingz, /readyz, /metrics and /status.

    - /healthz checks nothing: an answer proves that the event loop runs.
    - /servingz reports whether the server takes connections of players, so a draining server fails the check. A load
      balancer must use this check. ECS replaces each task whose load balancer target is unhealthy, and while the state
      store fails over, every server fails /readyz.
    - /readyz reports whether the server can start matches, for which it needs the state store.
    """

    def __init__(self, host: MatchHost, heartbeat: Heartbeat) -> None:
        self._host = host
        self._heartbeat = heartbeat

    def application(self) -> web.Application:
        """Return the aiohttp application of the operations port."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", without_pages(self._healthz))
        app.router.add_get("/servingz", without_pages(self._servingz))
        app.router.add_get("/readyz", without_pages(self._readyz))
        app.router.add_get("/metrics", without_pages(self._metrics))
        app.router.add_get("/status", without_pages(self._status))
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _servingz(self, _: web.Request) -> web.Response:
        if self._host.draining:
            return web.json_response({"status": "draining"}, status=503)
        return web.json_response({"status": "serving"})

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._host.draining:
            return web.json_response({"status": "draining"}, status=503)
        beat = self._heartbeat.last_beat
        if beat == 0 or time.monotonic() - beat > _READY_SECONDS:
            return web.json_response({"status": "redis does not answer"}, status=503)
        return web.json_response({"status": "ready"})

    async def _metrics(self, _: web.Request) -> web.Response:
        body = render(self._host.metrics, self._host.gauges())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self, _: web.Request) -> web.Response:
        host, me = self._host, self._host.identity
        return web.json_response(
            {
                "server_id": me.server_id,
                "zone": me.zone,
                "region": me.region,
                "url": me.url,
                "players": host.players,
                "connections": host.connections,
                "matches": len(host.rooms),
                "matches_without_epoch": host.without_epoch,
                "draining": host.draining,
                "uptime_seconds": round(host.metrics.uptime_seconds, 3),
                "pid": os.getpid(),
                "tick_lateness_p99_ms": round(host.metrics.lateness_ms(0.99), 3),
                "max_players": me.max_players,
            }
        )
