"""Resolves the names of a stage in this process, because no name server knows them.

Processes of a stage resolve these names by a private /etc/hosts (mjctl.sandbox.stage.names). mjctl runs outside of the
stage, so it replaces `socket.getaddrinfo`. That function resolves names for asyncio, aiohttp, urllib and the clients of
Redis and PostgreSQL. The event loop of uvloop does not use it, so a program that uses a stage needs asyncio's own loop.
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
# The names and addresses in each file, with the time of the file's last change in nanoseconds.
_files: dict[Path, tuple[int, dict[str, str]]] = {}


def resolve_names_of(contract: Contract) -> None:
    """Make this process resolve the names in the contract's `names_file`. Other names resolve as before.

    An unreadable file has no names. The file is read again after each change, because names appear during a deploy.
    """
    if contract.names_file is None:
        return
    with _lock:
        _files.setdefault(Path(contract.names_file), (0, {}))
        socket.getaddrinfo = _getaddrinfo


def address_of(name: str) -> str | None:
    """Return the address of a stage's name, or None if no known file has the name."""
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
