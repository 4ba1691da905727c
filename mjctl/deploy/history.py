"""The history of an environment: the operator, time, reason and outcome of every run that changes units.

A run writes a line of JSON at its start and another line at its end. In the history, a killed run has only the line
that it wrote at its start.

The history of local regions is in `<home>/<environment>/history.jsonl`. The history of an environment on AWS has an
object for each run in the state bucket, `<project>-<environment>/history/<UTC>-<id>.jsonl`, so that two machines never
write the same object.
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
# On AWS each run in the history is an object in S3 and costs a request, so read only the newest runs.
_RUNS_READ = 500
_READERS = 16


@dataclass(frozen=True)
class UnitRecord:
    """Describes how a run ended for one unit.

    Attributes:
        region: The name of the unit: a region, `foundation` or `edge`.
        outcome: A value of UnitOutcome.
        revision: The revision that the unit has after the run, or None if it is unknown.
        refused: The revision whose apply or gate failed in this run, or None if no apply and no gate failed.
        seconds: The duration of the work on the unit in seconds.
        error: The first line of the error, or None if the unit did not fail.
    """

    region: str
    outcome: str
    revision: str | None
    refused: str | None
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Record:
    """Describes one run of a command that changes units.

    Attributes:
        id: The id of the run, as eight hexadecimal digits.
        at: The local time at which the run started, in ISO 8601 with its UTC offset.
        command: The name of the command, e.g. `deploy`.
        who: The operator who started the run, as `user@host`.
        message: The operator's reason for the run, or None if the operator gave no reason.
        revision: The revision that the run deployed, or None if the run deployed none.
        commit: The git commit of the deployed revision, or None if the commit is unknown.
        names: The names of the units that the run changes.
        regions: The result of each unit, or () for a run that is active or was killed.
        exit_code: The exit code of the command, or None for a run that is active or was killed.
        seconds: The duration of the run in seconds, or None for a run that is active or was killed.
    """

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
    """Reads and writes the history of one environment.

    The history of a local environment is one file, and a single write appends each line of this file, so that two
    concurrent runs never mix their lines.

    Raises:
        UnreachableError: The sandbox of the environment is not up.
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
        """Record that a run that changes the units `names` starts, and return the record of the run."""
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
        """Record the results, the exit code and the duration of the run."""
        end = {
            "id": record.id,
            "exit_code": int(exit_code),
            "seconds": round(seconds, 2),
            "regions": [asdict(_region_record(result)) for result in results],
        }
        if self._files.account is None:
            self._append(end)
        else:
            name, start = self._begun.pop(record.id)
            self._files.write(name, _jsonl(start, end))

    def records(self) -> list[Record]:
        """Return the record of every run, newest first. On AWS, return only the newest 500 runs.

        A line of the history that is no JSON is skipped, because a full disk can cut a line short.

        Raises:
            UnreachableError, PermissionDeniedError: The state bucket does not answer or refuses the request.
        """
        records: dict[str, Record] = {}
        for line in _lines(self._text()):
            if "command" in line:
                records[line["id"]] = Record(**{**line, "names": tuple(line["names"]), "regions": ()})
            elif line.get("id") in records:
                regions = tuple(UnitRecord(**unit) for unit in line["regions"])
                records[line["id"]] = replace(
                    records[line["id"]], regions=regions, exit_code=line["exit_code"], seconds=line["seconds"]
                )
        return list(reversed(records.values()))

    def _text(self) -> str:
        if self._files.account is None:
            return (self._files.read(self._path.name) or b"").decode(errors="replace")
        names = self._files.names(_FOLDER)[-_RUNS_READ:]
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
        # Record only the first line of the error, because Terraform's output can be long, and the log of the unit has
        # all lines of the error.
        error=result.error.what.splitlines()[0] if result.error else None,
    )


def _jsonl(*values: dict[str, Any]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def _lines(text: str) -> list[dict[str, Any]]:
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines
