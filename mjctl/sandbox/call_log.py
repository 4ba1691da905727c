"""Keeps a log of the AWS calls of a sandbox's roles, and compares the calls with the policies of the roles."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mjctl.files import append_private
from mjctl.sandbox.policies import Policy
from mjctl.sandbox.policy_conditions import matches, matches_arn

_LARGEST = 50_000
_ALL_KEYS_OF_BUCKET = "/*"


@dataclass(frozen=True)
class RecordedCall:
    """Describes a call of AWS. The call log contains only the first of several calls that differ only in their times.

    Attributes:
        caller: The ARN of the role or user, or the name of the AWS service.
        action: The action in IAM, e.g. `sqs:SendMessage`.
        resource: The ARN of the resource, or `*` for an action without a resource.
        allowed: Whether IAM allowed the call.
        reason: The reason for which IAM refused the call, or an empty text for an allowed call.
        first_at: The time of the call, in seconds since 1970.
    """

    caller: str
    action: str
    resource: str
    allowed: bool
    reason: str = ""
    first_at: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, bool]:
        """Return the values in which two calls must differ, so that the log contains both calls."""
        return self.caller, self.action, self.resource, self.allowed


class CallLog:
    """Appends calls to a private file, but no call with the key of an earlier call."""

    def __init__(self, file: Path) -> None:
        """Read the calls that are in the file already.

        Args:
            file: The log, with one call in JSON on each line. The file of the log need not exist.
        """
        self._file = file
        self._lock = threading.Lock()
        self._known = {call.key for call in read_calls(file)}

    def add(self, call: RecordedCall) -> None:
        """Write a call to the file, unless the file contains a call with an equal key or 50,000 calls."""
        if call.key in self._known:
            return
        with self._lock:
            if call.key in self._known or len(self._known) >= _LARGEST:
                return
            self._known.add(call.key)
            with append_private(self._file) as stream:
                stream.write(json.dumps(asdict(call)) + "\n")


def read_calls(file: Path) -> list[RecordedCall]:
    """Return the calls in a log, the oldest first. An incomplete last line is skipped."""
    if not file.exists():
        return []
    calls = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            calls.append(RecordedCall(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return calls


@dataclass(frozen=True)
class RoleUse:
    """Compares the permissions of a role with the calls of the role.

    Attributes:
        role: The ARN of the role.
        allowed: The number of pairs of an action and a resource in the Allow statements of the role's policies.
        unused: Those pairs of an action and a resource that no allowed call used.
        refused: The calls of the role that IAM refused.
    """

    role: str
    allowed: int
    unused: tuple[tuple[str, str], ...]
    refused: tuple[RecordedCall, ...]


def role_uses(policies: Mapping[str, Sequence[Policy]], calls: Iterable[RecordedCall]) -> list[RoleUse]:
    """Compare the policies of roles with the recorded calls.

    Args:
        policies: The identity-based policies of each role, by the role's ARN. The comparison ignores the conditions of
            the policies.
        calls: The calls in the log.
    """
    listed = list(calls)
    uses = []
    for role, own in sorted(policies.items()):
        pairs = sorted(
            {
                (action, resource)
                for policy in own
                for statement in policy.statements
                if statement.allows
                for action in statement.actions or ("*",)
                for resource in statement.resources or ("*",)
            }
        )
        own_calls = [call for call in listed if call.caller == role]
        unused = tuple(
            (action, resource)
            for action, resource in pairs
            if not any(call.allowed and _covers(action, resource, call) for call in own_calls)
        )
        uses.append(RoleUse(role, len(pairs), unused, tuple(call for call in own_calls if not call.allowed)))
    return uses


def _covers(action: str, resource: str, call: RecordedCall) -> bool:
    return matches(action, call.action, ignore_case=True) and matches_arn(resource, call.resource)


def folded(resource: str) -> str:
    """Return the resource under which the log records a call.

    All objects of a bucket are one resource in the log. All streams of a log group are one resource too.
    """
    if resource.startswith("arn:aws:s3:::") and "/" in resource:
        return resource.split("/", 1)[0] + _ALL_KEYS_OF_BUCKET
    return resource.split(":log-stream:", 1)[0] + ":log-stream:*" if ":log-stream:" in resource else resource
