"""Terraform's `-json` stream as types: https://developer.hashicorp.com/terraform/internals/machine-readable-ui."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mjctl.models.deployment import Change
from mjctl.models.errors import DependencyError

# Minor versions only add; another major may mean anything.
_UI_MAJOR = "1"
# The stream calls `removed { lifecycle { destroy = false } }` "remove"; plan JSON calls it "forget".
_ACTION_NAMES = {"remove": "forget"}


@dataclass(frozen=True)
class ResourceDrift:
    address: str
    action: str


@dataclass(frozen=True)
class OperationStarted:
    """`action`: create, update, delete, read or replace."""

    address: str
    action: str


@dataclass(frozen=True)
class OperationProgress:
    address: str
    elapsed_seconds: float


@dataclass(frozen=True)
class OperationDone:
    address: str
    action: str
    elapsed_seconds: float
    ok: bool


@dataclass(frozen=True)
class ProvisionerLine:
    address: str
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """`severity`: error or warning. `place`: `file:line` in the stack's source, where Terraform knows it."""

    severity: str
    summary: str
    detail: str = ""
    address: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        parts = [self.summary, self.detail.strip()]
        where = " ".join(part for part in (self.address, f"({self.place})" if self.place else None) if part)
        return "\n".join(part for part in [*parts, where] if part)


@dataclass(frozen=True)
class ChangeSummary:
    """`operation`: plan, apply or destroy; an auto-approved apply sends one of `plan` first and one of its own last."""

    add: int
    change: int
    remove: int
    operation: str

    @property
    def total(self) -> int:
        return self.add + self.change + self.remove


@dataclass(frozen=True)
class OutputsPublished:
    values: dict[str, Any]


@dataclass(frozen=True)
class PlainText:
    """A line that is no JSON: Terraform prints some errors before its JSON view is up."""

    text: str


Event = (
    Change
    | ResourceDrift
    | OperationStarted
    | OperationProgress
    | OperationDone
    | ProvisionerLine
    | Diagnostic
    | ChangeSummary
    | OutputsPublished
    | PlainText
)


def parse_line(line: str) -> Event | None:
    """One line of the stream; None for a message that nobody here needs.

    Raises:
        DependencyError: the stream is of another major version.
    """
    line = line.strip()
    if not line:
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return PlainText(line)
    if not isinstance(message, dict) or "type" not in message:
        return PlainText(line)
    parse = _PARSERS.get(message["type"])
    return parse(message) if parse else None


def _version(message: dict[str, Any]) -> None:
    ui = str(message.get("ui", ""))
    if ui.split(".", maxsplit=1)[0] != _UI_MAJOR:
        raise DependencyError(
            f"this Terraform speaks version {ui} of its JSON view, mjctl understands {_UI_MAJOR}.x",
            hint="use a Terraform of the 1.x series; MJCTL_TERRAFORM can name it",
        )


def _planned_change(message: dict[str, Any]) -> Change:
    """Read a planned change. The stream does not name its attributes, see mjctl.terraform.details."""
    change, resource = message["change"], message["change"]["resource"]
    action = _ACTION_NAMES.get(change["action"], change["action"])
    return Change(resource["addr"], action, change.get("reason"), resource["resource_type"])


def _resource_drift(message: dict[str, Any]) -> ResourceDrift:
    return ResourceDrift(message["change"]["resource"]["addr"], message["change"]["action"])


def _started(message: dict[str, Any]) -> OperationStarted:
    return OperationStarted(message["hook"]["resource"]["addr"], message["hook"].get("action", "read"))


def _progress(message: dict[str, Any]) -> OperationProgress:
    return OperationProgress(message["hook"]["resource"]["addr"], message["hook"].get("elapsed_seconds", 0))


def _done(message: dict[str, Any]) -> OperationDone:
    hook = message["hook"]
    ok = message["type"].endswith("_complete")
    return OperationDone(hook["resource"]["addr"], hook.get("action", "read"), hook.get("elapsed_seconds", 0), ok)


def _provisioner_line(message: dict[str, Any]) -> ProvisionerLine:
    return ProvisionerLine(message["hook"]["resource"]["addr"], message["hook"].get("output", "").rstrip())


def _diagnostic(message: dict[str, Any]) -> Diagnostic:
    found = message["diagnostic"]
    span = found.get("range")
    return Diagnostic(
        severity=found.get("severity", "error"),
        summary=found.get("summary", ""),
        detail=found.get("detail", ""),
        address=found.get("address"),
        place=f"{span['filename']}:{span['start']['line']}" if span else None,
    )


def _change_summary(message: dict[str, Any]) -> ChangeSummary:
    changes = message["changes"]
    return ChangeSummary(changes["add"], changes["change"], changes["remove"], changes["operation"])


def _outputs(message: dict[str, Any]) -> OutputsPublished:
    return OutputsPublished({name: found.get("value") for name, found in message["outputs"].items()})


_PARSERS = {
    "version": _version,
    "planned_change": _planned_change,
    "resource_drift": _resource_drift,
    "apply_start": _started,
    "apply_progress": _progress,
    "apply_complete": _done,
    "apply_errored": _done,
    "provision_progress": _provisioner_line,
    "diagnostic": _diagnostic,
    "change_summary": _change_summary,
    "outputs": _outputs,
}
