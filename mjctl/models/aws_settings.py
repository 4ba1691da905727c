"""The section `aws` of an environment's file, which only the targets `aws` and `sandbox` read.

A size that the environment's file omits has the default of the stack's Terraform variable, which the field's
description repeats. Only `max_tasks_per_zone` has a default that mjctl calculates.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mjctl.models.section import Section, text_like

AccountId = Annotated[str, text_like(r"^[0-9]{12}$", "the twelve digits of an AWS account, in quotes")]
Arn = Annotated[str, text_like(r"^arn:[a-z-]+:", "an ARN, e.g. arn:aws:iam::123456789012:role/operations")]
DomainName = Annotated[
    str,
    text_like(r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$", "a lower-case DNS name, e.g. arena.example.com"),
]
Email = Annotated[str, text_like(r"^[^@\s]+@[^@\s]+$", "an e-mail address")]
RegionName = Annotated[str, text_like(r"^[a-z]{2}(-[a-z]+)+-[0-9]$", "the name of an AWS region, e.g. eu-west-1")]


class _AwsSection(Section):
    def given(self) -> dict[str, Any]:
        """Return the fields that are set, for a Terraform variable whose other attributes have their own defaults."""
        return self.model_dump(mode="json", exclude_none=True)


class Domain(_AwsSection):
    """Describes the environment's domain."""

    name: DomainName = Field(description="The DNS name under which players reach the game, e.g. `arena.example.com`.")
    zone_id: str | None = Field(
        default=None,
        description="The id of the domain's public hosted zone in Route 53, if the zone exists already. By default the "
        "foundation creates the domain's hosted zone.",
    )


class Subjects(_AwsSection):
    """Lists the CI jobs that may assume the pipeline's roles, by the claim `sub` of the jobs' OIDC tokens."""

    deploy: tuple[str, ...] = Field(
        min_length=1,
        description="The CI jobs that may assume the role for deploys, by the claim `sub` of their OIDC tokens, e.g. "
        "`repo:studio/arena:environment:prod`.",
    )
    drill: tuple[str, ...] = Field(
        default=(),
        description="The CI jobs that may assume the role for backup drills, by the claim `sub` of their OIDC tokens. "
        "By default the pipeline runs no drills.",
    )
    plan: tuple[str, ...] = Field(
        min_length=1,
        description="The CI jobs that may assume the read-only role for plans, by the claim `sub` of their OIDC "
        "tokens, e.g. `repo:studio/arena:pull_request`.",
    )


class Pipeline(_AwsSection):
    """Describes the CI pipeline, which logs in to AWS by OIDC and needs no stored credentials."""

    issuer: str = Field(
        default="token.actions.githubusercontent.com",
        description="The host name of the OIDC issuer, without `https://`. The default issuer is GitHub Actions.",
    )
    subjects: Subjects = Field(description="The CI jobs that may assume each role of the pipeline.")


class BackupCopies(_AwsSection):
    """Describes the copies that AWS Backup keeps in another region."""

    copy_region: RegionName | None = Field(
        default=None,
        description="The region that keeps the copies of the managed backups. By default the backups of each region "
        "are copied to the next region of the environment's file. An environment of one region must set `copy_region` "
        "to another AWS region.",
    )
    lock: bool = Field(
        default=True,
        description="Lock the backup vaults, so that no user can delete a recovery point before its retention ends. "
        "The sandbox does not emulate the lock of backup vaults (docs/emulated-aws.md).",
    )


class RedisSize(_AwsSection):
    """Describes the size of the Redis of a region's cache or state store."""

    node_type: str | None = Field(default=None, description="The ElastiCache node type, by default `cache.r7g.large`.")
    replicas: int | None = Field(
        default=None, ge=1, le=5, description="The number of Redis replicas beside the primary node, by default 2."
    )
    snapshot_retention_days: int | None = Field(
        default=None, ge=1, le=35, description="The number of days for which AWS keeps Redis snapshots, by default 7."
    )


class StateSize(RedisSize):
    """Describes the size of a region's state store, which runs in cluster mode."""

    shards: int | None = Field(
        default=None,
        ge=1,
        le=90,
        description="The number of shards, which share the matches of the region, by default 1. Each shard has a "
        "primary node and its replicas. Running matches continue while AWS adds or removes shards (docs/aws.md).",
    )


class Capacity(_AwsSection):
    """Describes the limits of an Aurora Serverless instance, in Aurora capacity units.

    An Aurora capacity unit (ACU) has about 2 GiB of memory.
    """

    min: float = Field(ge=0.5, description="The smallest capacity in Aurora capacity units (ACU).")
    max: float = Field(ge=1, description="The largest capacity in Aurora capacity units (ACU).")


class DatabaseSize(_AwsSection):
    """Describes the size of a region's Aurora cluster and the place of the writer."""

    backup_retention_days: int | None = Field(
        default=None, ge=7, le=35, description="The number of days for which Aurora keeps its backups, by default 14."
    )
    capacity: Capacity | None = Field(
        default=None,
        description="The limits of an Aurora Serverless instance. Set `capacity` only with "
        "`instance_class: db.serverless`.",
    )
    instance_class: str | None = Field(
        default=None, description="The class of the Aurora instances, by default `db.r7g.large`."
    )
    instances: int | None = Field(
        default=None, ge=2, le=15, description="The number of Aurora instances in each region, by default 2."
    )
    writer_region: RegionName | None = Field(
        default=None,
        description="The region that contains the database's writer. Set `writer_region` after `mjctl failover` has "
        "moved the writer, so that the functions of the next deploy try that region's writer first. The default writer "
        "region is the primary region.",
    )


