"""Resolves the DNS names of a stage in this process, because no name server knows these names.

Processes of a stage resolve these names by a private /etc/hosts (mjctl.sandbox.stage.names). mjctl runs outside of the
stage, so it replaces `socket.getaddrinfo`. That function resolves names for asyncio, aiohttp, urllib and the clients of
Redis and PostgreSQL. The event loop of uvloop does not use `socket.getaddrinfo`, so a program that uses a stage needs
asyncio's own loop.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

from mjctl.files import read_json
from mjctl.models.contract import Contract

_lock = threading.Lock()
_original = socket.getaddrinfo
# For each file: the time of the file's last change in nanoseconds, and the addresses by DNS name.
_files: dict[Path, tuple[int, dict[str, str]]] = {}


def resolve_names_of(contract: Contract) -> None:
    """Make this process resolve the names in the contract's `names_file`. Other names resolve as before.

    If the file is unreadable, the function adds no names. mjctl reads a changed file again, because a deploy adds
    names.
    """
    if contract.names_file is None:
        return
    with _lock:
        _files.setdefault(Path(contract.names_file), (0, {}))
        socket.getaddrinfo = _getaddrinfo


def address_of(name: str) -> str | None:
    """Return the IP address of a stage's DNS name, or None if no file of `resolve_names_of` contains the name."""
    wanted = name.rstrip(".").lower()
    with _lock:
        for file, (changed, _) in _files.items():
            try:
                now = file.stat().st_mtime_ns
            except OSError:
                continue
            if now != changed:
                _files[file] = (now, {key.lower(): str(value) for key, value in read_json(file).items()})
            if (address := _files[file][1].get(wanted)) is not None:
                return address
    return None


def forget() -> None:
    """Resolve all names as before the first call of `resolve_names_of`."""
    with _lock:
        _files.clear()
        socket.getaddrinfo = _original


def _getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    address = address_of(name) if isinstance(name, str) else None
    return _original(address or host, *arguments, **options)
