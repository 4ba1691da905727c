"""The records of drained game servers of a local region: a private file for each drained server, in `run/drained`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.models.drained import Drained

_FOLDER = "drained"


def mark(run_dir: Path, server: str, drained: Drained) -> None:
    """Record that an operator has drained `server`, so that health checks and drift expect the server to be stopped."""
    folder = run_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / f"{server}.json", json.dumps(asdict(drained)))


def clear(run_dir: Path, server: str) -> None:
    """Remove the record of a drained server that is started or removed. A server without a record is no error."""
    (run_dir / _FOLDER / f"{server}.json").unlink(missing_ok=True)


def marks(run_dir: Path) -> dict[str, Drained]:
    """Return the records of drained servers, by the server's name."""
    records = {path.stem: Drained.parse(read_json(path)) for path in sorted((run_dir / _FOLDER).glob("[!.]*.json"))}
    return {name: drained for name, drained in records.items() if drained is not None}
