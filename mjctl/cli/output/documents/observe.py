"""The JSON documents of status, outputs, history, health, loadtest and unlock."""

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
    """Describes the state of a unit."""

    region: str = Field(description="name of the unit: a region, or `foundation` or `edge` of an environment on AWS")
    state: Literal["absent", "partial", "deployed", "damaged"]
    revision: str | None = Field(description="the revision whose apply was completed last")
    commit: str | None = Field(description="the git commit of the revision")
    standing: str | None = Field(
        description="verdict on the revision: `healthy` or `unhealthy` by the health gate, or `applied` without a gate"
    )
    applied_at: str | None = Field(description="time of the last completed apply, in ISO 8601")
    serial: int | None = Field(description="serial number of the Terraform state")
    gone: tuple[str, ...] = Field(
        description="parts of a local region that the Terraform state lists but that no longer exist"
    )
    held_by: dict[str, object] | None = Field(
        description="the run that holds the lock of the unit now; null without a lock"
    )
    failed_over: bool | None = Field(
        description="whether players of the region are sent to other regions; null if that is not known"
    )
    players_go_to: tuple[str, ...] = Field(
        description="the regions to which players of the region are sent; empty on AWS, where DNS chooses"
    )


class StatusDocument(Envelope):
    """Describes the output of `mjctl status`."""

    regions: tuple[UnitStatusDocument, ...]


class UnitOutputsDocument(JsonDocument):
    """Describes the outputs of a unit."""

    region: str = Field(description="name of the unit: a region, or `foundation` or `edge` of an environment on AWS")
    outputs: dict[str, Any] = Field(description="the outputs of the unit's stack, which contain no secrets")


class OutputsDocument(Envelope):
    """Describes the output of `mjctl outputs`."""

    regions: tuple[UnitOutputsDocument, ...]


class UnitRecordDocument(JsonDocument):
    """Describes the result of a unit in a past run."""

    region: str
    outcome: str
    revision: str | None = Field(description="the revision of the unit after the run")
    refused: str | None = Field(
        description="the revision whose apply failed or that was rolled back; null if there is none"
    )
    seconds: float
    error: str | None


class RecordDocument(JsonDocument):
    """Describes a past run."""

    id: str
    at: str = Field(description="start of the run: local time with its offset, in ISO 8601")
    command: str
    who: str = Field(description="the operator: user@host")
    message: str | None = Field(description="the reason for the run, from --message")
    revision: str | None
    commit: str | None
    names: tuple[str, ...] = Field(description="units that the run worked on")
    regions: tuple[UnitRecordDocument, ...] = Field(description="results of the units; empty until the run has ended")
    exit_code: int | None = Field(description="exit code of the run; null before the end and for a killed run")
    seconds: float | None = Field(description="duration of the run; null before the end and for a killed run")


class HistoryDocument(WithoutRegions):
    """Describes the output of `mjctl history`. The newest run comes first."""

    runs: tuple[RecordDocument, ...]


class RegionHealthDocument(JsonDocument):
    """Describes the health of a region."""

    region: str
    status: Status = Field(description="the worst status of the region's checks")


class HealthDocument(Envelope):
    """Describes the output of `mjctl health`."""

    regions: tuple[RegionHealthDocument, ...]
    status: Status = Field(description="the worst status of all checks")
    healthy: bool = Field(description="true if no check failed and every region was observed")
    started_at: str
    duration_seconds: float
    counts: dict[str, int] = Field(description="status of a check -> number of checks with this status")
    checks: tuple[CheckDocument, ...]


class UnlockedDocument(JsonDocument):
    """Describes the result of an unlock."""

    region: str = Field(description="name of the unit: a region, or `foundation` or `edge` of an environment on AWS")
    result: str = Field(description="which lock was removed, or that there was no lock, in one sentence")


class UnlockDocument(Envelope):
    """Describes the output of `mjctl unlock`."""

    regions: tuple[UnlockedDocument, ...]


class PercentilesDocument(JsonDocument):
    """Describes latencies in milliseconds. The percentiles are null if no latency was measured."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class MatchCountDocument(JsonDocument):
    """Describes how many matches were started and how many ended."""

    started: int
    ended: int


class VerificationDocument(JsonDocument):
    """Describes the comparison of the played matches with PostgreSQL and DynamoDB."""

    verified: bool = Field(description="true if matches were compared and every compared match is stored correctly")
    matches: int = Field(description="number of matches that were compared")
    waited_seconds: float = Field(description="seconds from the end of play until the comparison ended")
    missing: tuple[str, ...] = Field(
        description="ids of matches that PostgreSQL or DynamoDB does not contain completely"
    )
    duplicated: tuple[str, ...] = Field(description="ids of players for whom a match was counted twice")
    wrong_scores: tuple[str, ...] = Field(
        description="ids of matches whose scores differ between the databases, or from what the bots saw"
    )
    counted_wrongly: tuple[str, ...] = Field(
        description="ids of players whose standing is not the sum of their matches"
    )


class RegionLoadDocument(JsonDocument):
    """Describes the load test of a region."""

    region: str
    run_id: str
    mode: str
    players: int = Field(description="number of bots that signed up")
    players_per_match: int
    playing_seconds: float
    interrupted: bool
    matches: MatchCountDocument
    input_to_state_ms: PercentilesDocument = Field(
        description="time from an input of a bot until the bot receives the new state"
    )
    frames: int = Field(description="number of frames that the bots received")
    reconnects: int
    throttled: int = Field(description="number of calls that the bots repeated because of the API's rate limits")
    api_ms: dict[str, PercentilesDocument] = Field(description="name of an API call -> latencies of the call")
    errors: dict[str, int] = Field(description="text of an error -> number of its occurrences")
    verification: VerificationDocument


class LoadtestDocument(Envelope):
    """Describes the output of `mjctl loadtest`: each region, and the totals of all regions."""

    regions: tuple[RegionLoadDocument | FailedRegionDocument, ...]
    run_id: str
    matches: MatchCountDocument
    input_to_state_ms: PercentilesDocument = Field(
        description="time from an input of a bot until the bot receives the new state"
    )
    errors: int = Field(description="number of errors that the bots met")
    interrupted: bool
    verification: VerificationDocument


def health_fields(report: HealthReport) -> dict[str, Any]:
    """Return the fields of the JSON document of `mjctl health`."""
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
    """Return the fields of a check's result in a JSON document.

    The field `throttled` is left out, because only the gate of a rollout uses it.
    """
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
    """Return the totals of all regions in the JSON document of `mjctl loadtest`."""
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
    """Return the entry of a region in the JSON document of `mjctl loadtest`."""
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
    """Return the comparisons with PostgreSQL and DynamoDB of all reports, added up."""
    verifications = [report.verification for report in reports if report.verification is not None]
    return {
        "verified": bool(reports) and all(report.verified for report in reports),
        "matches": sum(item.matches for item in verifications),
        "waited_seconds": max((item.waited_seconds for item in verifications), default=0.0),
        "missing": [match_id for item in verifications for match_id in item.missing],
        "duplicated": [player_id for item in verifications for player_id in item.duplicated],
        "wrong_scores": [match_id for item in verifications for match_id in item.wrong_scores],
        "counted_wrongly": [player_id for item in verifications for player_id in item.counted_wrongly],
    }
