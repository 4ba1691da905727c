"""Serve the web client from `gameserver api`: the files of one folder and nothing else, with strict headers.

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
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

from gameserver.runtime.settings import Mode, SettingsError

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

_PAGE: Final = "index.html"
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


def load_files(folder: Path, modes: Sequence[Mode]) -> dict[str, WebFile]:
    """Read the client's files in `folder`, and add the `config.json` of a page beside its API.

    Returns:
        The files by name.

    Raises:
        OSError: the folder or a file of it cannot be read.
    """
    files = {path.name: WebFile.of(path.name, path.read_bytes()) for path in client_paths(folder)}
    return {**files, "config.json": WebFile.of("config.json", client_config("", modes))}


def client_paths(folder: Path) -> list[Path]:
    """List the files in `folder` that players get, by name.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if path.suffix in CONTENT_TYPES and path.is_file())


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
    """Serves the client's files from memory.

    A deploy of another client points the link `folder` at another folder. The next request then reads that folder, so
    players get the new client and no process restarts.

    Args:
        folder: the client's files, or a link to their folder.
        modes: what can be played here.
        play_addresses: WebSocket addresses of the game servers alive now; may raise whatever it likes.

    Raises:
        SettingsError: there is no web client in `folder`.
    """

    def __init__(self, folder: Path, modes: Sequence[Mode], play_addresses: PlayAddresses) -> None:
        self._folder = folder
        self._modes = modes
        self._play_addresses = play_addresses
        self._origins: set[str] = set()
        try:
            self._version = _version(folder)
            self._files = load_files(folder, modes)
        except OSError as error:
            raise SettingsError(f"GAMESERVER_WEB_DIR: {folder} cannot be read: {error.strerror}") from error
        if _PAGE not in self._files:
            raise SettingsError(f"GAMESERVER_WEB_DIR: {folder} has no {_PAGE}")

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the page and the route of the files.

        The name in a request is only looked up among the files in memory. It never becomes a path.
        """
        return [web.get("/", self._handle), web.get(r"/{name:[^/]+}", self._handle)]

    async def _handle(self, request: web.Request) -> web.Response:
        await self._refresh()
        file = self._files.get(request.match_info.get("name", _PAGE))
        if file is None:
            raise web.HTTPNotFound
        response = _respond(request, file)
        if file.content_type == "text/html":
            response.headers["Content-Security-Policy"] = content_security_policy(await self._known(request))
        return response

    async def _refresh(self) -> None:
        """Read the files again if the folder is another one now. Keep the known files when that fails."""
        try:
            version = _version(self._folder)
            if version == self._version:
                return
            # Compression takes some milliseconds, in which the event loop must answer other requests.
            files = await asyncio.to_thread(load_files, self._folder, self._modes)
        except OSError as error:
            log.warning("web_client_unreadable", folder=str(self._folder), error=type(error).__name__)
            return
        if _PAGE in files:
            self._files, self._version = files, version
            log.info("web_client_changed", files=len(files))

    async def _known(self, request: web.Request) -> set[str]:
        """Where game servers were last seen; before any was, where the page itself comes from."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                self._origins = play_origins(await self._play_addresses()) or self._origins
        except Exception as error:
            log.warning("play_addresses_unknown", error=type(error).__name__)
        scheme = "wss" if request.secure else "ws"
        return self._origins or play_origins([f"{scheme}://{request.host.rsplit(':', 1)[0]}:0"])


def _version(folder: Path) -> tuple[int, int, int]:
    """Identify the folder that a link leads to, and its list of files."""
    status = folder.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns


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
