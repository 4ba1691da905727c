"""Tests that the answer of RDS about a global database is read."""

from __future__ import annotations

from typing import Any

from mjctl.clients.global_database import parse


def arn(region: str) -> str:
    return f"arn:aws:rds:{region}:123456789012:cluster:arena-{region}"


def test_a_move_under_way_names_its_target() -> None:
    answer: dict[str, Any] = {
        "GlobalClusterIdentifier": "arena-global",
        "Status": "switching-over",
        "GlobalClusterMembers": [
            {"DBClusterArn": arn("us-east-1"), "IsWriter": True},
            {"DBClusterArn": arn("eu-west-1"), "IsWriter": False, "SynchronizationStatus": "pending-resync"},
        ],
        "FailoverState": {"Status": "switching-over", "ToDbClusterArn": arn("eu-west-1")},
    }
    database = parse(answer)
    assert (database.writer, database.moving_to, database.status) == ("us-east-1", "eu-west-1", "switching-over")
    assert [copy.in_sync for copy in database.copies] == [True, False]
