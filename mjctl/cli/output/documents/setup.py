"""The JSON documents of bootstrap, package, sandbox, config, doctor and version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import CheckDocument, ErrorDocument, JsonDocument, WithoutRegions


class BootstrapDocument(WithoutRegions):
    """Describes the output of `mjctl bootstrap`."""

    account_id: str
    outcome: Literal["unchanged", "changed", "made"]
    bucket: str
    region: str = Field(description="region of the state bucket")
    kms_key_arn: str
    state: str = Field(description="address of the Terraform state that describes the state bucket itself: s3://...")


class FunctionsDocument(JsonDocument):
    """Describes the archive of the Lambda functions."""

    path: str
    sha256_base64: str = Field(description="SHA-256 of the archive in base64, the form of Terraform's source_code_hash")
    architecture: str
    python: str = Field(description="version of Python that runs the archive, such as 3.13")
    zipped_bytes: int
    unzipped_bytes: int
    made: bool = Field(description="false if an archive of the same code existed already")


class ImageDocument(JsonDocument):
    """Describes the image of the game server."""

    repository: str
    revision: str = Field(description="digest of the game server's code")
    digest: str = Field(description="digest of the image")
    made: bool = Field(description="false if the registry had an image of the same code already")
    reference: str = Field(description="address of the image with its digest, for `docker pull`")


class PackageDocument(WithoutRegions):
    """Describes the output of `mjctl package`."""

    revision: str = Field(description="digest of the game server's code")
    functions: FunctionsDocument
    image: ImageDocument | None = Field(description="null without --push")


class EmulatorDocument(JsonDocument):
    """Describes a running emulator."""

    name: str
    state: Literal["up"]
    version: str
    pid: int
    url: str
    memory_bytes: int = Field(description="memory of the emulator and of the processes that it has started")
    uptime_seconds: float
    log: str = Field(description="path of the emulator's log")


class StoppedEmulatorDocument(JsonDocument):
    """Describes an emulator that does not run."""

    name: str
    state: Literal["down"]


class SandboxUpDocument(WithoutRegions):
    """Describes the output of `mjctl sandbox up`."""

    account_id: str
    started: tuple[str, ...] = Field(description="emulators that this command started")
    state_kept: bool = Field(description="true if an emulator started with a saved state")
    stage: bool = Field(description="true if real processes run behind the emulated resources")
    emulators: tuple[EmulatorDocument, ...]
    variables: dict[str, str] = Field(description="environment variables for the AWS CLI, boto3 and Terraform")


class SandboxDownDocument(WithoutRegions):
    """Describes the output of `mjctl sandbox down`."""

    stopped: tuple[str, ...] = Field(description="emulators that this command stopped")
    forgotten: tuple[str, ...] = Field(description="units whose resources --forget deleted; empty without --forget")


class SandboxStatusDocument(WithoutRegions):
    """Describes the output of `mjctl sandbox status`."""

    state: Literal["up", "partly up", "down"]
    emulators: tuple[EmulatorDocument | StoppedEmulatorDocument, ...]


class SentMessageDocument(JsonDocument):
    """Describes a mail or a text message that the sandbox has sent."""

    id: str
    sent_at: float = Field(description="Unix time at which the message was sent")
    sender: str = Field(description="address of the sender; empty for a text message")
    to: tuple[str, ...] = Field(description="addresses or phone numbers of all recipients")
    subject: str
    text: str = Field(description="text, or HTML of a mail without a text")
    kind: str = Field(description="e.g. CognitoVerificationMessage, SnsNotification, SendEmail or SMS")


class SandboxMailDocument(WithoutRegions):
    """Describes the output of `mjctl sandbox mail`."""

    messages: tuple[SentMessageDocument, ...]


class RecordedCallDocument(JsonDocument):
    """Describes the first call with an action on a resource and a decision of IAM."""

    caller: str = Field(description="ARN of the role or user, or name of the AWS service")
    action: str
    resource: str
    allowed: bool
    reason: str = Field(description="reason of a refusal; empty for an allowed call")
    first_at: float = Field(description="Unix time of the first such call")


class SandboxCallsDocument(WithoutRegions):
    """Describes the output of `mjctl sandbox calls`."""

    calls: tuple[RecordedCallDocument, ...]


class ValidEnvironmentDocument(JsonDocument):
    """Describes an environment whose file is valid."""

    name: str
    valid: Literal[True]
    target: str


class InvalidEnvironmentDocument(JsonDocument):
    """Describes an environment whose file is invalid."""

    name: str
    valid: Literal[False]
    error: ErrorDocument


class ConfigValidateDocument(WithoutRegions):
    """Describes the output of `mjctl config validate`."""

    environments: tuple[ValidEnvironmentDocument | InvalidEnvironmentDocument, ...]


class ConfigShowDocument(WithoutRegions):
    """Describes the output of `mjctl config show`."""

    settings: dict[str, Any] = Field(description="the settings of the environment's file, including all defaults")


class DoctorDocument(WithoutRegions):
    """Describes the output of `mjctl doctor`."""

    checks: tuple[CheckDocument, ...]


class VersionDocument(WithoutRegions):
    """Describes the output of `mjctl version`."""

    version: str
