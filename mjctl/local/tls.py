"""Detects whether a server was built with TLS, and returns the command that runs a server behind a TLS terminator."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

from mjctl.local.layout import Layout, private_runtime_dir


def has_tls(binary: Path) -> bool:
    """Return whether a server's program was linked with OpenSSL and so can terminate TLS."""
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"SSL_CTX_new") >= 0


def backend_socket(name: str, port: int) -> Path:
    """Return the path of the Unix socket of the server behind `port`, in a folder that only this user may enter."""
    return private_runtime_dir() / f"{name}{port}"


def terminated(layout: Layout, port: int, backend: Path, server: Sequence[str], *, postgres: bool) -> tuple[str, ...]:
    """Return the command that runs a server behind TLS on 127.0.0.1:`port`.

    Args:
        layout: The folders of the region, one of which contains the region's certificate.
        port: The TCP port.
        backend: The Unix socket on which the server listens.
        server: The server's program and arguments.
        postgres: True if clients speak PostgreSQL's protocol.
    """
    options = {"port": port, "socket": backend, "certificate": layout.tls_certificate, "key": layout.tls_key}
    return (
        *(sys.executable, "-m", "mjctl.local.terminator"),
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        *(("--postgres",) if postgres else ()),
        *("--", *server),
    )
