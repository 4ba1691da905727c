"""The contract: the one typed output of every stack, and all that mjctl knows of what was deployed.

The target (`local`, `sandbox`, `aws`) never shows through it: a part says how it is reached, not how it came to be.
A secret never stands in it; a `*_secret` field is a reference (`file:/path/to.json` or a Secrets Manager ARN).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CONTRACT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AwsAccess(_Part):
    """How the AWS APIs of this region are reached.

    Only for an emulated AWS: `endpoint_url`, and `service_endpoint_urls` of services that another emulator answers, by
    AWS's own names in lower case, e.g. `cloudwatch` or `application_auto_scaling`. `secret` refers to JSON with the key
    that the emulated AWS asks for: `access_key_id` and `secret_access_key`.
    """

    endpoint_url: str | None = None
    secret: str | None = None
    service_endpoint_urls: dict[str, str] = {}
    account_id: str


class Endpoints(_Part):
    """Base addresses for players, with no trailing slash. `api`: HTTP API; `web`: the game's page, if it is served.

    `served`: false where the addresses are names only, as on an emulated AWS that runs no tasks.
    """

    api: str
    web: str | None = None
    served: bool = True


class Cache(_Part):
    """Redis. `access`: `direct` from this machine, or through the ops function inside the VPC."""

    url: str
    secret: str | None = None
    access: Literal["direct", "ops_function"] = "direct"
    ops_function_arn: str | None = None


class DatabaseAccess(_Part):
    """PostgreSQL. `secret` refers to JSON with `password`. `access`: `direct` from this machine, or `private`."""

    host: str
    port: int
    name: str
    user: str
    secret: str
    tls: bool
    access: Literal["direct", "private"] = "direct"


class Table(_Part):
    name: str
    arn: str


class DeadLetterQueue(_Part):
    url: str
    arn: str


class Queue(_Part):
    url: str
    arn: str
    dead_letter: DeadLetterQueue
    max_receive_count: int


class IdentityProvider(_Part):
    user_pool_id: str
    client_id: str
    issuer: str
    jwks_url: str


class Server(_Part):
    """One game server. `play_url`: WebSocket address for players; `ops_url`: /healthz, /readyz and /metrics."""

    id: str
    zone: str
    play_url: str
    ops_url: str


class Process(_Part):
    """One supervised local process: its program name there, and what health asks of it."""

    name: str
    role: Literal["cache", "database", "aws", "api", "worker", "game-server"]
    zone: str | None = None
    health: str = Field(description="http(s)://... expecting 200, or tcp://host:port")


class Fleet(_Part):
    """Where the game servers run. `servers` is fixed on `local`; on ECS and EKS they are looked up."""

    kind: Literal["supervisor", "ecs", "eks"]
    supervisor_socket: str | None = None
    run_dir: str | None = None
    processes: tuple[Process, ...] = ()
    servers: tuple[Server, ...] = ()
    cluster: str | None = None
    service: str | None = None
    task_definition: str | None = Field(default=None, description="what the service was told to run")
    log_group: str | None = None


class Backup(_Part):
    """Where backups go: portable ones to `directory` on `local`, else to `bucket`; those of AWS Backup to the vault."""

    directory: str | None = None
    bucket: str | None = None
    vault_name: str | None = None


class Managed(_Part):
    """What AWS runs for this region, by the names its APIs know; `functions` and `dead_letter_queues` by purpose."""

    alarm_prefix: str
    alarm_topic: str
    api_id: str
    cache_group: str
    certificate: str
    database_cluster: str
    database_global_cluster: str | None = None
    dead_letter_queues: dict[str, str] = {}
    functions: dict[str, str]
    load_balancer: str
    primary_region: str
    target_group: str
    web_acl: str
    web_domain: str


class Contract(_Part):
    """What a stack of one region published. Keys of `tables`, `queues`, `topics` are those of the data-plane file."""

    version: Literal[1]
    project: str
    environment: str
    target: Literal["local", "sandbox", "aws"]
    region: str
    zones: tuple[str, ...]
    ca_file: str | None = Field(
        default=None, description="certificate of the private authority that every TLS address here is verified with"
    )
    aws: AwsAccess
    endpoints: Endpoints
    cache: Cache
    database: DatabaseAccess
    tables: dict[str, Table]
    topics: dict[str, str]
    queues: dict[str, Queue]
    identity: IdentityProvider
    keys: dict[str, str]
    fleet: Fleet
    backup: Backup
    managed: Managed | None = Field(default=None, description="absent on `local`, where processes do all of it")

    @property
    def scope(self) -> str:
        """The options that name the region to a command, for advice."""
        return f"--env {self.environment} --region {self.region}"

    @classmethod
    def parse(cls, value: Any) -> Contract:
        """Check a decoded `terraform output` value.

        Raises:
            ConfigError: the stack published something else than this version of mjctl reads.
        """
        from pydantic import ValidationError

        from mjctl.models.errors import ConfigError

        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "contract"
            raise ConfigError(
                f"the stack's contract does not fit this version of mjctl: {field}: {first['msg']}",
                hint=f"`mjctl deploy {_scope_of(value)}` with this version publishes the contract again",
            ) from error


def _scope_of(value: Any) -> str:
    """The options that name the region of a contract that may be of any shape."""
    fields = value if isinstance(value, dict) else {}
    return f"--env {fields.get('environment', 'ENV')} --region {fields.get('region', 'REGION')}"
