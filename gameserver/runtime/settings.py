"""What a process of the game needs to know, read from `GAMESERVER_*` and the standard `AWS_*` variables.

The same variables are set by the local supervisor, an ECS task definition, a Kubernetes manifest and a Lambda function.
A secret never stands in a variable: `*_SECRET` is a reference, `file:/path/to.json` or a Secrets Manager ARN.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class SettingsError(Exception):
    """A variable is missing or malformed; the message names it."""


@dataclass(frozen=True)
class Mode:
    """One way to play. `seats`: players at most; `duration_seconds`: length of a match; `rules`: module in `rules/`."""

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
    """Every field has its unit in its name. `from_env` is the only constructor that production uses.

    `tls_required`: every connection that the process opens is encrypted and its peer verified (`tls_ca_file`, else what
    the system trusts); an address in clear ends it at its start. With `tls_certificate_file` and `tls_key_file` its own
    listeners speak TLS, and nothing else; without, something in front of it does.

    `unjoined_percent`: bound of the connections that have not joined a match, in percent of `max_players` (and at least
    16). `unjoined_per_address`: their bound for each peer address; 0 sets none. Behind a load balancer the peer address
    is the load balancer's, so a server there needs 0.

    `web_dir`: folder of the web client that `gameserver api` serves, or a link to it. Unset: it serves no web client.
    """

    project: str
    environment: str
    region: str
    cache_url: str = ""
    zone: str = ""
    server_id: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    ops_port: int = 0
    play_url: str = ""
    cache_secret: str | None = None
    database_host: str = ""
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
    auto_confirm_sign_up: bool = False
    cors_allow_origins: tuple[str, ...] = ()
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
    web_dir: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Build from `env` (default: this process's environment).

        Raises:
            SettingsError: a required variable is missing, a value has the wrong form, or an address is in clear
                although TLS is required.
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
                raise SettingsError(f"{variable} has a value that does not fit: {error}") from error
        for name in ("project", "environment", "region"):
            if name not in values:
                raise SettingsError(f"GAMESERVER_{name.upper()} is not set")
        settings = cls(**values)
        settings._check_tls()
        return settings

    def _check_tls(self) -> None:
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            raise SettingsError("GAMESERVER_TLS_CERTIFICATE_FILE and GAMESERVER_TLS_KEY_FILE must be set together")
        for name, scheme in _TLS_SCHEMES.items() if self.tls_required else ():
            address = getattr(self, name)
            if address and not address.startswith(f"{scheme}://"):
                found = address.split("://", 1)[0]
                raise SettingsError(
                    f"{_variable(name)} begins with {found}://, but GAMESERVER_TLS_REQUIRED is true: "
                    f"use {scheme}://, or take TLS off for the whole environment"
                )

    def mode(self, name: str) -> Mode | None:
        return next((mode for mode in self.modes if mode.name == name), None)


# Addresses that the process connects to or gives to players, and what they begin with when TLS is required.
_TLS_SCHEMES = {
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
    """Parse `https://play.example.com,https://example.com`; there is no wildcard."""
    origins = tuple(origin.strip() for origin in raw.split(","))
    for origin in origins:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", origin):
            raise ValueError(f"{origin!r} is not an origin such as https://play.example.com")
    return origins


def _modes(raw: str) -> tuple[Mode, ...]:
    """Parse `{"arena": {"seats": 10, "duration_seconds": 180}}`."""
    return tuple(Mode(name=name, **values) for name, values in json.loads(raw).items())


_FIELDS: dict[str, Any] = {
    "project": str,
    "environment": str,
    "region": str,
    "cache_url": str,
    "zone": str,
    "server_id": str,
    "host": str,
    "port": int,
    "ops_port": int,
    "play_url": str,
    "cache_secret": str,
    "database_host": str,
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
    "auto_confirm_sign_up": _boolean,
    "cors_allow_origins": _origins,
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
    "web_dir": str,
}
