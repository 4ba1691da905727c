"""The data-loss policy: a plan must not delete or replace a store of players' data, or a resource that the data needs.

The option --allow-data-loss allows a plan that violates the data-loss policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitResult, Violation
from mjctl.models.errors import RefusedError

KEEPS_DATA = "keeps-data"
PROTECTED = {
    "aws_backup_vault": "the backups in the vault",
    "aws_cognito_user_pool": "every player's account",
    "aws_cognito_user_pool_client": "the client id that every player's game and token names",
    "aws_dynamodb_table": "the items of the table",
    "aws_dynamodb_table_replica": "the items of the table in that region",
    "aws_ecr_repository": "the images that a rollback needs",
    "aws_elasticache_replication_group": "the state of running matches or the cache",
    "aws_kms_key": "all data that was encrypted with the key",
    "aws_kms_replica_key": "all data that was encrypted with the key in that region",
    "aws_rds_cluster": "the rows of the database",
    "aws_rds_global_cluster": "the rows of the database in every region",
    "aws_route53_zone": "the name servers of the zone, and with them every name of the game",
    "aws_s3_bucket": "the objects in the bucket",
    "aws_secretsmanager_secret": "the value of the secret, e.g. the database's password",
    "aws_sqs_queue": "the messages that wait in the queue",
}
"""The protected resource types, each with the data that is lost if such a resource is deleted or replaced."""

# An update of a DynamoDB table that removes a `replica` block deletes the table's copy in the block's region:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteReplicationGroupMemberAction.html
_REPLICATED = "aws_dynamodb_table"
_REDIS = "aws_elasticache_replication_group"
_REPLICA = "replica"


def violations(changes: Iterable[Change]) -> tuple[Violation, ...]:
    """Return the violations of the data-loss policy among the planned changes."""
    violating = []
    changes = tuple(changes)
    # Release 0.1.0 kept the matches and the cache in one replication group. A deploy over 0.1.0 makes the replication
    # group of the matches beside it, and no running match moves to the new group.
    if any(change.resource_type == _REDIS and change.action == "update" for change in changes):
        violating += [
            Violation(
                KEEPS_DATA,
                change.address,
                "create: new matches use this store, but running matches stay in the other replication group and would "
                "be lost. Run `mjctl failover`, wait until no match runs, and then deploy",
            )
            for change in changes
            if change.resource_type == _REDIS and change.action == "create"
        ]
    for change in changes:
        loss = PROTECTED.get(change.resource_type)
        if loss is not None and change.action in ("delete", "replace"):
            violating.append(Violation(KEEPS_DATA, change.address, f"{change.action}: {loss} would be lost"))
        elif change.resource_type == _REPLICATED and change.action == "update":
            violating += [Violation(KEEPS_DATA, change.address, text) for text in _lost_replicas(change.attributes)]
    return tuple(violating)


def _lost_replicas(attributes: Sequence[AttributeChange]) -> Iterator[str]:
    """Yield a sentence for each region that loses its copy of a table, or one sentence if the plan hides the regions.

    The function compares the `replica` blocks before and after the change by region and not by index, because Terraform
    may give another index to a block that stays.
    """
    blocks = [item for item in attributes if item.path.split("[", 1)[0].split(".", 1)[0] == _REPLICA]
    if any(item.before is not None and isinstance(item.after, Hidden) and not _is_inner(item) for item in blocks):
        yield "update: the plan does not say which regions keep their copy of the table's items"
        return
    names = [item for item in blocks if item.path.endswith(".region_name")]
    kept = {item.after for item in names}
    for name in sorted(str(item.before) for item in names if item.before is not None and item.before not in kept):
        yield f"update: removes the copy in {name}: the table's items in that region would be lost"


def _is_inner(attribute: AttributeChange) -> bool:
    """Return True for an attribute inside a `replica` block that is not the region's name, e.g. the computed ARN."""
    return "]." in attribute.path and not attribute.path.endswith(".region_name")


def require(results: Sequence[UnitResult]) -> None:
    """Check that no plan violates the data-loss policy.

    Raises:
        RefusedError: A plan violates the data-loss policy. Nothing was changed.
    """
    lines = [f"  {result.unit}: {violation}" for result in results for violation in result.violations]
    if lines:
        raise RefusedError(
            "the plan would lose data\n" + "\n".join(lines),
            where=", ".join(result.unit for result in results if result.violations),
            hint="change the configuration so that the plan keeps the data; if the loss is intended, make a backup "
            "(`mjctl backup create`) and add --allow-data-loss",
        )
