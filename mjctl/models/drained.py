"""The record of a drain: the operator, the time and the reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mjctl.models.account import user_name


@dataclass(frozen=True)
class Drained:
    """Describes the drain of a game server.

    Attributes:
        by: The operator: `user@host`, or on AWS the caller's ARN.
        at: The start of the drain in ISO 8601.
        message: The operator's reason for the drain, or None.
    """

    by: str
    at: str
    message: str | None = None

    @classmethod
    def now(cls, message: str | None) -> Drained:
        """Return the record of a drain that this user starts now, for the reason `message`."""
        return cls(operator(), datetime.now(UTC).isoformat(timespec="seconds"), message)

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Drained | None:
        """Return the drain that the stored `values` describe, or None if `values` is damaged."""
        by, at, message = values.get("by"), values.get("at"), values.get("message")
        if not isinstance(by, str) or not isinstance(at, str):
            return None
        try:
            datetime.fromisoformat(at)
        except ValueError:
            return None
        return cls(by, at, message if isinstance(message, str) else None)

    def __str__(self) -> str:
        """Return a line for people, e.g. `drained by root@vm 4 min ago: new kernel`."""
        at = datetime.fromisoformat(self.at)
        seconds = max(0.0, (datetime.now(UTC) - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds())
        return f"drained by {self.by} {_age(seconds)} ago" + (f": {self.message}" if self.message else "")


def operator() -> str:
    """Return `user@host` for the user of this command.

    In a CI job of GitHub or GitLab, `user` is the user whose push or click started the job.
    """
    actor = os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    return f"{actor or user_name()}@{socket.gethostname()}"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
