"""The messages of Terraform's `-json` stream:

https://developer.hashicorp.com/terraform/internals/machine-readable-ui.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mjctl.models.deployment import Change
from mjctl.models.errors import DependencyError

# Major version of Terraform's JSON stream that mjctl reads. A new minor version only adds messages. A new major version
# may change the meaning of a message.
_UI_MAJOR = "1"
# Action in Terraform's stream -> action in plan JSON. For a block `removed { lifecycle { destroy = false } }`, the
# stream reports the action "remove", and plan JSON the action "forget".
_ACTION_NAMES = {"remove": "forget"}


@dataclass(frozen=True)
class ResourceDrift:
    """Reports that a resource differs from Terraform's state.

    Attributes:
        address: The resource's address in Terraform.
        action: the change of the resource outside of Terraform, `update` or `delete`.
    """

    address: str
    action: str


@dataclass(frozen=True)
class OperationStarted:
    """Reports that Terraform has started an operation on a resource.

    Attributes:
        address: The resource's address in Terraform.
        action: create, update, delete, read or replace.
    """

    address: str
    action: str


@dataclass(frozen=True)
class OperationProgress:
    """Reports that an operation on a resource has run for `elapsed_seconds`."""

    address: str
    elapsed_seconds: float


@dataclass(frozen=True)
class OperationDone:
    """Reports that Terraform has ended an operation on a resource. `ok` is False if the operation failed."""

    address: str
    action: str
    elapsed_seconds: float
    ok: bool


@dataclass(frozen=True)
class ProvisionerLine:
    """Holds a line that the provisioner of a resource printed."""

    address: str
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """Holds an error or a warning of Terraform.

    Attributes:
        severity: `error` or `warning`.
        summary: The title of the error or warning, a short sentence.
        detail: Terraform's explanation of the error or warning; "" without an explanation.
        address: The address of the resource with the error or warning, or None.
        place: `file:line` in the stack's Terraform code, or None if Terraform names no place.
    """

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
    """Counts the resources that a plan, apply or destroy changes or has changed.

    Attributes:
        add: The number of resources that are to be created, or were created.
        change: The number of resources that are to be updated, or were updated.
        remove: The number of resources that are to be deleted, or were deleted.
        operation: Terraform's operation: plan, apply or destroy. An auto-approved apply sends two summaries: first the
            summary of the plan, then the summary of the apply.
    """

    add: int
    change: int
    remove: int
    operation: str

    @property
    def total(self) -> int:
        """Return the sum of the resources to create, update and delete."""
        return self.add + self.change + self.remove


@dataclass(frozen=True)
class OutputsPublished:
    """Holds the outputs of a stack after an apply, by name."""

    values: dict[str, Any]


@dataclass(frozen=True)
class PlainText:
    """Holds a line of Terraform's output that is not JSON.

    Terraform prints some errors as text before it starts the JSON stream.
    """

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
    """Parse a line of Terraform's JSON stream.

    Return None for an empty line and for a message of a type that mjctl does not use.

    Raises:
        DependencyError: the stream has another major version than the version that mjctl reads.
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
            f"this Terraform uses version {ui} of the JSON stream, and mjctl reads version {_UI_MAJOR}.x only",
            hint="install a Terraform 1.x, and set MJCTL_TERRAFORM to its path",
        )


def _planned_change(message: dict[str, Any]) -> Change:
    """Read a message `planned_change` of Terraform's stream.

    mjctl.terraform.details adds the changed attributes, because Terraform's stream does not contain changed attributes.
    """
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
    diagnostic = message["diagnostic"]
    span = diagnostic.get("range")
    return Diagnostic(
        severity=diagnostic.get("severity", "error"),
        summary=diagnostic.get("summary", ""),
        detail=diagnostic.get("detail", ""),
        address=diagnostic.get("address"),
        place=f"{span['filename']}:{span['start']['line']}" if span else None,
    )


def _change_summary(message: dict[str, Any]) -> ChangeSummary:
    changes = message["changes"]
    return ChangeSummary(changes["add"], changes["change"], changes["remove"], changes["operation"])


def _outputs(message: dict[str, Any]) -> OutputsPublished:
    return OutputsPublished({name: output.get("value") for name, output in message["outputs"].items()})


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
