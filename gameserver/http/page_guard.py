"""Protects the operations routes from web pages.

Only programs on the machine and in the network may use the operations routes, for example `/metrics`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def without_pages(handler: Handler) -> Handler:
    """Return a handler that refuses requests of web pages with 403, and passes other requests to `handler`.

    A request of a web page has the header `Origin` or a foreign `Sec-Fetch-Site`, unless the page uses DNS rebinding. A
    request of a page that uses DNS rebinding has the page's own name as `Host`. To refuse pages that use DNS rebinding,
    a listener on the loopback address refuses each request whose `Host` is not a name of this machine.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
            return web.Response(status=403, text="this address is not for web pages\n")
        if _on_loopback(request) and not _names_this_machine(request.host):
            return web.Response(status=403, text="the Host header does not name this machine\n")
        return await handler(request)

    return guarded


def _on_loopback(request: web.Request) -> bool:
    address = request.get_extra_info("sockname")
    return isinstance(address, tuple) and ipaddress.ip_address(address[0]).is_loopback


def _names_this_machine(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
