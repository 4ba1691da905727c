"""Who deployed what, when, and how it ended: <home>/<environment>/history.jsonl, one line when a run starts and one
when it ends. A run that was killed has only the first."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mjctl.models.deployment import RegionResult
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import explained_disk_errors


@dataclass(frozen=True)
class RegionRecord:
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
    regions: tuple[RegionRecord, ...] = ()
    exit_code: int | None = None
    seconds: float | None = None


class History:
    """The log of one environment. Lines are appended in one write each, so runs side by side never mix."""

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self._path = workspace.environment_dir(environment.name) / "history.jsonl"

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
            who=_who(),
            message=message,
            revision=revision,
            commit=commit,
            names=tuple(names),
        )
        self._append(asdict(record))
        return record

    def finish(self, record: Record, results: Sequence[RegionResult], exit_code: int, seconds: float) -> None:
        """Note how the run ended."""
        self._append(
            {
                "id": record.id,
                "exit_code": int(exit_code),
                "seconds": round(seconds, 2),
                "regions": [asdict(_region_record(one)) for one in results],
            }
        )

    def records(self) -> list[Record]:
        """Every run, the newest first. A line that was cut short by a full disk is passed over."""
        found: dict[str, Record] = {}
        for line in _lines(self._path):
            if "command" in line:
                found[line["id"]] = Record(**{**line, "names": tuple(line["names"]), "regions": ()})
            elif line.get("id") in found:
                regions = tuple(RegionRecord(**one) for one in line["regions"])
                found[line["id"]] = replace(
                    found[line["id"]], regions=regions, exit_code=line["exit_code"], seconds=line["seconds"]
                )
        return list(reversed(found.values()))

    def _append(self, values: dict[str, Any]) -> None:
        with explained_disk_errors(str(self._path)):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, (json.dumps(values) + "\n").encode())
            finally:
                os.close(descriptor)


def _region_record(result: RegionResult) -> RegionRecord:
    return RegionRecord(
        region=result.region,
        outcome=str(result.outcome),
        revision=result.revision,
        refused=result.refused,
        seconds=round(result.seconds, 2),
        # The first line only: Terraform's output can be long, and the region's own log has it.
        error=result.error.what.splitlines()[0] if result.error else None,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _who() -> str:
    """The person, or in CI the one whose push or click started the job."""
    actor = os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    return f"{actor or getpass.getuser()}@{socket.gethostname()}"
