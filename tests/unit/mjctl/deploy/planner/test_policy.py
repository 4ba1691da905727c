from __future__ import annotations

from typing import Any

import pytest

from mjctl.deploy.planner import policy
from mjctl.models.deployment import Change, UnitOutcome, UnitResult
from mjctl.models.errors import RefusedError
from mjctl.terraform.details import planned_changes

PROTECTED = {
    "aws_backup_vault",
    "aws_cognito_user_pool",
    "aws_cognito_user_pool_client",
    "aws_dynamodb_table",
    "aws_dynamodb_table_replica",
    "aws_ecr_repository",
    "aws_elasticache_replication_group",
    "aws_kms_key",
    "aws_kms_replica_key",
    "aws_rds_cluster",
    "aws_rds_global_cluster",
    "aws_route53_zone",
    "aws_s3_bucket",
    "aws_secretsmanager_secret",
    "aws_sqs_queue",
}


def change(resource_type: str, action: str, address: str | None = None) -> Change:
    return Change(address or f"module.a.{resource_type}.this", action, resource_type=resource_type)


@pytest.mark.parametrize("resource_type", sorted(PROTECTED))
@pytest.mark.parametrize("action", ["delete", "replace"])
def test_every_store_of_data_is_protected_by_name(resource_type: str, action: str) -> None:
    (violation,) = policy.violations([change(resource_type, action)])
    assert violation.what.startswith(f"{action}: ")


def test_every_protected_type_is_tested_here() -> None:
    assert set(policy.PROTECTED) == PROTECTED


@pytest.mark.parametrize("action", ["update", "create", "read", "forget", "move", "import"])
def test_an_action_that_keeps_the_data_is_allowed(action: str) -> None:
    assert policy.violations([change("aws_rds_cluster", action)]) == ()


def test_a_resource_without_players_data_may_be_deleted() -> None:
    assert policy.violations([change("aws_ecs_service", "delete")]) == ()


@pytest.mark.parametrize("address", ['aws_dynamodb_table.this["a]b"]', 'module.m["x\\"]"].aws_dynamodb_table.t[0]', ""])
def test_the_type_does_not_depend_on_the_address(address: str) -> None:
    assert len(policy.violations([Change(address, "delete", resource_type="aws_dynamodb_table")])) == 1


def test_an_address_that_contains_a_protected_type_does_not_make_a_resource_protected() -> None:
    assert policy.violations([change("aws_kms_alias", "delete", 'aws_kms_alias.this["aws_kms_key.b"]')]) == ()


def table_update(before: list[Any], after: list[Any], unknown: Any = None) -> list[Change]:
    return planned_changes(
        {
            "resource_changes": [
                {
                    "address": "aws_dynamodb_table.players",
                    "type": "aws_dynamodb_table",
                    "change": {
                        "actions": ["update"],
                        "before": {"replica": before},
                        "after": {"replica": after},
                        "after_unknown": {"replica": unknown} if unknown is not None else {},
                    },
                }
            ]
        }
    )


def block(region: str, **more: Any) -> dict[str, Any]:
    return {"region_name": region, **more}


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (["eu-west-1", "ap-south-1"], ["ap-south-1"], ["eu-west-1"]),
        (["eu-west-1", "ap-south-1"], [], ["ap-south-1", "eu-west-1"]),
        (["eu-west-1"], ["ap-south-1"], ["eu-west-1"]),
        (["eu-west-1", "ap-south-1"], ["ap-south-1", "eu-west-1"], []),
        (["eu-west-1"], ["eu-west-1", "ap-south-1"], []),
        ([], ["eu-west-1"], []),
    ],
)
def test_an_update_that_removes_a_replica_loses_its_items(before: list[str], after: list[str], lost: list[str]) -> None:
    violations = policy.violations(table_update([*map(block, before)], [*map(block, after)]))
    assert [violation.what.split(" in ")[1].split(":")[0] for violation in violations] == lost


def test_replicas_that_are_not_known_yet_count_as_lost() -> None:
    (violation,) = policy.violations(table_update([block("eu-west-1")], [], unknown=True))
    assert "does not say which regions keep" in violation.what


def test_a_computed_attribute_of_a_replica_is_no_loss() -> None:
    changes = table_update(
        [block("eu-west-1", stream_arn="arn", propagate_tags=False)],
        [block("eu-west-1", propagate_tags=True)],
        unknown=[{"stream_arn": True}],
    )
    assert policy.violations(changes) == ()


def test_a_refusal_names_every_loss_with_its_region_and_the_next_step() -> None:
    lost = policy.violations([change("aws_kms_key", "replace", "aws_kms_key.data"), change("aws_s3_bucket", "delete")])
    results = [
        UnitResult("us-east-1", UnitOutcome.PLANNED),
        UnitResult("eu-west-1", UnitOutcome.PLANNED, violations=lost),
    ]
    policy.require(results[:1])
    with pytest.raises(RefusedError) as caught:
        policy.require(results)
    lost_key = "eu-west-1: aws_kms_key.data: replace: all data that was encrypted with the key would be lost"
    assert lost_key in caught.value.what
    assert "module.a.aws_s3_bucket.this" in caught.value.what
    assert caught.value.where == "eu-west-1"
    assert "--allow-data-loss" in str(caught.value.hint)


def test_a_second_store_beside_the_store_of_release_0_1_0_would_lose_the_running_matches() -> None:
    """Test a deploy that makes a state store in a region whose only replication group keeps the matches too."""
    group = "aws_elasticache_replication_group"
    changes = [
        change(group, "update", f"module.cache.{group}.main"),
        change(group, "create", f"module.state.{group}.main"),
    ]
    (violation,) = policy.violations(changes)
    assert violation.address == f"module.state.{group}.main"
    assert "`mjctl failover`" in str(violation)
    assert policy.violations([change(group, "create", f"{group}.a"), change(group, "create", f"{group}.b")]) == ()
    assert policy.violations(changes[:1]) == ()
