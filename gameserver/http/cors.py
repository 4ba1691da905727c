"""Cross-origin requests: which pages, served from elsewhere, may call the API from a browser.

On AWS the API gateway answers for this; here the API's own host does.
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
    """Answer preflights and allow answers to be read, for pages of `origins` alone.

    Tokens travel in a header that a page has to set itself, so no cookie is ever sent along and none is allowed.
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
        # One answer must not be cached for pages of another origin.
        response.headers["Vary"] = "Origin"
        return response

    return middleware
