"""What the production stacks are given: the environment's wishes, and what earlier stacks published.

A size that the environment's file leaves out is left out here too: its default stands in the stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.aws_settings import DatabaseSize
from mjctl.models.environment import Environment

# How far a service may grow when the file does not say.
_GROWTH = 10


@dataclass(frozen=True)
class StateStore:
    """Where states are kept, as the pipeline's roles must know it."""

    bucket: str
    kms_key_arn: str


def foundation(environment: Environment, state: StateStore) -> dict[str, Any]:
    """Variables of terraform/stacks/foundation."""
    account = environment.account
    ci = None
    if account.pipeline is not None:
        ci = {
            **account.pipeline.given(),
            "state_bucket": state.bucket,
            "state_kms_key_arn": state.kms_key_arn,
        }
    return {
        "account_id": account.account_id,
        "ci": ci,
        "domain": account.domain.given(),
        "environment": environment.name,
        "primary_region": environment.primary_region,
        "project": environment.project,
        "protect": protect(environment),
        "regions": [
            {"name": name, "cidr": environment.cidr(name), "zones": list(region.zones)}
            for name, region in environment.regions.items()
        ],
        "target": environment.target,
    }


def region(
    environment: Environment,
    name: str,
    contract: Mapping[str, Any],
    package: Package,
    *,
    servers_per_zone: int | None = None,
    endpoint_url: str | None = None,
    key_file: str | None = None,
    service_endpoint_urls: Mapping[str, str] | None = None,
    state: StateStore | None = None,
) -> dict[str, Any]:
    """Variables of terraform/stacks/region. `contract` is foundation's; `servers_per_zone` overrules the file; with
    `state` the operators' role may read what was deployed.

    The endpoints and the key are those of an emulated AWS.
    """
    account = environment.account
    zones = list(environment.regions[name].zones)
    return {
        **_given(log_retention_days=account.log_retention_days),
        "aws_endpoint_url": endpoint_url,
        "aws_secret": f"file:{key_file}" if key_file else None,
        "aws_service_endpoint_urls": dict(service_endpoint_urls or {}),
        "backup": {"copy_region": environment.backup_copy_region(name), "lock": account.backup.lock},
        "cache": account.cache.given(),
        "database": _database(account.database, name),
        "foundation": dict(contract),
        "functions": {
            "package": {"architecture": package.architecture, "path": package.path, "sha256": package.sha256}
        },
        "game": {
            **_given(cpu=account.task.cpu, memory=account.task.memory),
            **tasks(environment, name, servers_per_zone or environment.game.servers_per_zone),
            "image": _image(contract, name, package.image_digest),
            "max_players_per_server": environment.game.max_players_per_server,
            "modes": {key: mode.model_dump() for key, mode in environment.game.modes.items()},
            "tick_rate_hz": environment.game.tick_rate_hz,
        },
        "network": {**account.network.given(), "cidr": environment.cidr(name), "zones": zones},
        "notify_emails": list(account.notify_emails),
        "operators": list(account.operators),
        "protect": protect(environment),
        "region": name,
        "state": {"bucket": state.bucket, "kms_key_arn": state.kms_key_arn} if state else None,
    }


def edge(environment: Environment, contract: Mapping[str, Any], regions: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of terraform/stacks/edge. `regions`: output `edge` of every region that players are sent to."""
    account = environment.account
    return {
        **_given(log_retention_days=account.log_retention_days, price_class=account.price_class),
        "foundation": dict(contract),
        "notify_emails": list(account.notify_emails),
        "protect": protect(environment),
        "regions": dict(regions),
        "routing": account.routing,
        "shield_advanced": account.shield_advanced,
    }


def _database(size: DatabaseSize, region: str) -> dict[str, Any]:
    """Every region is told whether it has the writer, once the file says where a failover has put it."""
    given = size.given()
    writer = given.pop("writer_region", None)
    return given if writer is None else {**given, "writer": writer == region}


def tasks(environment: Environment, region: str, servers_per_zone: int) -> dict[str, int]:
    """How many tasks a region runs at least and at most; a task is one game server."""
    zones = len(environment.regions[region].zones)
    most = environment.account.task.max_tasks_per_zone or _GROWTH * environment.game.servers_per_zone
    # A service must always be able to grow: the stack refuses a maximum that is no larger than the minimum.
    return {"min_tasks": servers_per_zone * zones, "max_tasks": max(most, servers_per_zone + 1) * zones}


def protect(environment: Environment) -> bool:
    """Whether what holds players' data refuses to be deleted."""
    wish = environment.account.protect
    return environment.target == "aws" if wish is None else wish


def _image(contract: Mapping[str, Any], region: str, digest: str) -> str:
    """The image in the region's own registry: the primary's is replicated there."""
    repository = str(contract["registry"]["repository_url"])
    return f"{repository.replace(contract['primary_region'], region)}@sha256:{digest}"


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
