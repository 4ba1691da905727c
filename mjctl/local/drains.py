"""Which game servers of a local region an operator has taken out of service: one private file for each in `run/`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.models.drained import Drained

_FOLDER = "drained"


def mark(run_dir: Path, server: str, drained: Drained) -> None:
    """Record that `server` stays stopped because an operator wants it so."""
    folder = run_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / f"{server}.json", json.dumps(asdict(drained)))


def clear(run_dir: Path, server: str) -> None:
    """Forget the drain of a server that is started, or removed; no effect where there is none."""
    (run_dir / _FOLDER / f"{server}.json").unlink(missing_ok=True)


def marks(run_dir: Path) -> dict[str, Drained]:
    """Return the drained servers by name."""
    found = {path.stem: Drained.parse(read_json(path)) for path in sorted((run_dir / _FOLDER).glob("[!.]*.json"))}
    return {name: drained for name, drained in found.items() if drained is not None}
