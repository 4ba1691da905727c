"""Reads the newest values of CloudWatch metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mjctl.clients.boto import RegionClients

_PERIOD_SECONDS = 60
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
_METRICS_PER_CALL = 500
_LOOK_BACK = timedelta(minutes=15)


@dataclass(frozen=True)
class Metric:
    """Names a CloudWatch metric, e.g. Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "q"})."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


async def newest(clients: RegionClients, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return each metric's newest value of the last 15 minutes.

    Args:
        clients: The clients of the region.
        metrics: The metrics by a name that the caller chooses.

    Returns:
        The newest value of each metric, by the caller's names. The returned mapping lacks metrics that had no value in
        the last 15 minutes.

    Raises:
        PermissionDeniedError: AWS refused the request to CloudWatch.
        UnreachableError: CloudWatch did not answer.
    """
    names = list(metrics)
    parts = [names[start : start + _METRICS_PER_CALL] for start in range(0, len(names), _METRICS_PER_CALL)]
    answers = await asyncio.gather(*(_newest(clients, {name: metrics[name] for name in part}) for part in parts))
    return {name: value for answer in answers for name, value in answer.items()}


async def region_lag(clients: RegionClients, cluster: str, writer_region: str) -> float | None:
    """Return how many milliseconds a cluster of a global database is behind the writer, or None without a value.

    AWS's documents do not list the dimensions of the metric. This function reads the metric with the dimension of the
    cluster, and with the dimensions of the cluster and of the writer's region.

    Args:
        clients: The clients of the cluster's region.
        cluster: The id of the cluster.
        writer_region: The region of the cluster that writes.

    Raises:
        PermissionDeniedError: AWS refused the request to CloudWatch.
        UnreachableError: CloudWatch did not answer.
    """
    dimensions = {"DBClusterIdentifier": cluster}
    sets = (dimensions, {**dimensions, "SourceRegion": writer_region})
    lags = {str(number): Metric("AWS/RDS", "AuroraGlobalDBReplicationLag", group) for number, group in enumerate(sets)}
    return max((await newest(clients, lags)).values(), default=None)


async def _newest(clients: RegionClients, metrics: Mapping[str, Metric]) -> dict[str, float]:
    names = list(metrics)
    now = datetime.now(UTC)
    queries = [
        {
            "Id": f"m{index}",
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
                },
                "Period": _PERIOD_SECONDS,
                "Stat": metric.statistic,
            },
        }
        for index, metric in enumerate(metrics.values())
    ]
    answer = await clients.call_all(
        "cloudwatch",
        "get_metric_data",
        MetricDataQueries=queries,
        StartTime=now - _LOOK_BACK,
        # EndTime is a minute from now, so that the values of the present minute are inside of the requested time range.
        EndTime=now + timedelta(seconds=_PERIOD_SECONDS),
        ScanBy="TimestampDescending",
    )
    values: dict[str, float] = {}
    for result in answer["MetricDataResults"]:
        if result.get("Values"):
            # CloudWatch may spread the values of a metric over several results, of which the first has the newest
            # value.
            values.setdefault(names[int(result["Id"].removeprefix("m"))], float(result["Values"][0]))
    return values
