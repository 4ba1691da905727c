from __future__ import annotations

import pytest

from mjctl.deploy import policy
from mjctl.models.deployment import Change, Outcome, RegionResult
from mjctl.models.errors import RefusedError


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("aws_s3_bucket.web", "aws_s3_bucket"),
        ('module.match_store.aws_dynamodb_table.this["matches.v2"]', "aws_dynamodb_table"),
        ("module.region[0].module.database.aws_rds_cluster.this[0]", "aws_rds_cluster"),
        ('module.keys["a.aws_kms_key.b"].aws_kms_alias.this', "aws_kms_alias"),
        ("module.cache", "module"),
        ("", ""),
    ],
)
def test_the_type_is_read_from_the_address(address: str, found: str) -> None:
    assert policy.resource_type(address) == found


@pytest.mark.parametrize(("action", "broken"), [("delete", 1), ("replace", 1), ("update", 0), ("create", 0)])
def test_only_an_end_loses_data(action: str, broken: int) -> None:
    assert len(policy.violations([Change("module.a.aws_rds_cluster.this", action)])) == broken
    assert policy.violations([Change("module.a.aws_ecs_service.this", action)]) == ()


def test_every_loss_is_named_with_its_region_and_the_way_on() -> None:
    lost = policy.violations([Change("aws_kms_key.data", "replace"), Change("aws_s3_bucket.web", "delete")])
    results = [
        RegionResult("us-east-1", Outcome.PLANNED),
        RegionResult("eu-west-1", Outcome.PLANNED, violations=lost),
    ]
    policy.require(results[:1])
    with pytest.raises(RefusedError) as caught:
        policy.require(results)
    assert "eu-west-1: aws_kms_key.data: replace: what was encrypted with it would be lost" in caught.value.what
    assert "aws_s3_bucket.web" in caught.value.what
    assert caught.value.where == "eu-west-1"
    assert "--allow-data-loss" in str(caught.value.hint)
