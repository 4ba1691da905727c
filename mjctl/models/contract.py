"""The contract: the typed output of a region's stack, and the only knowledge that mjctl has of the deployed region.

The contract says how each part is reached and not how the part was created, so a command works in the same way for
every target. The contract contains no secrets. A field `secret` is a reference: `file:/path/to.json`, or the ARN of a
secret in Secrets Manager. For a log-in by IAM, the field is `iam:GROUP` for Redis, and `iam` for PostgreSQL.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CONTRACT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AwsAccess(_Part):
    """Describes how the AWS APIs of a region are reached.

    Attributes:
        endpoint_url: The address of an emulated AWS; None for the real AWS.
        secret: A reference to JSON with the emulated AWS's key, `access_key_id` and `secret_access_key`; None for the
            real AWS.
        service_endpoint_urls: The addresses of services that a second emulator answers, by the service's name in lower
            case, e.g. `cloudwatch` or `application_auto_scaling`.
        account_id: The AWS account, twelve digits.
    """

    endpoint_url: str | None = None
    secret: str | None = None
    service_endpoint_urls: dict[str, str] = {}
    account_id: str


class Endpoints(_Part):
    """Holds the base addresses for players, without a trailing slash.

    Attributes:
        api: The address of the HTTP API.
        web: The address of the web client; None if the region does not serve it.
        served: False if no process answers at the addresses, as on an emulated AWS without a stage.
    """

    api: str
    web: str | None = None
    served: bool = True


class RedisAccess(_Part):
    """Describes how the Redis of the cache or of the state store is reached.

    Attributes:
        url: The address, `redis://...` or `rediss://...`.
        secret: A reference to JSON with the password of Redis, `iam:GROUP` for a log-in by IAM, or None without a
            password.
        access: `direct` if this machine can connect to Redis, `ops_function` if only the ops function in the VPC can.
        ops_function_arn: The ARN of the ops function; None with direct access.
    """

    url: str
    secret: str | None = None
    access: Literal["direct", "ops_function"] = "direct"
    ops_function_arn: str | None = None


class DatabaseAccess(_Part):
    """Describes how PostgreSQL is reached.

    Attributes:
        host: The host name or address.
        port: The TCP port.
        name: The name of the database.
        user: The name of the user.
        secret: A reference to a JSON object with the field `password`, or `iam` for a log-in by IAM.
        tls: True if the connection is encrypted.
        access: `direct` if this machine can connect to the database, `private` if only programs in its VPC can.
    """

    host: str
    port: int
    name: str
    user: str
    secret: str
    tls: bool
    access: Literal["direct", "private"] = "direct"


class Table(_Part):
    """Names a table of DynamoDB."""

    name: str
    arn: str


class DeadLetterQueue(_Part):
    """Names the dead-letter queue of an SQS queue."""

    url: str
    arn: str


class Queue(_Part):
    """Names a queue of SQS and its dead-letter queue.

    Attributes:
        url: The queue's URL, with which SQS identifies it.
        arn: The queue's ARN.
        dead_letter: The queue of messages that the worker could not process.
        max_receive_count: The number of attempts after which SQS moves a message to the dead-letter queue.
    """

    url: str
    arn: str
    dead_letter: DeadLetterQueue
    max_receive_count: int


class IdentityProvider(_Part):
    """Describes the user pool of the players.

    Attributes:
        user_pool_id: The id of the Cognito user pool.
        client_id: The id of the app client that the game uses.
        issuer: The claim `iss` of the pool's tokens.
        jwks_url: The address of the public keys that verify the pool's tokens.
    """

    user_pool_id: str
    client_id: str
    issuer: str
    jwks_url: str


class Server(_Part):
    """Describes a game server.

    Attributes:
        id: The server's id.
        zone: The server's availability zone.
        play_url: The WebSocket address for players.
        ops_url: The base address of /healthz, /readyz and /metrics.
    """

    id: str
    zone: str
    play_url: str
    ops_url: str


class Process(_Part):
    """Describes a supervised process of a local region.

    Attributes:
        name: The name of the process's program in the supervisor.
        role: The kind of the process, e.g. `state`, `cache` or `game-server`.
        zone: The zone of a game server, or None for another process.
        health: The address at which mjctl tests the health of the process.
    """

    name: str
    role: Literal["state", "cache", "database", "aws", "api", "worker", "game-server"]
    zone: str | None = None
    health: str = Field(
        description="An HTTP address that answers with status 200 if the process is healthy, or the tcp:// address of "
        "Redis or PostgreSQL."
    )


class Fleet(_Part):
    """Describes where the game servers run.

    Attributes:
        kind: The system that runs the game servers.
        supervisor_socket: The path of the supervisor's socket of a local region, else None.
        run_dir: The folder for the runtime files of a local region, else None.
        processes: The processes of a local region, else empty.
        servers: The game servers of a local region. The set of game servers on ECS changes, so mjctl lists those
            servers by the API of ECS.
        cluster: The name of the ECS cluster, or None without ECS.
        service: The name of the ECS service, or None without ECS.
        task_definition: The ARN of the ECS task definition, or None without ECS.
        log_group: The CloudWatch log group of the game servers, or None in a local region.
    """

    kind: Literal["supervisor", "ecs", "eks"]
    supervisor_socket: str | None = None
    run_dir: str | None = None
    processes: tuple[Process, ...] = ()
    servers: tuple[Server, ...] = ()
    cluster: str | None = None
    service: str | None = None
    task_definition: str | None = Field(
        default=None, description="The task definition that Terraform set for the ECS service."
    )
    log_group: str | None = None


class BackupTask(_Part):
    """Describes the ECS task that makes portable backups of a private database, inside the region's VPC.

    Attributes:
        task_definition: The ARN of the ECS task definition.
        container: The name of the container.
        log_group: The CloudWatch log group of the task.
        security_group: The id of the task's security group.
        subnets: The ids of the private subnets.
        database_host: The host name of the database, the writer or a reader in a region without the writer.
        database_user: The user of PostgreSQL, which logs in by IAM.
    """

    task_definition: str
    container: str
    log_group: str
    security_group: str
    subnets: tuple[str, ...]
    database_host: str
    database_user: str


class Backup(_Part):
    """Describes where the backups of a region are stored.

    Attributes:
        directory: The folder of portable backups of a local region, else None.
        bucket: The S3 bucket of portable backups, or None in a local region.
        vault_name: The vault of AWS Backup, or None in a local region.
        task: The task that makes the portable backups, or None if mjctl makes them itself.
    """

    directory: str | None = None
    bucket: str | None = None
    vault_name: str | None = None
    task: BackupTask | None = None


class Managed(_Part):
    """Names the resources that AWS operates for a region, as the AWS APIs identify them.

    Attributes:
        alarm_prefix: The common prefix of the names of the region's alarms.
        alarm_topic: The ARN of the topic that receives alarms.
        api_id: The id of the API Gateway API.
        cache_group: The id of the replication group of the cache.
        state_group: The id of the replication group of the state store. None in a region of release 0.1.0, which has
            only the group of the cache.
        certificate: The ARN of the TLS certificate of the region's endpoints.
        database_cluster: The id of the Aurora cluster.
        database_global_cluster: The id of the Aurora global cluster; None if there is none.
        dead_letter_queues: The URLs of the functions' dead-letter queues, by purpose.
        functions: The names of the Lambda functions, by purpose, e.g. `api`.
        load_balancer: The ARN of the load balancer.
        primary_region: The primary region of the environment.
        target_group: The ARN of the game servers' target group.
        web_acl: The ARN of the firewall's web ACL.
        web_domain: The domain of the web client.
    """

    alarm_prefix: str
    alarm_topic: str
    api_id: str
    cache_group: str
    state_group: str | None = None
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
    """Describes a deployed region to every command.

    Attributes:
        version: The version of the contract's format.
        project: The project of the environment.
        environment: The name of the environment.
        target: The target of the environment.
        region: The name of the region.
        zones: The availability zones of the region.
        ca_file: The path of the private authority's certificate, or None if the region has no private authority.
        names_file: The path of a JSON file with the addresses of names that no name server knows, or None if name
            servers know all names of the region.
        aws: How the AWS APIs are reached.
        endpoints: The addresses for players.
        state: How the state store is reached, the Redis of the running matches.
        cache: How the cache is reached, a Redis that may evict its values.
        database: How PostgreSQL is reached.
        tables: The tables, by their names in data-plane.yaml.
        topics: The ARNs of the topics, by their names in data-plane.yaml.
        queues: The queues, by their names in data-plane.yaml.
        identity: The user pool of the players.
        keys: The ARNs of the KMS keys, by purpose.
        fleet: Where the game servers run.
        backup: Where backups are stored.
        managed: The resources that AWS operates, or None in a local region.
    """

    version: Literal[1]
    project: str
    environment: str
    target: Literal["local", "sandbox", "aws"]
    region: str
    zones: tuple[str, ...]
    ca_file: str | None = Field(
        default=None,
        description="The certificate of the region's private authority, by which clients verify every TLS address of "
        "the contract.",
    )
    names_file: str | None = Field(
        default=None,
        description="The JSON file with the addresses of the stage's names, which no name server knows.",
    )
    aws: AwsAccess
    endpoints: Endpoints
    state: RedisAccess
    cache: RedisAccess
    database: DatabaseAccess
    tables: dict[str, Table]
    topics: dict[str, str]
    queues: dict[str, Queue]
    identity: IdentityProvider
    keys: dict[str, str]
    fleet: Fleet
    backup: Backup
    managed: Managed | None = Field(
        default=None,
        description="The resources that AWS operates; absent in a local region, where processes replace the resources "
        "of AWS.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_store(cls, value: Any) -> Any:
        """Read a contract of release 0.1.0, whose regions keep the matches and the cache in one Redis."""
        if isinstance(value, dict) and "state" not in value and "cache" in value:
            return {**value, "state": value["cache"]}
        return value

    @property
    def scope(self) -> str:
        """Return the command-line options that select the region, for advice: `--env ENV --region REGION`."""
        return f"--env {self.environment} --region {self.region}"

    @classmethod
    def parse(cls, value: Any) -> Contract:
        """Validate the decoded output `contract` of a stack.

        Raises:
            ConfigError: the output does not have the form that this version of mjctl reads.
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
    """Return the command-line options that select the region of a contract, even if the contract is invalid."""
    fields = value if isinstance(value, dict) else {}
    return f"--env {fields.get('environment', 'ENV')} --region {fields.get('region', 'REGION')}"
