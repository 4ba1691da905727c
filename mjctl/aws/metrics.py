"""The newest figures of CloudWatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mjctl.aws.clients import AwsClients

_PERIOD_SECONDS = 60
_LOOK_BACK = timedelta(minutes=15)


@dataclass(frozen=True)
class Metric:
    """One metric of one thing, e.g. Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "q"})."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


async def newest(clients: AwsClients, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """The newest value of each metric in the last 15 minutes, by the caller's name for it; absent where there is none.

    500 metrics at most, one call.
    """
    if not metrics:
        return {}
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
    answer = await clients.call(
        "cloudwatch",
        "get_metric_data",
        MetricDataQueries=queries,
        StartTime=now - _LOOK_BACK,
        # Past the end of this minute: figures that came within this second count too.
        EndTime=now + timedelta(seconds=_PERIOD_SECONDS),
        ScanBy="TimestampDescending",
    )
    return {
        names[int(result["Id"].removeprefix("m"))]: float(result["Values"][0])
        for result in answer["MetricDataResults"]
        if result.get("Values")
    }
