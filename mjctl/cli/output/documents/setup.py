"""The documents of bootstrap, package, sandbox, config, doctor and version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import CheckDocument, ErrorDocument, JsonDocument, WithoutRegions


class BootstrapDocument(WithoutRegions):
    """bootstrap."""

    account_id: str
    outcome: Literal["unchanged", "changed", "made"]
    bucket: str
    region: str = Field(description="where the bucket is")
    kms_key_arn: str
    state: str = Field(description="where the bucket's own state lies, s3://...")


class FunctionsDocument(JsonDocument):
    path: str
    sha256_base64: str = Field(description="as Terraform's source_code_hash wants it")
    architecture: str
    python: str
    zipped_bytes: int
    unzipped_bytes: int
    made: bool = Field(description="false: the archive of this code was there")


class ImageDocument(JsonDocument):
    repository: str
    revision: str
    digest: str
    made: bool = Field(description="false: the image of this code was in the registry")
    reference: str


class PackageDocument(WithoutRegions):
    """package."""

    revision: str = Field(description="digest of the game's code")
    functions: FunctionsDocument
    image: ImageDocument | None = Field(description="null without --push")


class EmulatorDocument(JsonDocument):
    """A running emulator."""

    name: str
    state: Literal["up"]
    version: str
    pid: int
    url: str
    memory_bytes: int
    uptime_seconds: float
    log: str


class StoppedEmulatorDocument(JsonDocument):
    name: str
    state: Literal["down"]


class SandboxUpDocument(WithoutRegions):
    """sandbox up."""

    account_id: str
    started: tuple[str, ...] = Field(description="emulators that were not running before")
    state_kept: bool = Field(description="what was deployed before is there again")
    emulators: tuple[EmulatorDocument, ...]
    variables: dict[str, str] = Field(description="for the AWS CLI, boto3 and Terraform")


class SandboxDownDocument(WithoutRegions):
    """sandbox down."""

    stopped: tuple[str, ...]
    forgotten: tuple[str, ...] = Field(description="stacks that were deployed, with --forget")


class SandboxStatusDocument(WithoutRegions):
    """sandbox status."""

    state: Literal["up", "partly up", "down"]
    emulators: tuple[EmulatorDocument | StoppedEmulatorDocument, ...]


class ValidEnvironmentDocument(JsonDocument):
    name: str
    valid: Literal[True]
    target: str


class InvalidEnvironmentDocument(JsonDocument):
    name: str
    valid: Literal[False]
    error: ErrorDocument


class ConfigValidateDocument(WithoutRegions):
    """config validate."""

    environments: tuple[ValidEnvironmentDocument | InvalidEnvironmentDocument, ...]


class ConfigShowDocument(WithoutRegions):
    """config show."""

    settings: dict[str, Any] = Field(description="the environment's file with every default filled in")


class DoctorDocument(WithoutRegions):
    """doctor."""

    checks: tuple[CheckDocument, ...]


class VersionDocument(WithoutRegions):
    """version."""

    version: str
