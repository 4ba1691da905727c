"""Tests that a query lists dimensions in the order in which the stage stores them."""

from __future__ import annotations

from mjctl.sandbox.stage.cloudwatch_api import query_of


def test_a_query_lists_its_dimensions_by_name() -> None:
    dimensions = [{"Name": "TargetGroup", "Value": "t"}, {"Name": "LoadBalancer", "Value": "l"}]
    query = query_of("m", "AWS/ApplicationELB", "HealthyHostCount", dimensions, 60, "Maximum")
    assert query["MetricStat"]["Metric"]["Dimensions"] == dimensions[::-1]
