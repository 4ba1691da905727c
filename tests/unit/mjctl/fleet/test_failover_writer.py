"""A failover chooses the copy of the database that becomes the writer by the answers of RDS and CloudWatch."""

from __future__ import annotations

import pytest

from mjctl.clients.global_database import Copy, GlobalDatabase
from mjctl.fleet.failover_writer import choose
from mjctl.models.errors import ConflictError, NotFoundError


def arn(region: str) -> str:
    return f"arn:aws:rds:{region}:123456789012:cluster:arena-{region}"


def copy(region: str, lag_ms: float | None, *, in_sync: bool = True) -> Copy:
    return Copy(region, arn(region), writes=False, in_sync=in_sync, lag_ms=lag_ms)


def database(*copies: Copy) -> GlobalDatabase:
    writer = Copy("us-east-1", arn("us-east-1"), writes=True, in_sync=True)
    return GlobalDatabase("arena-global", "available", (writer, *copies))


def test_the_copy_with_the_smallest_lag_is_chosen_and_a_copy_with_unknown_lag_last() -> None:
    known = database(copy("ap-south-1", None), copy("eu-west-1", 900), copy("us-west-2", 80))
    assert choose(known, ["ap-south-1", "eu-west-1", "us-west-2"]).region == "us-west-2"
    assert choose(known, ["ap-south-1", "eu-west-1"]).region == "eu-west-1", "us-west-2 is not fit"
    assert choose(known, ["ap-south-1"]).region == "ap-south-1"
    assert choose(known, ["ap-south-1", "eu-west-1"], "ap-south-1").region == "ap-south-1", "the operator's choice"


def test_a_copy_that_is_not_in_sync_is_never_chosen() -> None:
    known = database(copy("eu-west-1", 10, in_sync=False))
    with pytest.raises(ConflictError, match="no region that can take players"):
        choose(known, ["eu-west-1"])
    with pytest.raises(ConflictError, match="the writer cannot move to eu-west-1"):
        choose(known, ["eu-west-1"], "eu-west-1")


def test_a_region_without_a_copy_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no copy") as caught:
        choose(database(copy("eu-west-1", 10)), ["eu-west-1"], "sa-east-1")
    assert "eu-west-1" in str(caught.value.hint)
