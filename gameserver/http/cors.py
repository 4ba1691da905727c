"""Allows pages of other origins to call the API from a browser (CORS).

On AWS the API gateway handles CORS, so only the local API process uses this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

_PREFLIGHT = {
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Allow-Methods": "GET, POST, PUT",
    "Access-Control-Max-Age": "3600",
}


def cross_origin(origins: Collection[str]) -> Middleware:
    """Return a middleware that lets pages of some origins call the API and read its answers.

    The middleware does not allow credentials, because a page sends its access token in a header and the API uses no
    cookies.

    Args:
        origins: origins of the pages, for example `https://play.example.com`.
    """

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if origin not in origins:
            return await handler(request)
        response: web.StreamResponse
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response = web.Response(status=204, headers=_PREFLIGHT)
        else:
            response = await handler(request)
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        response.headers["Access-Control-Allow-Origin"] = origin
        # The header `Vary` tells HTTP caches not to use the answer to one origin for a page of another origin.
        response.headers["Vary"] = "Origin"
        return response

    return middleware
