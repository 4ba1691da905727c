"""Which servers can end TLS by themselves, and the command of one that needs a terminator before it."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

from mjctl.local.layout import Layout, private_runtime_dir


def has_tls(binary: Path) -> bool:
    """Whether a server's program was linked with OpenSSL, and so can end TLS by itself."""
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"SSL_CTX_new") >= 0


def backend_socket(name: str, port: int) -> Path:
    """Where the server behind `port` listens; the folder is private to this user, and its path short."""
    return private_runtime_dir() / f"{name}{port}"


def terminated(layout: Layout, port: int, backend: Path, server: Sequence[str], *, postgres: bool) -> tuple[str, ...]:
    """The command that runs `server`, which listens on `backend`, behind TLS on 127.0.0.1:`port`."""
    options = {"port": port, "socket": backend, "certificate": layout.tls_certificate, "key": layout.tls_key}
    return (
        *(sys.executable, "-m", "mjctl.local.terminator"),
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        *(("--postgres",) if postgres else ()),
        *("--", *server),
    )
