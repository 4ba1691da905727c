"""Who deployed what, when, and how it ended: one line when a run starts and one when it ends. A run that was killed has
only the first.

On this machine the lines stand in <home>/<environment>/history.jsonl; on AWS each run has an object of its own in the
state bucket, <project>-<environment>/history/<UTC>-<id>.jsonl, so that runs of several machines never meet.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from mjctl.files import append_private, explained_disk_errors
from mjctl.models.deployment import UnitResult
from mjctl.models.drained import operator
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import environment_files

_FOLDER = "history/"
# More runs than anyone looks back over; each is one request.
_LOOKED_AT = 500
_READERS = 16


@dataclass(frozen=True)
class UnitRecord:
    region: str
    outcome: str
    revision: str | None
    refused: str | None
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Record:
    """One run. `at` is local time with its offset; `exit_code` and `seconds` are None while it runs, or when it was
    killed."""

    id: str
    at: str
    command: str
    who: str
    message: str | None
    revision: str | None
    commit: str | None
    names: tuple[str, ...]
    regions: tuple[UnitRecord, ...] = ()
    exit_code: int | None = None
    seconds: float | None = None


class History:
    """The log of one environment. Lines are appended in one write each, so runs side by side never mix.

    Raises:
        UnreachableError: the environment's sandbox is not up.
    """

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self._path = workspace.environment_dir(environment.name) / "history.jsonl"
        self._files = environment_files(workspace, environment)
        self._begun: dict[str, tuple[str, dict[str, Any]]] = {}

    def start(
        self,
        command: str,
        names: Sequence[str],
        *,
        message: str | None = None,
        revision: str | None = None,
        commit: str | None = None,
    ) -> Record:
        """Note that a run over the regions `names` begins."""
        record = Record(
            id=secrets.token_hex(4),
            at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            command=command,
            who=operator(),
            message=message,
            revision=revision,
            commit=commit,
            names=tuple(names),
        )
        if self._files.account is None:
            self._append(asdict(record))
        else:
            name = f"{_FOLDER}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{record.id}.jsonl"
            self._begun[record.id] = (name, asdict(record))
            self._files.write(name, _jsonl(asdict(record)))
        return record

    def finish(self, record: Record, results: Sequence[UnitResult], exit_code: int, seconds: float) -> None:
        """Note how the run ended."""
        end = {
            "id": record.id,
            "exit_code": int(exit_code),
            "seconds": round(seconds, 2),
            "regions": [asdict(_region_record(one)) for one in results],
        }
        if self._files.account is None:
            self._append(end)
        else:
            name, start = self._begun.pop(record.id)
            self._files.write(name, _jsonl(start, end))

    def records(self) -> list[Record]:
        """Every run, the newest first; on AWS the newest 500. A line that was cut short by a full disk is passed over.

        Raises:
            UnreachableError, PermissionDeniedError: the state bucket does not answer.
        """
        found: dict[str, Record] = {}
        for line in _lines(self._text()):
            if "command" in line:
                found[line["id"]] = Record(**{**line, "names": tuple(line["names"]), "regions": ()})
            elif line.get("id") in found:
                regions = tuple(UnitRecord(**one) for one in line["regions"])
                found[line["id"]] = replace(
                    found[line["id"]], regions=regions, exit_code=line["exit_code"], seconds=line["seconds"]
                )
        return list(reversed(found.values()))

    def _text(self) -> str:
        if self._files.account is None:
            return (self._files.read(self._path.name) or b"").decode(errors="replace")
        names = self._files.names(_FOLDER)[-_LOOKED_AT:]
        with ThreadPoolExecutor(_READERS) as readers:
            return b"".join(note or b"" for note in readers.map(self._files.read, names)).decode(errors="replace")

    def _append(self, values: dict[str, Any]) -> None:
        with explained_disk_errors(str(self._path)):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with append_private(self._path) as stream:
                stream.write(_jsonl(values))


def _region_record(result: UnitResult) -> UnitRecord:
    return UnitRecord(
        region=result.unit,
        outcome=str(result.outcome),
        revision=result.revision,
        refused=result.refused,
        seconds=round(result.seconds, 2),
        # The first line only: Terraform's output can be long, and the region's own log has it.
        error=result.error.what.splitlines()[0] if result.error else None,
    )


def _jsonl(*values: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in values)


def _lines(text: str) -> list[dict[str, Any]]:
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines
