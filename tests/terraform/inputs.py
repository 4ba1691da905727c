"""Computes the inputs of the production stacks with the code of mjctl, and invents the outputs of other stacks."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from mjctl.deploy.planner import aws_inputs
from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.config_file import load_environment
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace

ACCOUNT_ID = "123456789012"
PROJECT_DIR = Path(__file__).parents[2]

# An empty zip archive and its digest. A plan needs only the existence and the digest of the functions' archive.
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
EMPTY_ZIP_SHA256 = base64.b64encode(hashlib.sha256(EMPTY_ZIP).digest()).decode()

STATE = aws_inputs.StateStore(
    bucket=f"arena-terraform-state-{ACCOUNT_ID}",
    kms_key_arn=f"arn:aws:kms:us-east-1:{ACCOUNT_ID}:key/11111111-2222-3333-4444-555555555555",
)


def environment(name: str) -> Environment:
    return load_environment(Workspace(PROJECT_DIR, PROJECT_DIR / ".mjctl"), name)


def foundation(environment: Environment, /, **changes: Any) -> dict[str, Any]:
    return {**aws_inputs.foundation(environment, STATE), **changes}


def region(
    environment: Environment, name: str, foundation_contract: dict[str, Any], archive: Path, **changes: Any
) -> dict[str, Any]:
    """Return the variables of the stack `region`.

    Args:
        environment: the environment that has the region.
        name: the name of the region.
        foundation_contract: the contract of the foundation.
        archive: path of the functions' archive. The archive need not exist for a plan that Terraform refuses.
        changes: values that replace computed variables, by the variable's name.
    """
    package = Package(str(archive), EMPTY_ZIP_SHA256, "x86_64", "a" * 64)
    return {**aws_inputs.region(environment, name, foundation_contract, package, state=STATE), **changes}


def empty_archive(folder: Path) -> Path:
    path = folder / "functions.zip"
    path.write_bytes(EMPTY_ZIP)
    return path


def foundation_contract(environment: Environment, secret_arn: str) -> dict[str, Any]:
    """Return an invented contract of the foundation, so that a region can be planned without a foundation."""
    home = environment.primary_region
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
            "code_key_arn": f"arn:aws:kms:{home}:{ACCOUNT_ID}:key/{'c' * 32}",
            "issuer": pool,
            "jwks_url": f"{pool}/.well-known/jwks.json",
            "sender": {
                "address": f"no-reply@{name}.example.com",
                "configuration_set": f"{name}-players",
                "identity_arn": f"arn:aws:ses:{home}:{ACCOUNT_ID}:identity/{name}.example.com",
            },
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
            for table in ("matches", "players", "processed_events", "rate_limits")
        },
    }


def region_edge(environment: Environment, region: str) -> dict[str, Any]:
    """Return an invented output `edge` of a region."""
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