class TaskSize(_AwsSection):
    """Describes the size of a game server's Fargate task and the largest number of tasks."""

    cpu: int | None = Field(default=None, description="The CPU units of a task, by default 1024, which are one vCPU.")
    memory: int | None = Field(default=None, description="The memory of a task in MiB, by default 2048.")
    max_tasks_per_zone: int | None = Field(
        default=None,
        ge=1,
        description="The largest number of tasks that the service may run in each zone. The default of "
        "`max_tasks_per_zone` is ten times `game.servers_per_zone`.",
    )


class FirewallSettings(_AwsSection):
    """Describes the decisions of the firewall before the game servers, the API and the web client."""

    native_clients: bool | None = Field(
        default=None,
        description="Let requests without the header `User-Agent` pass, which many native clients do not send. The "
        "firewall counts these requests. By default the firewall blocks them.",
    )
    rate_limit: int | None = Field(
        default=None,
        ge=100,
        description="The number of requests in five minutes after which the firewall blocks an address, by default "
        "2000. Raise the number for a load test from a single address.",
    )


class PlayerAccounts(_AwsSection):
    """Describes the accounts of the players in Amazon Cognito."""

    threat_protection: Literal["block", "record", "none"] | None = Field(
        default=None,
        description="What Cognito does about a log-in that it thinks risky: `block` (default) blocks the log-in, "
        "`record` only records the log-in. `block` and `record` need Cognito's tier Plus, which AWS bills for each "
        "player who logs in during a month. `none` uses the cheaper tier Essentials.",
    )


class NetworkShape(_AwsSection):
    """Describes how the private networks of a region reach the internet."""

    nat: Literal["per_zone", "single"] | None = Field(
        default=None,
        description="The number of NAT gateways: `per_zone` (default) survives the loss of a zone, `single` costs "
        "less.",
    )


class AwsSettings(_AwsSection):
    """Describes the AWS account of an environment and the sizes of its resources."""

    account_id: AccountId = Field(
        description="The AWS account of the environment, twelve digits in quotes. mjctl refuses credentials of another "
        "account."
    )
    domain: Domain = Field(description="The domain of the environment.")
    primary_region: RegionName | None = Field(
        default=None,
        description="The region that contains the foundation, and the database's writer unless `mjctl failover` "
        "moved the writer. The default primary region is the first region of the file.",
    )
    state_bucket: str | None = Field(
        default=None,
        description="The S3 bucket of the Terraform states, releases and locks. The default name is "
        "`<project>-terraform-state-<account>`.",
    )
    protect: bool | None = Field(
        default=None,
        description="Make AWS refuse to delete data stores, and buckets that contain objects. The default of `protect` "
        "is true for the target aws and false for sandbox.",
    )
    routing: Literal["accelerator", "latency"] = Field(
        default="accelerator",
        description="How players reach the nearest healthy region: `accelerator` by a Global Accelerator, `latency` by "
        "latency records in Route 53.",
    )
    shield_advanced: bool = Field(
        default=False,
        description="Protect the public endpoints with AWS Shield Advanced. If `shield_advanced` is true, "
        "the account must have a subscription of Shield Advanced (3,000 USD a month, for a year).",
    )
    price_class: str | None = Field(
        default=None,
        description="The locations from which CloudFront serves: `PriceClass_100`, `PriceClass_200` or "
        "`PriceClass_All` (default).",
    )
    operators: tuple[Arn, ...] = Field(
        default=(),
        description="The ARNs of the IAM roles or users that may invoke the ops function after a log-in with MFA.",
    )
    notify_emails: tuple[Email, ...] = Field(default=(), description="The e-mail addresses that receive the alarms.")
    log_retention_days: int | None = Field(
        default=None, description="The number of days for which CloudWatch keeps logs, by default 90."
    )
    pipeline: Pipeline | None = Field(
        default=None, description="The CI pipeline that deploys. By default Terraform creates no roles for a pipeline."
    )
    backup: BackupCopies = Field(default=BackupCopies(), description="The copies of the managed backups.")
    cache: RedisSize = Field(
        default=RedisSize(), description="The size of each region's cache, which may evict its values."
    )
    state: StateSize = Field(
        default=StateSize(), description="The size of each region's state store, which keeps the running matches."
    )
    database: DatabaseSize = Field(default=DatabaseSize(), description="The size of each region's database.")
    firewall: FirewallSettings = Field(
        default=FirewallSettings(), description="The decisions of the firewall before every public entry."
    )
    accounts: PlayerAccounts = Field(default=PlayerAccounts(), description="The accounts of the players.")
    network: NetworkShape = Field(default=NetworkShape(), description="The network of each region.")
    task: TaskSize = Field(default=TaskSize(), description="The size of the game servers' tasks.")
