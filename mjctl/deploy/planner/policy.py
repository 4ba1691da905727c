"""The data-loss policy: a plan must not delete or replace a store of players' data, or what that data depends on.

The operator allows it with --allow-data-loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitResult, Violation
from mjctl.models.errors import RefusedError

KEEPS_DATA = "keeps-data"
PROTECTED = {
    "aws_backup_vault": "the backups in it",
    "aws_cognito_user_pool": "every player's account",
    "aws_cognito_user_pool_client": "the client id that every player's game and token names",
    "aws_dynamodb_table": "its items",
    "aws_dynamodb_table_replica": "its items in that region",
    "aws_ecr_repository": "the images that a rollback needs",
    "aws_elasticache_replication_group": "the state of running matches",
    "aws_kms_key": "what was encrypted with it",
    "aws_kms_replica_key": "what was encrypted with it in that region",
    "aws_rds_cluster": "its rows",
    "aws_rds_global_cluster": "its rows in every region",
    "aws_route53_zone": "its name servers, and with them every name of the game",
    "aws_s3_bucket": "its objects",
    "aws_secretsmanager_secret": "the database's password",
    "aws_sqs_queue": "messages that wait in it",
}
"""Resource types, and what is lost when a resource of the type is deleted or replaced."""

# An update that removes such a block deletes the table's copy in that region:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteReplicationGroupMemberAction.html
_REPLICATED = "aws_dynamodb_table"
_REPLICA = "replica"


def violations(changes: Iterable[Change]) -> tuple[Violation, ...]:
    """Return the planned changes that would lose data."""
    found = []
    for change in changes:
        loss = PROTECTED.get(change.resource_type)
        if loss is not None and change.action in ("delete", "replace"):
            found.append(Violation(KEEPS_DATA, change.address, f"{change.action}: {loss} would be lost"))
        elif change.resource_type == _REPLICATED and change.action == "update":
            found += [Violation(KEEPS_DATA, change.address, text) for text in _lost_replicas(change.attributes)]
    return tuple(found)


def _lost_replicas(attributes: Sequence[AttributeChange]) -> Iterator[str]:
    """Yield a sentence for each region that loses its copy of the table.

    The blocks are a set: a block that stays may move to another index, so the names are compared and not the indexes.
    """
    blocks = [one for one in attributes if one.path.split("[", 1)[0].split(".", 1)[0] == _REPLICA]
    if any(one.before is not None and isinstance(one.after, Hidden) and not _is_inner(one) for one in blocks):
        yield "update: it is not known which regions keep their copy of its items"
        return
    names = [one for one in blocks if one.path.endswith(".region_name")]
    kept = {one.after for one in names}
    for name in sorted(str(one.before) for one in names if one.before is not None and one.before not in kept):
        yield f"update: removes the copy in {name}: its items in that region would be lost"


def _is_inner(attribute: AttributeChange) -> bool:
    """Whether the attribute is one of a block's that says nothing of the block's region, e.g. its computed ARN."""
    return "]." in attribute.path and not attribute.path.endswith(".region_name")


def require(results: Sequence[UnitResult]) -> None:
    """Check that no plan violates a rule.

    Raises:
        RefusedError: A plan violates a rule. Nothing was changed.
    """
    lines = [f"  {result.unit}: {violation}" for result in results for violation in result.violations]
    if lines:
        raise RefusedError(
            "the plan would lose data\n" + "\n".join(lines),
            where=", ".join(result.unit for result in results if result.violations),
            hint="change the configuration so that the plan keeps it; if the loss is intended, take a backup "
            "(`mjctl backup create`) and add --allow-data-loss",
        )
