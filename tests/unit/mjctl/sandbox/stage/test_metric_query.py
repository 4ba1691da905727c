"""Tests that queries of CloudWatch Metrics Insights are read, and that other expressions are refused."""

from __future__ import annotations

import pytest

from mjctl.sandbox.stage.metric_query import MetricsQuery, parse_query

QUERY = "SELECT MAX(AuroraGlobalDBReplicationLag) FROM \"AWS/RDS\" WHERE DBClusterIdentifier = 'arena'"


def test_a_query_has_a_function_a_namespace_a_metric_and_a_dimension() -> None:
    query = parse_query(QUERY)
    assert query == MetricsQuery("MAX", "AWS/RDS", "AuroraGlobalDBReplicationLag", "DBClusterIdentifier", "arena")
    assert query.statistic == "Maximum"
    assert parse_query('SELECT SUM(Errors) FROM "AWS/Lambda"') == MetricsQuery(
        "SUM", "AWS/Lambda", "Errors", None, None
    )


@pytest.mark.parametrize("expression", ["m1 + m2", QUERY.replace("MAX", "AVG"), f"{QUERY} GROUP BY Region", ""])
def test_another_expression_is_no_query(expression: str) -> None:
    assert parse_query(expression) is None


def test_a_query_matches_metrics_with_any_other_dimensions() -> None:
    query = parse_query(QUERY)
    assert query is not None
    assert query.matches({"DBClusterIdentifier": "arena", "SourceRegion": "us-east-1"})
    assert not query.matches({"DBClusterIdentifier": "other"})
    assert not query.matches({})


@pytest.mark.parametrize(("function", "value"), [("MAX", 3.0), ("MIN", 1.0), ("SUM", 4.0)])
def test_a_query_merges_the_values_of_its_metrics(function: str, value: float) -> None:
    query = parse_query(QUERY.replace("MAX", function))
    assert query is not None
    assert query.merge([1.0, 3.0]) == value
