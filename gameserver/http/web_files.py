"""Serves the files of the web client from `gameserver api`, with strict security headers.

On AWS, CloudFront serves the same files from an S3 bucket. The file `config.json` tells the client where the API is:

    {"api": "https://api.example.com", "modes": [{"name": "arena", "seats": 10, "duration_seconds": 180}]}

`api` is the base address of the API without a trailing slash, or "" for the page's own origin. `modes` lists the modes
that the lobby offers.
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
"""The only rules that the web client can draw."""

_SHORTEST_SECONDS: Final = 5.0
"""Shortest length of a mode that the lobby offers. Shorter modes are for health probes."""

CONTENT_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""Content type of a file by the suffix of its name. Files with another suffix are not served."""

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
"""A function that returns the WebSocket addresses of the game servers."""


@dataclass(frozen=True)
class WebFile:
    """Holds a file in memory.

    Attributes:
        content_type: media type of the file.
        body: content of the file.
        compressed: content after gzip, or None for a file of less than 512 bytes.
        tag: hash of the content, for the header `ETag`.
    """

    content_type: str
    body: bytes
    compressed: bytes | None
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> WebFile:
        """Return the file with this name and content."""
        compressed = gzip.compress(body, 9, mtime=0) if len(body) >= _WORTH_COMPRESSING else None
        return cls(CONTENT_TYPES[PurePath(name).suffix], body, compressed, hashlib.sha256(body).hexdigest()[:32])


def load_files(folder: Path, modes: Sequence[Mode]) -> dict[str, WebFile]:
    """Read the client's files in `folder`, and add a `config.json` for a page that the API process serves.

    Returns:
        The files by name.

    Raises:
        OSError: the folder or a file in it cannot be read.
    """
    files = {path.name: WebFile.of(path.name, path.read_bytes()) for path in client_paths(folder)}
    return {**files, "config.json": WebFile.of("config.json", client_config("", modes))}


def client_paths(folder: Path) -> list[Path]:
    """List the files in `folder` that the server sends to players, sorted by name.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if path.suffix in CONTENT_TYPES and path.is_file())


def client_config(api: str, modes: Sequence[Mode]) -> bytes:
    """Return the content of `config.json`.

    Args:
        api: base address of the API, or "" for the page's own origin.
        modes: modes of the environment. `config.json` leaves out modes with other rules than the arena's, and modes
            for health probes.
    """
    offered = [
        {"name": mode.name, "seats": mode.seats, "duration_seconds": mode.duration_seconds}
        for mode in modes
        if mode.rules == RULES and mode.duration_seconds >= _SHORTEST_SECONDS
    ]
    return msgspec.json.encode({"api": api, "modes": offered})


def content_security_policy(play_origins: Iterable[str]) -> str:
    """Return the header `Content-Security-Policy`.

    The page may use its own files, its API and the game servers only.
    """
    connect = " ".join(["'self'", *sorted(play_origins)])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def play_origins(addresses: Iterable[str]) -> set[str]:
    """Return the CSP sources for the addresses of game servers.

    A source allows every port of its host if the address has a port, because a server that starts later has another
    port.
    """
    sources = set()
    for address in addresses:
        parts = urlsplit(address)
        source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if not _ORIGIN.match(source):
            continue
        sources.add(f"{source.rsplit(':', 1)[0]}:*" if parts.port is not None else source)
    return sources


class WebClient:
    """Serves the files of the web client from memory.

    A deploy of another web client changes the link `folder` to another folder. At the next request after a deploy of
    another web client the process reads the files of the new folder. Players get the new web client without a restart
    of the process.

    Args:
        folder: folder with the client's files, or a link to this folder.
        modes: modes of the environment.
        play_addresses: function that returns the WebSocket addresses of the live game servers, or raises any exception.

    Raises:
        SettingsError: `folder` contains no web client, or cannot be read.
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
            raise SettingsError(f"GAMESERVER_WEB_DIR: the folder {folder} cannot be read: {error.strerror}") from error
        if _PAGE not in self._files:
            raise SettingsError(f"GAMESERVER_WEB_DIR: the folder {folder} has no {_PAGE}")

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the page and the route of the files.

        The server looks a requested name up among the files in memory, so the requested name never becomes a path.
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
        """Read the files again if the folder has changed. If the folder cannot be read, keep the files in memory."""
        try:
            version = _version(self._folder)
            if version == self._version:
                return
            # `load_files` compresses the files, which takes some milliseconds. A thread runs `load_files`, so that the
            # event loop can answer other requests.
            files = await asyncio.to_thread(load_files, self._folder, self._modes)
        except OSError as error:
            log.warning("web_client_unreadable", folder=str(self._folder), error=type(error).__name__)
            return
        if _PAGE in files:
            self._files, self._version = files, version
            log.info("web_client_changed", files=len(files))

    async def _known(self, request: web.Request) -> set[str]:
        """Return the CSP sources of the last known game servers. If no server is known, return the host of the page."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                self._origins = play_origins(await self._play_addresses()) or self._origins
        except Exception as error:
            log.warning("play_addresses_unknown", error=type(error).__name__)
        scheme = "wss" if request.secure else "ws"
        return self._origins or play_origins([f"{scheme}://{request.host.rsplit(':', 1)[0]}:0"])


def _version(folder: Path) -> tuple[int, int, int]:
    """Return a value that changes when the link leads to another folder or the folder's list of files changes."""
    status = folder.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _respond(request: web.Request, file: WebFile) -> web.Response:
    zipped = file.compressed if "gzip" in request.headers.get("Accept-Encoding", "") else None
    tag = file.tag if zipped is None else f"{file.tag}-gzip"
    headers = {
        **_SECURITY_HEADERS,
        # A file keeps its name when its content changes, so a browser must ask whether its cached file is current.
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
