"""A fixture with a temporary folder whose path is short enough for sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make `tempfile` use a new folder, so that sockets and the registry of ports are separate from real regions."""
    with tempfile.TemporaryDirectory(prefix="mj") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
