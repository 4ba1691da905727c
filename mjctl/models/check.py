"""What a health check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CheckStatus(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Severity(StrEnum):
    """What the failure of a check means, whatever was measured."""

    CRITICAL = "critical"
    """Players of the region cannot log in, start a match or play on."""
    MAJOR = "major"
    """Play goes on, but something is late, unprotected or without its spare: the next failure may be critical."""
    MINOR = "minor"
    """Those who operate the region see or hear less."""


@dataclass(frozen=True)
class CheckResult:
    """One finding about one part of one region. `evidence` is what was measured, JSON-serialisable, without secrets."""

    name: str
    region: str
    status: CheckStatus
    summary: str
    hint: str | None = None
    duration_seconds: float = 0.0
    evidence: Mapping[str, object] = field(default_factory=dict)
    severity: Severity = Severity.MAJOR
    throttled: bool = False
    """AWS refused the question for now: the check warns, and says nothing of its part."""

    @property
    def observed(self) -> bool:
        """Whether the part was looked at. A skipped or throttled check is no evidence that the part is well."""
        return self.status is not CheckStatus.SKIP and not self.throttled
