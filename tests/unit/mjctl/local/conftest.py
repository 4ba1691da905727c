"""A temporary folder whose path is short enough for sockets, in place of the machine's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What `tempfile` uses during the test: sockets and the registry of ports are kept away from real regions."""
    with tempfile.TemporaryDirectory(prefix="mj") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
