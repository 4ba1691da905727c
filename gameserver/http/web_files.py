"""The web client as `gameserver api` serves it: the package's own files and nothing else, with strict headers.

Behind a CDN the same files lie in an object store; then `config.json` there tells the client where the API is:

    {"api": "https://api.example.com", "modes": [{"name": "arena", "seats": 10, "duration_seconds": 180}]}

`api`: base address without a trailing slash, "" for the page's own origin. `modes`: what the lobby offers.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

from gameserver.runtime.settings import Mode

log = structlog.get_logger()

RULES: Final = "arena"
"""The rules that the client can draw."""

_SHORTEST_SECONDS: Final = 5.0
"""A shorter mode is a health probe's, not a person's."""

CONTENT_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""What is served, by suffix; anything else in the folder is not."""

_WORTH_COMPRESSING: Final = 512
_ORIGIN: Final = re.compile(r"wss?://[A-Za-z0-9.:\[\]_-]+\Z")
_LOOK_SECONDS: Final = 1.0
_SECURITY_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

PlayAddresses = Callable[[], Awaitable[Iterable[str]]]


@dataclass(frozen=True)
class WebFile:
    """One file in memory. `compressed` is None where gzip would not make it smaller."""

    content_type: str
    body: bytes
    compressed: bytes | None
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> WebFile:
        compressed = gzip.compress(body, 9, mtime=0) if len(body) >= _WORTH_COMPRESSING else None
        return cls(CONTENT_TYPES[PurePath(name).suffix], body, compressed, hashlib.sha256(body).hexdigest()[:32])


def load_files(modes: Sequence[Mode]) -> dict[str, WebFile]:
    """Every file of the client by its name, `config.json` among them, made for a page beside its API."""
    folder = resources.files("gameserver") / "web"
    found = {
        entry.name: WebFile.of(entry.name, entry.read_bytes())
        for entry in folder.iterdir()
        if PurePath(entry.name).suffix in CONTENT_TYPES
    }
    return {**found, "config.json": WebFile.of("config.json", client_config("", modes))}


def client_config(api: str, modes: Sequence[Mode]) -> bytes:
    """The body of `config.json`; modes that a person cannot play with this client are left out."""
    offered = [
        {"name": mode.name, "seats": mode.seats, "duration_seconds": mode.duration_seconds}
        for mode in modes
        if mode.rules == RULES and mode.duration_seconds >= _SHORTEST_SECONDS
    ]
    return msgspec.json.encode({"api": api, "modes": offered})


def content_security_policy(play_origins: Iterable[str]) -> str:
    """Nothing but the page's own files, its API, and the game servers."""
    connect = " ".join(["'self'", *sorted(play_origins)])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def play_origins(addresses: Iterable[str]) -> set[str]:
    """CSP sources for play addresses. Any port of a known host: servers that start later listen on others."""
    found = set()
    for address in addresses:
        parts = urlsplit(address)
        source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if not _ORIGIN.match(source):
            continue
        found.add(f"{source.rsplit(':', 1)[0]}:*" if parts.port is not None else source)
    return found


class WebClient:
    """The routes of the client's files.

    Args:
        modes: what can be played here.
        play_addresses: WebSocket addresses of the game servers alive now; may raise whatever it likes.
    """

    def __init__(self, modes: Sequence[Mode], play_addresses: PlayAddresses) -> None:
        self._files = load_files(modes)
        self._play_addresses = play_addresses
        self._origins: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """One route a file: a name that is none of them never gets near the file system."""
        names = {"/": "index.html", **{f"/{name}": name for name in self._files}}
        return [web.get(path, self._handler(name)) for path, name in names.items()]

    def _handler(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        file = self._files[name]

        async def handle(request: web.Request) -> web.Response:
            response = _respond(request, file)
            if file.content_type == "text/html":
                response.headers["Content-Security-Policy"] = content_security_policy(await self._known(request))
            return response

        return handle

    async def _known(self, request: web.Request) -> set[str]:
        """Where game servers were last seen; before any was, where the page itself comes from."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                self._origins = play_origins(await self._play_addresses()) or self._origins
        except Exception as error:
            log.warning("play_addresses_unknown", error=type(error).__name__)
        scheme = "wss" if request.secure else "ws"
        return self._origins or play_origins([f"{scheme}://{request.host.rsplit(':', 1)[0]}:0"])


def _respond(request: web.Request, file: WebFile) -> web.Response:
    zipped = file.compressed if "gzip" in request.headers.get("Accept-Encoding", "") else None
    tag = file.tag if zipped is None else f"{file.tag}-gzip"
    headers = {
        **_SECURITY_HEADERS,
        # The files refer to each other by plain names: a browser has to ask whether they are still the ones it knows.
        "Cache-Control": "no-cache",
        "ETag": f'"{tag}"',
        "Vary": "Accept-Encoding",
    }
    if any(known.value in (tag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if zipped is not None:
        headers["Content-Encoding"] = "gzip"
    return web.Response(
        body=file.body if zipped is None else zipped,
        headers=headers,
        content_type=file.content_type,
        charset="utf-8" if file.content_type != "image/svg+xml" else None,
    )
