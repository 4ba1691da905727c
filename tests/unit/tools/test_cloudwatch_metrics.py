"""AWS publishes every metric of the alarms and of the dashboard with the dimensions that they use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mjctl.clients import metrics as reading
from mjctl.health.checks import managed
from tools.cloudwatch_metrics import PUBLISHED, fault, query_fault
from tools.pages.alarms import alarms

ROOT = Path(__file__).parents[3]
OBSERVABILITY = ROOT / "terraform" / "modules" / "observability"
QUERY = "SELECT MAX(AuroraGlobalDBReplicationLag) FROM \"AWS/RDS\" WHERE DBClusterIdentifier = 'arena'"


def test_each_metric_has_one_description_with_a_document() -> None:
    names = [(entry.namespace, name) for entry in PUBLISHED for name in entry.names]
    assert len(names) == len(set(names))
    assert all(entry.source.startswith("https://docs.aws.amazon.com/") for entry in PUBLISHED)


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("AWS/DynamoDB", "ThrottledRequests", {"TableName"}),
        ("AWS/RDS", "AuroraGlobalDBReplicationLag", {"DBClusterIdentifier"}),
        ("AWS/ApplicationELB", "HealthyHostCount", {"LoadBalancer"}),
        ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", set()),
        ("AWS/WAFV2", "BlockedRequests", {"WebACL"}),
        ("AWS/Lambda", "Errors", {"Function"}),
        ("AWS/Lambda", "Error", {"FunctionName"}),
        ("AWS/lambda", "Errors", {"FunctionName"}),
    ],
)
def test_a_metric_that_aws_does_not_publish_is_a_fault(namespace: str, name: str, dimensions: set[str]) -> None:
    assert fault(namespace, name, dimensions)


def test_a_metric_that_aws_publishes_is_no_fault() -> None:
    assert fault("AWS/DynamoDB", "ReadThrottleEvents", {"TableName"}) is None
    assert fault("AWS/WAFV2", "BlockedRequests", {"Rule", "Region", "WebACL"}) is None
    assert query_fault(QUERY) is None


@pytest.mark.parametrize(
    "query",
    [
        QUERY.replace("DBClusterIdentifier", "DBInstanceIdentifier"),
        QUERY.replace("AuroraGlobalDBReplicationLag", "Lag"),
        QUERY.replace("MAX", "RATE"),
    ],
)
def test_a_query_that_finds_no_metric_is_a_fault(query: str) -> None:
    assert query_fault(query)


def test_the_table_lists_the_metrics_of_every_alarm() -> None:
    listed = {f"{entry.namespace} {name}" for entry in PUBLISHED for name in entry.names}
    own = "PROJECT-ENVIRONMENT/"
    assert {alarm.metric for alarm in alarms() if not alarm.metric.startswith(own)} <= listed


def test_a_metric_filter_publishes_each_metric_of_the_environments_own_namespace() -> None:
    text = (OBSERVABILITY / "main.tf").read_text(encoding="utf-8").replace("${var.name}", "PROJECT-ENVIRONMENT")
    filters = re.findall(r'metric_transformation \{\n +name += "(\w+)"\n +namespace += "([\w/-]+)"', text)
    own = {alarm.metric for alarm in alarms() if alarm.metric.startswith("PROJECT-ENVIRONMENT/")}
    assert own == {f"{namespace} {name}" for name, namespace in filters} != set()


def test_aws_publishes_the_metrics_of_the_dashboard() -> None:
    text = (OBSERVABILITY / "dashboard.tf").read_text(encoding="utf-8")
    text = text.replace('AWS/DynamoDB", metric,', 'AWS/DynamoDB", "ReadThrottleEvents",')
    shown = re.findall(r'\["((?:AWS|ECS)/\w+)", "(\w+)"((?:, "\w+", [\w.\[\]]+)*)\]', text)
    assert len(shown) >= 12
    for namespace, name, rest in shown:
        assert fault(namespace, name, set(re.findall(r'"(\w+)"', rest))) is None, (namespace, name)


def test_aws_publishes_the_metrics_that_the_health_checks_read() -> None:
    text = Path(managed.__file__).read_text(encoding="utf-8") + Path(reading.__file__).read_text(encoding="utf-8")
    read = re.findall(r'Metric\("([\w/]+)", (?:"(\w+)"|metric), (?:\{"(\w+)": |group)', text)
    assert len(read) == 4
    listed = {name for entry in PUBLISHED for name in entry.names}
    for namespace, name, dimension in read:
        if name and dimension:
            assert fault(namespace, name, {dimension}) is None, (namespace, name)
    assert {"DatabaseMemoryUsagePercentage", "ReplicationLag", "AuroraGlobalDBReplicationLag"} <= listed
