"""Settings of the game's processes, read from the variables `GAMESERVER_*` and the standard `AWS_*` variables.

The local supervisor, an ECS task definition, a Kubernetes manifest and a Lambda function all set the same variables. No
variable contains a secret: `*_SECRET` is a reference, either `file:/path/to.json` or the ARN of a secret in Secrets
Manager.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class SettingsError(Exception):
    """Reports a variable that is missing or malformed. The message names the environment variable."""


@dataclass(frozen=True)
class Mode:
    """Describes a kind of match.

    Attributes:
        name: name of the mode.
        seats: largest number of players in a match.
        duration_seconds: length of a match.
        rules: name of the rules module in `gameserver/rules/`.
    """

    name: str
    seats: int
    duration_seconds: float
    rules: str = "arena"


DEFAULT_MODES = (
    Mode("arena", seats=10, duration_seconds=180),
    Mode("sprint", seats=10, duration_seconds=8),
    Mode("probe", seats=2, duration_seconds=2),
)


@dataclass(frozen=True)
class Settings:
    """Holds the settings of one process. Field names contain the unit, where a field has a unit.

    Production code makes the settings with `from_env` only.

    Attributes:
        project: name of the project.
        environment: name of the environment.
        region: name of the region.
        state_url: address of the state store, the Redis that keeps the running matches and the list of game servers.
        state_cluster: True if the state store runs in cluster mode, with one shard or several.
        cache_url: address of the cache, a Redis that may evict its values.
        zone: availability zone of the process.
        server_id: id of a game server; "" for a random id.
        host: address on which the process listens.
        port: TCP port for players or for requests to the API; 0 for any free port.
        ops_port: TCP port for health checks and metrics; 0 for any free port.
        peer_port: TCP port for the other game servers if `tls_own_certificate` is True; 0 for any free port.
        play_url: WebSocket address that players use; "" for the server's private address.
        state_secret: reference to the login of the state store, or `iam:<replication group>` for a login by IAM.
        cache_secret: reference to the login of the cache, or `iam:<replication group>` for a login by IAM.
        database_host: host name of PostgreSQL, whose port, database and user are in the other fields `database_*`.
        database_other_host: host name of PostgreSQL if `database_host` does not accept connections or writes; "" if
            there is only one host name.
        database_secret: reference to the password of PostgreSQL, or `iam` for a login by IAM.
        aws_endpoint_url: address of an emulated AWS; None for the real AWS.
        events_topic_arn: ARN of the SNS topic for events.
        persistence_queue_url: address of the SQS queue that the worker reads.
        tables: logical name -> physical name of each DynamoDB table.
        user_pool_id: id of the Cognito user pool.
        client_id: id of the user pool's app client.
        issuer: issuer of the access tokens.
        jwks_url: address of the user pool's public keys.
        data_key_arn: ARN of the KMS key that wraps the data keys of sensitive fields, and encrypts operators' passes.
        code_key_arn: ARN of the KMS key from which the codes in mails to players are derived. Without the key, no code
            is valid.
        mail_sender: address from which players get mail; "" to send no mail.
        mail_configuration_set: name of the configuration set of SES for mail to players.
        auto_confirm_sign_up: True to confirm new accounts without a code.
        cors_allow_origins: origins of web pages that may call the API.
        edge_networks: networks from which CloudFront calls the API. Only requests from these networks may name the
            address of a player in the header X-Forwarded-For, and all other requests need an operator's pass. Without
            networks, no request needs a pass.
        distribution_passes: name of the secret with the passes that CloudFront may send; "" to require no pass of
            CloudFront.
        tick_rate_hz: ticks in a second of each match.
        max_players: number of players that a game server can serve.
        unjoined_percent: most connections that have not joined a match, in percent of `max_players`; at least 16
            connections are allowed.
        unjoined_per_address: most connections from one peer address that have not joined a match; 0 for no limit.
            `unjoined_per_address` must be 0 for a server behind a load balancer, because all peers of such a server
            have the load balancer's address.
        lease_seconds: length of a match's lease.
        snapshot_interval_seconds: time between two snapshots of a match.
        modes: the modes that players can play.
        tls_required: True if the process encrypts each connection that it opens and verifies the server. If
            `tls_required` is True, a setting with an address without TLS is an error at the start.
        tls_ca_file: file of the certificates that the process trusts; "" for those that the system trusts.
        tls_certificate_file: file of the certificate of the process's listeners, which then accept only TLS; "" for
            listeners without TLS.
        tls_key_file: file of the private key for the certificate in `tls_certificate_file`.
        tls_own_certificate: True if a game server makes a key and a certificate at its start. All its listeners then
            accept only TLS, and game servers authenticate each other.
        web_dir: folder of the web client that `gameserver api` serves; "" to serve no web client.
    """

    project: str
    environment: str
    region: str
    state_url: str = ""
    state_cluster: bool = False
    cache_url: str = ""
    zone: str = ""
    server_id: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    ops_port: int = 0
    peer_port: int = 0
    play_url: str = ""
    state_secret: str | None = None
    cache_secret: str | None = None
    database_host: str = ""
    database_other_host: str = ""
    database_port: int = 5432
    database_name: str = ""
    database_user: str = ""
    database_secret: str | None = None
    aws_endpoint_url: str | None = None
    events_topic_arn: str = ""
    persistence_queue_url: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)
    user_pool_id: str = ""
    client_id: str = ""
    issuer: str = ""
    jwks_url: str = ""
    data_key_arn: str = ""
    code_key_arn: str = ""
    mail_sender: str = ""
    mail_configuration_set: str = ""
    auto_confirm_sign_up: bool = False
    cors_allow_origins: tuple[str, ...] = ()
    edge_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    distribution_passes: str = ""
    tick_rate_hz: int = 20
    max_players: int = 2000
    unjoined_percent: int = 25
    unjoined_per_address: int = 100
    lease_seconds: float = 1.5
    snapshot_interval_seconds: float = 0.25
    modes: tuple[Mode, ...] = DEFAULT_MODES
    tls_required: bool = False
    tls_ca_file: str = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    tls_own_certificate: bool = False
    web_dir: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from variables.

        Args:
            env: the variables; None for this process's environment.

        Raises:
            SettingsError: a required variable is missing, a value is malformed, or an address is without TLS although
                TLS is required.
        """
        source = os.environ if env is None else env
        values: dict[str, Any] = {}
        for name, kind in _FIELDS.items():
            variable = _variable(name)
            raw = source.get(variable)
            if raw is None or raw == "":
                continue
            try:
                values[name] = kind(raw)
            except (ValueError, TypeError, KeyError) as error:
                raise SettingsError(f"the value of {variable} is malformed: {error}") from error
        for name in ("project", "environment", "region"):
            if name not in values:
                raise SettingsError(f"GAMESERVER_{name.upper()} is not set")
        settings = cls(**values)
        settings._check_tls()
        return settings

    def _check_tls(self) -> None:
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            raise SettingsError("GAMESERVER_TLS_CERTIFICATE_FILE and GAMESERVER_TLS_KEY_FILE must be set together")
        if self.tls_own_certificate and self.tls_certificate_file:
            raise SettingsError("set GAMESERVER_TLS_CERTIFICATE_FILE or GAMESERVER_TLS_OWN_CERTIFICATE, but not both")
        for name, scheme in _TLS_SCHEMES.items() if self.tls_required else ():
            address = getattr(self, name)
            if address and not address.startswith(f"{scheme}://"):
                prefix = address.split("://", 1)[0]
                raise SettingsError(
                    f"{_variable(name)} begins with {prefix}://, but GAMESERVER_TLS_REQUIRED is true: "
                    f"use {scheme}://, or switch TLS off for the whole environment"
                )

    @property
    def application_user(self) -> str:
        """Return the user of PostgreSQL for the functions on AWS, which log in by IAM.

        terraform/stacks/region/api.tf makes an equal name for the settings and the permissions of the functions.
        """
        return f"{self.project}_{self.environment}_app".replace("-", "_")

    @property
    def backup_user(self) -> str:
        """Return the user of PostgreSQL for the backup task on AWS, which logs in by IAM.

        terraform/stacks/region/backup.tf makes an equal name for the settings and the permissions of the task.
        """
        return f"{self.project}_{self.environment}_backup".replace("-", "_")

    @property
    def identity_region(self) -> str:
        """Return the region of the user pool, which all regions of an environment on AWS share.

        The id of a user pool begins with the name of its region, e.g. `eu-west-1_AbCdEfGhI`.
        """
        region, separator, _ = self.user_pool_id.partition("_")
        return region if separator else self.region

    def mode(self, name: str) -> Mode | None:
        """Return the mode with this name, or None."""
        return next((mode for mode in self.modes if mode.name == name), None)


