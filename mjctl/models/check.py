"""The result of a health check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CheckStatus(StrEnum):
    """Lists the outcomes of a health check."""

    PASS = "pass"  # noqa: S105 - the word is a check's outcome and no password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Severity(StrEnum):
    """Lists the effects that the failure of a check can have."""

    CRITICAL = "critical"
    """Players of the region cannot log in, start a match or continue to play."""
    MAJOR = "major"
    """Players can play, but a part of the region is late, unprotected or without a spare.

    The next failure of that part may be critical.
    """
    MINOR = "minor"
    """Operators of the region receive less information, e.g. an alarm has no recipient."""


@dataclass(frozen=True)
class CheckResult:
    """Holds the result of a check of a part of a region.

    Attributes:
        name: The name of the check, with slashes between its groups, e.g. `process/redis`.
        region: The region of the checked part.
        status: The outcome.
        summary: A sentence for operators that says what the check found.
        hint: The operator's next step, or None.
        duration_seconds: The seconds that the check took.
        evidence: The measured values, which JSON can represent, without secrets.
        severity: The effect that a failure of the check has.
        throttled: True if AWS throttled a request of the check. A throttled check warns, and says nothing about the
            checked part.
    """

    name: str
    region: str
    status: CheckStatus
    summary: str
    hint: str | None = None
    duration_seconds: float = 0.0
    evidence: Mapping[str, object] = field(default_factory=dict)
    severity: Severity = Severity.MAJOR
    throttled: bool = False

    @property
    def observed(self) -> bool:
        """Return whether the check examined its part of the region.

        A skipped or throttled check does not show that the part is healthy.
        """
        return self.status is not CheckStatus.SKIP and not self.throttled
