"""What no plan may do unasked: delete or replace what holds players' data, or what such data cannot be read without."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mjctl.models.deployment import Change, RegionResult, Violation
from mjctl.models.errors import RefusedError

KEEPS_DATA = "keeps-data"
_HOLDS = {
    "aws_backup_vault": "the backups in it",
    "aws_cognito_user_pool": "every player's account",
    "aws_dynamodb_table": "its items",
    "aws_dynamodb_table_replica": "its items in that region",
    "aws_ecr_repository": "the images that a rollback needs",
    "aws_elasticache_replication_group": "the state of running matches",
    "aws_kms_key": "what was encrypted with it",
    "aws_kms_replica_key": "what was encrypted with it in that region",
    "aws_rds_cluster": "its rows",
    "aws_rds_global_cluster": "its rows in every region",
    "aws_s3_bucket": "its objects",
    "aws_sqs_queue": "messages that wait in it",
}
_LAST_PART = re.compile(r"(?:^|\.)(?P<type>[a-z0-9_]+)\.[\w-]+(\[[^\]]*\])?$")


def violations(changes: Iterable[Change]) -> tuple[Violation, ...]:
    """The planned changes that would lose data."""
    found = []
    for change in changes:
        holds = _HOLDS.get(resource_type(change.address))
        if holds is not None and change.action in ("delete", "replace"):
            found.append(Violation(KEEPS_DATA, change.address, f"{change.action}: {holds} would be lost"))
    return tuple(found)


def resource_type(address: str) -> str:
    """`module.cache.aws_kms_key.this["data"]` is an `aws_kms_key`; "" for what is no resource's address."""
    found = _LAST_PART.search(address)
    return found["type"] if found else ""


def require(results: Sequence[RegionResult]) -> None:
    """Raises: RefusedError: a plan violates a rule; nothing was changed."""
    lines = [f"  {one.region}: {broken}" for one in results for broken in one.violations]
    if lines:
        raise RefusedError(
            "the plan would lose data\n" + "\n".join(lines),
            where=", ".join(one.region for one in results if one.violations),
            hint="change what makes it so; when the loss is meant, take a backup and add --allow-data-loss",
        )
