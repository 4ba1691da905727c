"""The envelope that every JSON document has, and the parts that several documents contain."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mjctl.models.errors import MjctlError

# The version of the format of every JSON document. Before version 2, documents had no envelope.
VERSION = 2


class JsonDocument(BaseModel):
    """Describes a JSON document or a part of a JSON document."""

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
    """Describes an error: what happened, where, and what to do next."""

    code: int = Field(description="the exit code of this error")
    name: str = Field(description="the name of the exit code, in lower case")
    what: str = Field(description="what happened, in one sentence")
    where: str | None = Field(
        description="place of the error: environment, region, file or resource; null if the place is not known"
    )
    next: str | None = Field(description="what to do next; null if there is no advice")


class FailedRegionDocument(JsonDocument):
    """Describes a region in which the command failed. In other regions the command may have succeeded."""

    region: str
    error: ErrorDocument


class Envelope(JsonDocument):
    """Describes the fields of every JSON document. The model of a command adds the command's own fields."""

    schema_: str = Field(alias="schema", description="name and version of the document: docs/schemas/<name>.json")
    command: str | None = Field(description="the command, such as `cache stats`; null if the command line has none")
    environment: str | None = Field(
        description="name of the environment; null for a command that reads either no environment or all of them"
    )
    regions: tuple[JsonDocument, ...] = Field(
        description="an entry for each region; empty for a command that has no regions"
    )


class WithoutRegions(Envelope):
    """Describes the envelope of a command that has no regions."""

    regions: tuple[JsonDocument, ...] = Field(max_length=0, description="always empty: this command has no regions")


class FailureDocument(Envelope):
    """Describes the failure of a command that succeeded in no region."""

    regions: tuple[FailedRegionDocument, ...] = Field(
        description="the error of each region; empty if the command failed before it worked on a region"
    )
    error: ErrorDocument = Field(description="the error of the command, or of its first region if all regions failed")


class CheckDocument(JsonDocument):
    """Describes the result of a check."""

    region: str
    name: str
    status: Literal["pass", "warn", "fail", "skip"]
    severity: Literal["critical", "major", "minor"] = Field(
        description="critical: players cannot play if the check fails. major: a reserve or a safeguard is missing. "
        "minor: only information for operators is missing."
    )
    summary: str = Field(description="what the check observed, in one sentence")
    hint: str | None = Field(description="what to do next; null if there is no advice")
    duration_seconds: float
    evidence: dict[str, object] = Field(description="the measured values from which the result of the check follows")


def error_data(error: MjctlError) -> dict[str, object]:
    """Return the fields of an error in a JSON document."""
    return ErrorDocument(
        code=int(error.exit_code),
        name=error.exit_code.name.lower(),
        what=error.what,
        where=error.where,
        next=error.hint,
    ).model_dump()
