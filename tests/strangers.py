"""Attacks a region as a web page in the developer's browser, and as another user of the same machine."""

from __future__ import annotations

import json
import os
import socket
import ssl
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534
_TIMEOUT_SECONDS = 30.0

# The headers that browsers send: https://fetch.spec.whatwg.org/#cors-preflight-fetch, https://www.w3.org/TR/fetch-metadata/
CROSS_SITE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
SAME_SITE = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
PREFLIGHT = {**CROSS_SITE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-amz-target"}
# After DNS rebinding the page's own name resolves to this machine, so the browser sends a same-origin request.
REBOUND = {"Host": "evil.example:{port}", "Sec-Fetch-Site": "same-origin"}
REBOUND_WITHOUT_METADATA = {"Host": "evil.example:{port}"}

# Requests that a web page can send, by name: (method, headers, body).
PAGE_REQUESTS: Mapping[str, tuple[str, Mapping[str, str], bytes]] = {
    "a form's POST": ("POST", {**CROSS_SITE, "Content-Type": "text/plain"}, b"{}"),
    "a preflight": ("OPTIONS", PREFLIGHT, b""),
    "a page of another port": ("POST", {**SAME_SITE, "Content-Type": "text/plain"}, b"{}"),
    "an image": ("GET", IMAGE, b""),
    "DNS rebinding": ("POST", {**REBOUND, "Content-Type": "application/x-amz-json-1.0"}, b"{}"),
    "DNS rebinding in an older browser": ("POST", REBOUND_WITHOUT_METADATA, b"{}"),
    "reading after DNS rebinding": ("GET", REBOUND_WITHOUT_METADATA, b""),
}


@dataclass(frozen=True)
class Answer:
    """Holds the answer of a port.

    Attributes:
        status: the HTTP status, or 0 for an answer that is not HTTP.
        raw: all bytes of the answer.
    """

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def readable_by_a_page(self) -> bool:
        return "access-control-allow-origin" in self.headers


def exchange(port: int, request: bytes, *, tls: bool = False) -> bytes:
    """Send bytes and return all that comes back until the other side closes or is silent for a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as plain:
        connection: socket.socket = plain
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall(request)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
                connection.settimeout(1.0)
        except (TimeoutError, ConnectionResetError):
            pass
        return received


def http(
    port: int, method: str, path: str = "/", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send one HTTP request without changing a byte, except that `{port}` in a header becomes the port."""
    fields = {"Host": "127.0.0.1:{port}", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value.format(port=port)}\r\n" for name, value in fields.items())
    raw = exchange(port, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    top, _, _ = raw.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        return Answer(0, {}, raw)
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return Answer(int(lines[0].split()[1]), headers, raw)


def page_answers(port: int, path: str = "/") -> dict[str, Answer]:
    """Send each request of PAGE_REQUESTS to the port and return the answers by name."""
    return {name: http(port, method, path, headers, body) for name, (method, headers, body) in PAGE_REQUESTS.items()}


def as_nobody(work: Callable[[], Any]) -> Any:
    """Run `work` in a child process of another user and return its result, which must fit into JSON. Needs root."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The child process only opens files and sockets, so a fork is safe.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps(work()).encode())
            code = 0
        except BaseException:
            os.write(writing, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    result = json.loads(text)
    assert status == 0, result
    return result


def readable(paths: list[Path]) -> list[str]:
    """Return the files that the caller can open."""
    opened = []
    for path in paths:
        try:
            with path.open("rb"):
                opened.append(str(path))
        except OSError:
            continue
    return opened


def reachable(socket_path: Path) -> bool:
    """Return whether the caller can connect to a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(socket_path))
        except OSError:
            return False
    return True
