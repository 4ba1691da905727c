"""The envelope that every JSON document has, and what several documents hold."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mjctl.models.errors import MjctlError

# The version of every document. Before version 2, documents had no envelope.
VERSION = 2


class JsonDocument(BaseModel):
    """A document, or a part of one."""

    is_document: ClassVar[bool] = True
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,
        serialize_by_alias=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


class ErrorDocument(JsonDocument):
    """An error: what happened, where, and what to do next."""

    code: int = Field(description="the exit code of this error")
    name: str = Field(description="the name of the exit code")
    what: str
    where: str | None
    next: str | None


class FailedRegionDocument(JsonDocument):
    """A region in which the command failed; other regions of the same document may have succeeded."""

    region: str
    error: ErrorDocument


class Envelope(JsonDocument):
    """The fields of every document. The model of a command adds its regions and its other fields."""

    schema_: str = Field(alias="schema", description="name and version of the document: docs/schemas/<name>.json")
    command: str | None = Field(description="the command that printed it; null when the command line names none")
    environment: str | None = Field(description="null for a command that reads no environment, or reads them all")
    regions: tuple[JsonDocument, ...] = Field(description="one entry a region; empty for a command that has none")


class WithoutRegions(Envelope):
    """The envelope of a command that works on no region."""

    regions: tuple[JsonDocument, ...] = Field(max_length=0, description="always empty: this command has no regions")


class FailureDocument(Envelope):
    """Describes the failure of a command that succeeded in no region."""

    regions: tuple[FailedRegionDocument, ...] = Field(
        description="the error of each region; empty when the command failed before it worked on a region"
    )
    error: ErrorDocument = Field(description="the error of the command; with several regions, that of the first region")


class CheckDocument(JsonDocument):
    """One finding of a health check."""

    region: str
    name: str
    status: Literal["pass", "warn", "fail", "skip"]
    severity: Literal["critical", "major", "minor"] = Field(
        description="what a failure means: players cannot play; a spare or a safeguard is missing; operators see less"
    )
    summary: str
    hint: str | None
    duration_seconds: float
    evidence: dict[str, object]


def error_data(error: MjctlError) -> dict[str, object]:
    """Return the fields of an error's document."""
    return ErrorDocument(
        code=int(error.exit_code),
        name=error.exit_code.name.lower(),
        what=error.what,
        where=error.where,
        next=error.hint,
    ).model_dump()