# Maps each setting with an address, for the process or for players, to the URL scheme that the address needs when TLS
# is required.
_TLS_SCHEMES = {
    "state_url": "rediss",
    "cache_url": "rediss",
    "aws_endpoint_url": "https",
    "persistence_queue_url": "https",
    "jwks_url": "https",
    "play_url": "wss",
}


def _variable(name: str) -> str:
    return "AWS_ENDPOINT_URL" if name == "aws_endpoint_url" else f"GAMESERVER_{name.upper()}"


def _boolean(raw: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[raw.lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _origins(raw: str) -> tuple[str, ...]:
    """Parse a list of origins, without wildcards, such as `https://play.example.com,https://example.com`."""
    origins = tuple(origin.strip() for origin in raw.split(","))
    for origin in origins:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", origin):
            raise ValueError(f"{origin!r} is not an origin such as https://play.example.com")
    return origins


def _networks(raw: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Parse a list of networks, such as `120.52.22.96/27,205.251.249.0/24`."""
    return tuple(ipaddress.ip_network(network.strip()) for network in raw.split(","))


def _modes(raw: str) -> tuple[Mode, ...]:
    """Parse the JSON of the modes, for example `{"arena": {"seats": 10, "duration_seconds": 180}}`."""
    return tuple(Mode(name=name, **values) for name, values in json.loads(raw).items())


_FIELDS: dict[str, Any] = {
    "project": str,
    "environment": str,
    "region": str,
    "state_url": str,
    "state_cluster": _boolean,
    "cache_url": str,
    "zone": str,
    "server_id": str,
    "host": str,
    "port": int,
    "ops_port": int,
    "peer_port": int,
    "play_url": str,
    "state_secret": str,
    "cache_secret": str,
    "database_host": str,
    "database_other_host": str,
    "database_port": int,
    "database_name": str,
    "database_user": str,
    "database_secret": str,
    "aws_endpoint_url": str,
    "events_topic_arn": str,
    "persistence_queue_url": str,
    "tables": json.loads,
    "user_pool_id": str,
    "client_id": str,
    "issuer": str,
    "jwks_url": str,
    "data_key_arn": str,
    "code_key_arn": str,
    "mail_sender": str,
    "mail_configuration_set": str,
    "auto_confirm_sign_up": _boolean,
    "cors_allow_origins": _origins,
    "edge_networks": _networks,
    "distribution_passes": str,
    "tick_rate_hz": int,
    "max_players": int,
    "unjoined_percent": int,
    "unjoined_per_address": int,
    "lease_seconds": float,
    "snapshot_interval_seconds": float,
    "modes": _modes,
    "tls_required": _boolean,
    "tls_ca_file": str,
    "tls_certificate_file": str,
    "tls_key_file": str,
    "tls_own_certificate": _boolean,
    "web_dir": str,
}
