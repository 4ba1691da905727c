"""The documents of status, outputs, history, health, loadtest and unlock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import (
    CheckDocument,
    Envelope,
    FailedRegionDocument,
    JsonDocument,
    WithoutRegions,
)
from mjctl.health.model import HealthReport, worst
from mjctl.loadtest.model import LoadReport, Percentiles
from mjctl.models.check import CheckResult, CheckStatus

Status = Literal["pass", "warn", "fail", "skip"]


class UnitStatusDocument(JsonDocument):
    region: str = Field(description="a region, or `foundation` and `edge`: what a production environment has once")
    state: Literal["absent", "partial", "deployed", "damaged"]
    revision: str | None
    commit: str | None
    standing: str | None = Field(description="what the health gate said of the revision")
    applied_at: str | None
    serial: int | None
    gone: tuple[str, ...] = Field(description="parts that the state names and that do not exist any more")
    held_by: dict[str, object] | None = Field(description="the run that holds the lock now")
    failed_over: bool | None = Field(description="whether players are sent elsewhere; null when that is not known")
    players_go_to: tuple[str, ...]


class StatusDocument(Envelope):
    """status."""

    regions: tuple[UnitStatusDocument, ...]


class UnitOutputsDocument(JsonDocument):
    region: str = Field(description="a region, or `foundation` and `edge`: what a production environment has once")
    outputs: dict[str, Any] = Field(description="what the stack publishes; it holds no secret")


class OutputsDocument(Envelope):
    """outputs."""

    regions: tuple[UnitOutputsDocument, ...]


class UnitRecordDocument(JsonDocument):
    region: str
    outcome: str
    revision: str | None
    refused: str | None
    seconds: float
    error: str | None


class RecordDocument(JsonDocument):
    id: str
    at: str
    command: str
    who: str
    message: str | None
    revision: str | None
    commit: str | None
    names: tuple[str, ...]
    regions: tuple[UnitRecordDocument, ...]
    exit_code: int | None = Field(description="null while it runs, or when it was killed")
    seconds: float | None


class HistoryDocument(WithoutRegions):
    """history: the newest run first."""

    runs: tuple[RecordDocument, ...]


class RegionHealthDocument(JsonDocument):
    region: str
    status: Status


class HealthDocument(Envelope):
    """health."""

    regions: tuple[RegionHealthDocument, ...]
    status: Status
    healthy: bool
    started_at: str
    duration_seconds: float
    counts: dict[str, int]
    checks: tuple[CheckDocument, ...]


class UnlockedDocument(JsonDocument):
    region: str
    result: str


class UnlockDocument(Envelope):
    """unlock."""

    regions: tuple[UnlockedDocument, ...]


class PercentilesDocument(JsonDocument):
    """Milliseconds; null without samples."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class MatchCountDocument(JsonDocument):
    started: int
    ended: int


class VerificationDocument(JsonDocument):
    """The comparison of the played matches with PostgreSQL and DynamoDB."""

    verified: bool
    matches: int
    waited_seconds: float
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    wrong_scores: tuple[str, ...]
    counted_wrongly: tuple[str, ...]


class RegionLoadDocument(JsonDocument):
    region: str
    run_id: str
    mode: str
    players: int
    players_per_match: int
    playing_seconds: float
    interrupted: bool
    matches: MatchCountDocument
    input_to_state_ms: PercentilesDocument
    frames: int
    reconnects: int
    throttled: int
    api_ms: dict[str, PercentilesDocument]
    errors: dict[str, int]
    verification: VerificationDocument


class LoadtestDocument(Envelope):
    """loadtest: totals over all regions, and each region by itself."""

    regions: tuple[RegionLoadDocument | FailedRegionDocument, ...]
    run_id: str
    matches: MatchCountDocument
    input_to_state_ms: PercentilesDocument
    errors: int
    interrupted: bool
    verification: VerificationDocument


def health_fields(report: HealthReport) -> dict[str, Any]:
    """Return the fields of the document of `mjctl health`."""
    return {
        "regions": [
            {"region": region, "status": worst(item.status for item in report.results if item.region == region)}
            for region in report.regions
        ],
        "status": report.status,
        "healthy": report.healthy,
        "started_at": report.started_at,
        "duration_seconds": round(report.duration_seconds, 3),
        "counts": {status.value: report.count(status) for status in CheckStatus},
        "checks": [check_entry(item) for item in report.results],
    }


def check_entry(check: CheckResult) -> dict[str, Any]:
    """Return the fields of one finding's document. `throttled` is for the gate of a rollout and not published."""
    return {
        "region": check.region,
        "name": check.name,
        "status": check.status,
        "severity": check.severity,
        "summary": check.summary,
        "hint": check.hint,
        "duration_seconds": round(check.duration_seconds, 3),
        "evidence": dict(check.evidence),
    }


def load_fields(reports: Sequence[LoadReport]) -> dict[str, Any]:
    """Return the totals over all regions in the document of `mjctl loadtest`."""
    tallies = [report.tally for report in reports]
    return {
        "matches": {
            "started": sum(len(tally.started) for tally in tallies),
            "ended": sum(len(tally.ended) for tally in tallies),
        },
        "input_to_state_ms": Percentiles.of([sample for tally in tallies for sample in tally.input_to_state_ms]),
        "errors": sum(sum(tally.errors.values()) for tally in tallies),
        "interrupted": any(tally.interrupted for tally in tallies),
        "verification": _verification(reports),
    }


def load_entry(report: LoadReport) -> dict[str, Any]:
    """Return one region's entry in the document of `mjctl loadtest`."""
    tally = report.tally
    return {
        "run_id": report.plan.run_id,
        "mode": report.plan.mode,
        "players": len(tally.signed_up),
        "players_per_match": report.plan.players_per_match,
        "playing_seconds": round(tally.playing_seconds, 2),
        "interrupted": tally.interrupted,
        "matches": {"started": len(tally.started), "ended": len(tally.ended)},
        "input_to_state_ms": Percentiles.of(tally.input_to_state_ms),
        "frames": tally.frames,
        "reconnects": tally.reconnects,
        "throttled": tally.throttled,
        "api_ms": {name: Percentiles.of(samples) for name, samples in sorted(tally.api_ms.items())},
        "errors": dict(tally.errors),
        "verification": _verification([report]),
    }


def _verification(reports: Sequence[LoadReport]) -> dict[str, Any]:
    """Add up the comparisons of all these reports with the stores."""
    found = [report.verification for report in reports if report.verification is not None]
    return {
        "verified": bool(reports) and all(report.verified for report in reports),
        "matches": sum(item.matches for item in found),
        "waited_seconds": max((item.waited_seconds for item in found), default=0.0),
        "missing": [match_id for item in found for match_id in item.missing],
        "duplicated": [player_id for item in found for player_id in item.duplicated],
        "wrong_scores": [match_id for item in found for match_id in item.wrong_scores],
        "counted_wrongly": [player_id for item in found for player_id in item.counted_wrongly],
    }
