"""Computes the Terraform variables of the production stacks from the environment's file and other stacks' outputs.

The variables contain only the sizes that the environment's file sets, because the stacks have defaults for all other
sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.aws_settings import DatabaseSize, PlayerAccounts
from mjctl.models.environment import Environment

# If the environment's file sets no maximum of tasks, autoscaling starts at most ten times the file's number of servers.
_GROWTH = 10
# Days of AWS's maintenance by the position of a region in the environment's file. Weekends, on which most players play,
# come last.
_MAINTENANCE_DAYS = ("tue", "wed", "thu", "mon", "fri", "sun", "sat")
# Cognito's names of the settings in the environment's file. YAML reads the word OFF as false.
_THREAT_PROTECTION = {"block": "ENFORCED", "record": "AUDIT", "none": "OFF"}


@dataclass(frozen=True)
class StateStore:
    """Names the state bucket and its KMS key, to which the roles of the pipeline and of the operators get access."""

    bucket: str
    kms_key_arn: str


def foundation(environment: Environment, state: StateStore) -> dict[str, Any]:
    """Return the variables of terraform/stacks/foundation."""
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
        "identity": _identity(account.accounts),
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
    emulated_aws: Mapping[str, Any] | None = None,
    state: StateStore | None = None,
) -> dict[str, Any]:
    """Return the variables of terraform/stacks/region.

    Args:
        environment: The environment of the region.
        name: The name of the region.
        contract: The output `contract` of the stack foundation.
        package: The functions' archive and the game server's image that the region runs.
        servers_per_zone: The number of game servers in each zone, or None for the number in the environment's file.
        emulated_aws: How mjctl reaches an emulated AWS (Account.emulated_aws), or None for AWS.
        state: The state bucket that the operators' role may read, or None for no access to a state bucket.
    """
    account = environment.account
    zones = list(environment.regions[name].zones)
    return {
        **_given(log_retention_days=account.log_retention_days),
        "backup": {"copy_region": environment.backup_copy_region(name), "lock": account.backup.lock},
        "cache": account.cache.given(),
        "state_store": account.state.given(),
        "database": _database(account.database, name),
        "emulated_aws": dict(emulated_aws) if emulated_aws else None,
        "firewall": account.firewall.given(),
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
        "maintenance_day": _MAINTENANCE_DAYS[list(environment.regions).index(name) % len(_MAINTENANCE_DAYS)],
        "network": {**account.network.given(), "cidr": environment.cidr(name), "zones": zones},
        "notify_emails": list(account.notify_emails),
        "operators": list(account.operators),
        "protect": protect(environment),
        "region": name,
        "state": {"bucket": state.bucket, "kms_key_arn": state.kms_key_arn} if state else None,
    }


def edge(environment: Environment, contract: Mapping[str, Any], regions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of terraform/stacks/edge.

    Args:
        environment: The environment of the edge.
        contract: The output `contract` of the stack foundation.
        regions: The output `edge` of every region that receives players, by the name of the region.
    """
    account = environment.account
    return {
        **_given(log_retention_days=account.log_retention_days, price_class=account.price_class),
        "firewall": account.firewall.given(),
        "foundation": dict(contract),
        "notify_emails": list(account.notify_emails),
        "protect": protect(environment),
        "regions": dict(regions),
        "routing": account.routing,
        "shield_advanced": account.shield_advanced,
    }


def _identity(accounts: PlayerAccounts) -> dict[str, str]:
    chosen = accounts.threat_protection
    return {} if chosen is None else {"threat_protection": _THREAT_PROTECTION[chosen]}


def _database(size: DatabaseSize, region: str) -> dict[str, Any]:
    """Return the variable `database` of a region.

    If the environment's file names the writer's region, the field `writer` is True for the writer's region and False
    for all other regions.
    """
    given = size.given()
    writer = given.pop("writer_region", None)
    return given if writer is None else {**given, "writer": writer == region}


def tasks(environment: Environment, region: str, servers_per_zone: int) -> dict[str, int]:
    """Return the minimum and the maximum number of ECS tasks in a region, where each task runs one game server."""
    zones = len(environment.regions[region].zones)
    most = environment.account.task.max_tasks_per_zone or _GROWTH * environment.game.servers_per_zone
    # The stack `region` refuses a maximum of tasks that is not larger than the minimum, because the ECS service must be
    # able to grow.
    return {"min_tasks": servers_per_zone * zones, "max_tasks": max(most, servers_per_zone + 1) * zones}


def protect(environment: Environment) -> bool:
    """Return True if AWS shall refuse to delete the stores of players' data."""
    wish = environment.account.protect
    return environment.target == "aws" if wish is None else wish


def _image(contract: Mapping[str, Any], region: str, digest: str) -> str:
    """Return the address of the game server's image in the registry of `region`, to which ECR replicates all images."""
    repository = str(contract["registry"]["repository_url"])
    return f"{repository.replace(contract['primary_region'], region)}@sha256:{digest}"


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
