"""Inputs of the production stacks for an environment of configs/, as mjctl hands them to Terraform."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from mjctl.models.config_file import load_environment
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace

ACCOUNT_ID = "123456789012"
PROJECT_DIR = Path(__file__).parents[2]

# An empty zip archive, by its digest: what a plan needs to know of the functions.
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
EMPTY_ZIP_SHA256 = base64.b64encode(hashlib.sha256(EMPTY_ZIP).digest()).decode()


def environment(name: str) -> Environment:
    return load_environment(Workspace(PROJECT_DIR, PROJECT_DIR / ".mjctl"), name)


def cidr(environment: Environment, region: str) -> str:
    return f"10.{10 * (1 + list(environment.regions).index(region))}.0.0/16"


def primary_region(environment: Environment) -> str:
    return next(iter(environment.regions))


def foundation(environment: Environment, /, **changes: Any) -> dict[str, Any]:
    name = f"{environment.project}-{environment.name}"
    return {
        "account_id": ACCOUNT_ID,
        "ci": {
            "state_bucket": f"{environment.project}-terraform-state",
            "state_kms_key_arn": f"arn:aws:kms:us-east-1:{ACCOUNT_ID}:key/11111111-2222-3333-4444-555555555555",
            "subjects": {
                "deploy": [f"repo:studio/{environment.project}:environment:{environment.name}"],
                "plan": [f"repo:studio/{environment.project}:pull_request"],
            },
        },
        "domain": {"name": f"{name}.example.com"},
        "environment": environment.name,
        "primary_region": primary_region(environment),
        "project": environment.project,
        "protect": environment.target == "aws",
        "regions": [
            {"name": region, "cidr": cidr(environment, region), "zones": list(zones.zones)}
            for region, zones in environment.regions.items()
        ],
        "target": environment.target,
        **changes,
    }


def region(
    environment: Environment, name: str, foundation_contract: dict[str, Any], package: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    zones = environment.regions[name].zones
    others = [other for other in environment.regions if other != name] or ["us-west-2"]
    minimum = environment.game.servers_per_zone * len(zones)
    return {
        "backup": {"copy_region": others[0]},
        "foundation": foundation_contract,
        "functions": {"package": package},
        "game": {
            "image": f"{ACCOUNT_ID}.dkr.ecr.{name}.amazonaws.com/{environment.project}/game@sha256:{'a' * 64}",
            "max_players_per_server": environment.game.max_players_per_server,
            "max_tasks": 10 * minimum,
            "min_tasks": minimum,
            "modes": {key: mode.model_dump() for key, mode in environment.game.modes.items()},
            "tick_rate_hz": environment.game.tick_rate_hz,
        },
        "network": {"cidr": cidr(environment, name), "zones": list(zones)},
        "notify_emails": ["on-call@example.com"],
        "operators": [f"arn:aws:iam::{ACCOUNT_ID}:role/operations"],
        "protect": environment.target == "aws",
        "region": name,
        **changes,
    }


def edge(
    environment: Environment, foundation_contract: dict[str, Any], regions: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    return {
        "foundation": foundation_contract,
        "notify_emails": ["on-call@example.com"],
        "protect": environment.target == "aws",
        "regions": regions,
        **changes,
    }


def foundation_contract(environment: Environment, secret_arn: str) -> dict[str, Any]:
    """What foundation publishes, made up: a region can then be planned although nothing exists."""
    home = primary_region(environment)
    name = f"{environment.project}-{environment.name}"
    pool = f"https://cognito-idp.{home}.amazonaws.com/{home}_AbCdEfGhI"
    key = f"arn:aws:kms:{home}:{ACCOUNT_ID}:key/mrk-"
    return {
        "version": 1,
        "account_id": ACCOUNT_ID,
        "project": environment.project,
        "environment": environment.name,
        "target": environment.target,
        "primary_region": home,
        "ci_role_arns": {},
        "database": {
            "database_name": "game",
            "engine_version": "16.8",
            "global_cluster_id": f"{name}-global" if len(environment.regions) > 1 else None,
            "password_version": 1,
            "secret_arn": secret_arn,
            "username": "game",
        },
        "dns": {
            "certificate_arn": f"arn:aws:acm:us-east-1:{ACCOUNT_ID}:certificate/01234567-89ab-cdef-0123-456789abcdef",
            "domain": f"{name}.example.com",
            "name_servers": [],
            "zone_id": "Z0123456789ABCDEFGHIJ",
        },
        "identity": {
            "client_id": "0123456789abcdefghijklmnop",
            "issuer": pool,
            "jwks_url": f"{pool}/.well-known/jwks.json",
            "user_pool_arn": f"arn:aws:cognito-idp:{home}:{ACCOUNT_ID}:userpool/{home}_AbCdEfGhI",
            "user_pool_id": f"{home}_AbCdEfGhI",
        },
        "keys": {"data": f"{key}{'a' * 32}", "storage": f"{key}{'b' * 32}"},
        "registry": {
            "repository_name": f"{name}/game",
            "repository_url": f"{ACCOUNT_ID}.dkr.ecr.{home}.amazonaws.com/{name}/game",
        },
        "tables": {
            table: {"arn": f"arn:aws:dynamodb:{home}:{ACCOUNT_ID}:table/{name}-{table}", "name": f"{name}-{table}"}
            for table in ("matches", "players", "processed_events")
        },
    }


def region_edge(environment: Environment, region: str) -> dict[str, Any]:
    """What a region publishes for the edge, made up."""
    name = f"{environment.project}-{environment.name}"
    return {
        "api": {"name": f"d-abcdefghij.execute-api.{region}.amazonaws.com", "zone_id": "Z2FDTNDATAQYW2"},
        "health_alarm": f"{name}-no-healthy-server",
        "load_balancer": {
            "arn": f"arn:aws:elasticloadbalancing:{region}:{ACCOUNT_ID}:loadbalancer/app/{name}-game/0123456789abcdef",
            "dns_name": f"{name}-game-1234567890.{region}.elb.amazonaws.com",
            "zone_id": "Z35SXDOTRQ7X7K",
        },
    }
