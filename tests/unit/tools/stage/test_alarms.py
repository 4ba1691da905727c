"""Tests that the check of the stage finds alarms that cannot fire."""

from __future__ import annotations

from typing import Any

import pytest

from tools.stage.alarms import fault_of

BALANCER = "app/arena-game/1"
FOUND = [
    ("AWS/ApplicationELB", "HealthyHostCount", {"LoadBalancer": BALANCER, "TargetGroup": "targetgroup/game/1"}),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "arena"}),
    ("AWS/RDS", "CPUUtilization", {"DBClusterIdentifier": "arena"}),
]
METRICS = [
    {"Namespace": namespace, "MetricName": name, "Dimensions": [{"Name": k, "Value": v} for k, v in pairs.items()]}
    for namespace, name, pairs in FOUND
]
NAMES = {"FunctionName": {"arena-auth"}, "TableName": {"arena-matches"}}


def alarm(namespace: str, name: str, **dimensions: str) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": pairs}


def query(cluster: str, metric: str = "AuroraGlobalDBReplicationLag") -> dict[str, Any]:
    parts = (f"SELECT MAX({metric})", 'FROM "AWS/RDS"', f"WHERE DBClusterIdentifier = '{cluster}'")
    return {"Metrics": [{"Expression": " ".join(parts)}]}


@pytest.mark.parametrize(
    "described",
    [
        alarm("AWS/ApplicationELB", "HealthyHostCount", LoadBalancer=BALANCER, TargetGroup="targetgroup/game/1"),
        alarm("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", LoadBalancer=BALANCER),
        alarm("AWS/Lambda", "Errors", FunctionName="arena-auth"),
        alarm("AWS/DynamoDB", "ReadThrottleEvents", TableName="arena-matches"),
        alarm("AWS/SQS", "ApproximateAgeOfOldestMessage", QueueName="arena"),
        query("arena"),
    ],
)
def test_an_alarm_that_can_fire_has_no_fault(described: dict[str, Any]) -> None:
    assert fault_of(described, METRICS, NAMES) is None


def test_an_alarm_on_the_metric_of_a_metric_filter_can_fire() -> None:
    described = alarm("arena/events", "ReusedEventIds")
    assert fault_of(described, METRICS, NAMES, {("arena/events", "ReusedEventIds")}) is None
    assert "lists no metric" in str(fault_of(described, METRICS, NAMES, {("arena/events", "Other")}))
    with_dimension = alarm("arena/events", "ReusedEventIds", Region="eu-west-1")
    assert fault_of(with_dimension, METRICS, NAMES, {("arena/events", "ReusedEventIds")}) is not None


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (alarm("AWS/ApplicationELB", "HealthyHostCount", LoadBalancer=BALANCER), "by LoadBalancer and TargetGroup"),
        (
            alarm("AWS/ApplicationELB", "HealthyHostCount", LoadBalancer=BALANCER, TargetGroup="targetgroup/x/1"),
            "does not publish",
        ),
        (alarm("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", LoadBalancer="app/other/1"), "has the LoadBalancer"),
        (alarm("AWS/DynamoDB", "ThrottledRequests", TableName="arena-matches"), "not by TableName"),
        (alarm("AWS/DynamoDB", "ReadThrottleEvents", TableName="arena-other"), "has the TableName arena-other"),
        (alarm("AWS/Lambda", "Errors", FunctionName="auth"), "has the FunctionName auth"),
        (alarm("AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName="other"), "does not publish"),
        (alarm("AWS/SQS", "Depth", QueueName="arena"), "lists no metric AWS/SQS Depth"),
        (query("other"), "no metric of AWS/RDS has the DBClusterIdentifier other"),
        (query("arena", "Lag"), "lists no metric AWS/RDS Lag"),
        ({"Metrics": [{"Expression": "m1 + m2"}]}, "unknown form"),
    ],
)
def test_an_alarm_that_cannot_fire_has_a_fault(described: dict[str, Any], text: str) -> None:
    assert text in str(fault_of(described, METRICS, NAMES))
