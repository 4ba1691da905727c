"""Checks on a stage that every alarm of a region can fire: the stage publishes its metric with its dimensions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.sandbox.stage.metric_query import MetricsQuery, parse_query
from tools.cloudwatch_metrics import Reported, fault, published, query_fault
from tools.stage.steps import Failure

# The stage publishes metrics at the end of each minute.
_PUBLISHED_SECONDS = 150.0
_PAUSE_SECONDS = 5.0
_STEP = "the alarms"

Metric = Mapping[str, Any]


async def alarms_can_fire(contract: Contract) -> str:
    """Check that each alarm of a region uses a metric that AWS documents and that the stage publishes.

    AWS publishes some metrics only after an event, e.g. an error. For these metrics, the function checks instead that
    each dimension of the alarm names a resource that exists.

    Returns: A line of text about the alarms.

    Raises:
        Failure: an alarm cannot fire.
    """
    deadline = time.monotonic() + _PUBLISHED_SECONDS
    while True:
        count, faults = await _look(contract)
        if not faults:
            return f"{_STEP}: {count} of {count} alarms use metrics that AWS publishes"
        if time.monotonic() > deadline:
            raise Failure(_STEP, "; ".join(faults))
        await asyncio.sleep(_PAUSE_SECONDS)


async def _look(contract: Contract) -> tuple[int, list[str]]:
    """Return the number of alarms and the faults of the alarms."""
    if contract.managed is None:
        return 0, [f"the contract of {contract.region} has no part `managed`"]
    with RegionClients(contract) as clients:
        answer = await clients.call_all(
            "cloudwatch",
            "describe_alarms",
            AlarmNamePrefix=contract.managed.alarm_prefix,
            AlarmTypes=["MetricAlarm"],
        )
        metrics_with_values = (await clients.call_all("cloudwatch", "list_metrics"))["Metrics"]
        names = await _names(clients)
        filtered = await _filtered(clients)
    names["Region"] = {contract.region, "Global"}
    faults = [
        f"{alarm['AlarmName']}: {why}"
        for alarm in answer["MetricAlarms"]
        if (why := fault_of(alarm, metrics_with_values, names, filtered))
    ]
    if not answer["MetricAlarms"]:
        faults = [f"no alarm named {contract.managed.alarm_prefix}* exists"]
    return len(answer["MetricAlarms"]), faults


def fault_of(
    alarm: Metric,
    metrics_with_values: Sequence[Metric],
    names: Mapping[str, Collection[str]],
    filtered: Collection[tuple[str, str]] = (),
) -> str | None:
    """Return why an alarm cannot fire, or None if the alarm can fire.

    Args:
        alarm: the alarm as `DescribeAlarms` describes it.
        metrics_with_values: the metrics that have values, as `ListMetrics` describes them.
        names: the names of existing resources, by the name of the dimension that names such resources.
        filtered: namespace and name of the metrics that metric filters of logs publish, without dimensions.
    """
    if alarm.get("Metrics"):
        expression = str(alarm["Metrics"][0].get("Expression"))
        query = parse_query(expression)
        return query_fault(expression) or _silent_query(query, metrics_with_values)
    namespace, name = str(alarm["Namespace"]), str(alarm["MetricName"])
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions", ())}
    of_filter = not dimensions and (namespace, name) in filtered
    if not of_filter and (why := fault(namespace, name, dimensions)):
        return why
    same = [
        _dimensions(metric)
        for metric in metrics_with_values
        if (metric["Namespace"], metric["MetricName"]) == (namespace, name)
    ]
    if of_filter or dimensions in same:
        return None
    entry = published(namespace, name)
    if entry is not None and entry.reported is Reported.ALWAYS:
        return f"the stage does not publish {namespace} {name} with {dimensions}"
    of_namespace = [_dimensions(metric) for metric in metrics_with_values if metric["Namespace"] == namespace]
    for key, value in dimensions.items():
        if value not in names.get(key, ()) and all(other.get(key) != value for other in of_namespace):
            return f"no metric of {namespace} and no resource has the {key} {value}"
    return None


def _silent_query(query: MetricsQuery | None, metrics_with_values: Sequence[Metric]) -> str | None:
    """Return why a query can find no metric, or None if a metric of the namespace has the value of its dimension."""
    if query is None:
        return "the query has an unknown form"
    metrics = [metric for metric in metrics_with_values if metric["Namespace"] == query.namespace]
    if query.dimension is None or any(query.matches(_dimensions(metric)) for metric in metrics):
        return None
    return f"no metric of {query.namespace} has the {query.dimension} {query.value}"


def _dimensions(metric: Metric) -> dict[str, str]:
    return {item["Name"]: item["Value"] for item in metric["Dimensions"]}


async def _names(clients: RegionClients) -> dict[str, set[str]]:
    """Return the names of resources by the name of a dimension, for metrics that have no values without an event."""
    calls: dict[str, tuple[str, str, Callable[[Any], list[str]]]] = {
        "ApiId": ("apigatewayv2", "get_apis", lambda a: [item["ApiId"] for item in a["Items"]]),
        "BackupVaultName": (
            "backup",
            "list_backup_vaults",
            lambda a: [item["BackupVaultName"] for item in a["BackupVaultList"]],
        ),
        "DistributionId": (
            "cloudfront",
            "list_distributions",
            lambda a: [item["Id"] for item in a["DistributionList"].get("Items", ())],
        ),
        "FunctionName": ("lambda", "list_functions", lambda a: [item["FunctionName"] for item in a["Functions"]]),
        "TableName": ("dynamodb", "list_tables", lambda a: list(a["TableNames"])),
    }
    answers = await asyncio.gather(*(clients.call_all(service, method) for service, method, _ in calls.values()))
    named = {key: set(read(answer)) for (key, (_, _, read)), answer in zip(calls.items(), answers, strict=True)}
    named["Rule"] = {"ALL"}
    named["WebACL"] = await _acl_metrics(clients)
    return named


async def _filtered(clients: RegionClients) -> set[tuple[str, str]]:
    """Return namespace and name of the metrics of existing metric filters whose log group exists."""
    groups, filters = await asyncio.gather(
        clients.call_all("logs", "describe_log_groups"), clients.call_all("logs", "describe_metric_filters")
    )
    existing = {group["logGroupName"] for group in groups["logGroups"]}
    return {
        (metric["metricNamespace"], metric["metricName"])
        for item in filters["metricFilters"]
        for metric in item["metricTransformations"]
        if item["logGroupName"] in existing and not metric.get("dimensions")
    }


async def _acl_metrics(clients: RegionClients) -> set[str]:
    metrics = set()
    for item in (await clients.call("wafv2", "list_web_acls", Scope="REGIONAL"))["WebACLs"]:
        acl = await clients.call("wafv2", "get_web_acl", Name=item["Name"], Id=item["Id"], Scope="REGIONAL")
        metrics.add(str(acl["WebACL"]["VisibilityConfig"]["MetricName"]))
    return metrics
