"""The part of an environment that only the production stacks read: targets `aws` and `sandbox`.

Sizes left out are those of the stacks' own variables, so that a default stands in one place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from mjctl.models.section import Section

AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
Arn = Annotated[str, StringConstraints(pattern=r"^arn:[a-z-]+:")]
DomainName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
_RegionName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]


class _AwsSection(Section):
    def given(self) -> dict[str, Any]:
        """Only what the file says, for a Terraform variable whose other attributes have defaults."""
        return self.model_dump(mode="json", exclude_none=True)


class Domain(_AwsSection):
    name: DomainName
    zone_id: str | None = Field(default=None, description="public hosted zone, if it exists already; else one is made")


class Subjects(_AwsSection):
    """Who may take the pipeline's roles: values of the OIDC token's `sub`, e.g. repo:studio/arena:pull_request."""

    deploy: tuple[str, ...] = Field(min_length=1)
    drill: tuple[str, ...] = Field(default=(), description="none: the pipeline rehearses no restores")
    plan: tuple[str, ...] = Field(min_length=1)


class Pipeline(_AwsSection):
    """The pipeline that logs in by OIDC."""

    issuer: str = "token.actions.githubusercontent.com"
    subjects: Subjects


class BackupCopies(_AwsSection):
    """Copies that AWS Backup keeps in another region."""

    copy_region: _RegionName | None = Field(
        default=None, description="by default the environment's next region; needed where it has only one"
    )
    lock: bool = Field(default=True, description="nobody deletes a recovery point early; not emulated, see docs")


class CacheSize(_AwsSection):
    node_type: str | None = None
    replicas: int | None = Field(default=None, ge=1, le=5)
    snapshot_retention_days: int | None = Field(default=None, ge=1, le=35)


class Capacity(_AwsSection):
    """Aurora capacity units, with instance_class db.serverless."""

    min: float = Field(ge=0.5)
    max: float = Field(ge=1)


class DatabaseSize(_AwsSection):
    backup_retention_days: int | None = Field(default=None, ge=7, le=35)
    capacity: Capacity | None = None
    instance_class: str | None = None
    instances: int | None = Field(default=None, ge=2, le=15)
    writer_region: _RegionName | None = Field(
        default=None, description="where `mjctl failover` has put the writer; by default primary_region"
    )


class TaskSize(_AwsSection):
    """A game server's task, and how far the service may grow."""

    cpu: int | None = None
    memory: int | None = Field(default=None, description="MiB")
    max_tasks_per_zone: int | None = Field(default=None, ge=1, description="by default ten times game.servers_per_zone")


class NetworkShape(_AwsSection):
    nat: Literal["per_zone", "single"] | None = None


class AwsSettings(_AwsSection):
    """One account's share of an environment."""

    account_id: AccountId = Field(description="credentials of another account are refused")
    domain: Domain
    primary_region: _RegionName | None = Field(
        default=None, description="takes the database's writes and holds what exists once; by default the first region"
    )
    state_bucket: str | None = Field(default=None, description="by default <project>-terraform-state-<account>")
    protect: bool | None = Field(
        default=None, description="refuse to delete what holds players' data; by default only on target aws"
    )
    routing: Literal["accelerator", "latency"] = Field(
        default="accelerator", description="how players reach the nearest healthy region"
    )
    shield_advanced: bool = False
    price_class: str | None = Field(default=None, description="where CloudFront serves from, e.g. PriceClass_100")
    operators: tuple[Arn, ...] = Field(default=(), description="roles or users that may use the ops function")
    notify_emails: tuple[Email, ...] = Field(default=(), description="who receives alarms")
    log_retention_days: int | None = None
    pipeline: Pipeline | None = None
    backup: BackupCopies = BackupCopies()
    cache: CacheSize = CacheSize()
    database: DatabaseSize = DatabaseSize()
    network: NetworkShape = NetworkShape()
    task: TaskSize = TaskSize()
