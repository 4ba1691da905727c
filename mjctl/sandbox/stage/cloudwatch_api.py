"""Calls CloudWatch and Application Auto Scaling of moto, for the parts of the stage that play these services."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mjctl.sandbox.stage.metric_book import MetricName, StatisticSet
from mjctl.sandbox.stage.moto_client import MotoClient

Json = Mapping[str, Any]

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
_METRICS_PER_CALL = 1000
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
_QUERIES_PER_CALL = 500
# boto's name of a service: the name in a signature, the prefix of the operations, and the version of the JSON protocol.
_PROTOCOLS = {
    "cloudwatch": ("monitoring", "GraniteServiceVersion20100801", "1.0"),
    "application-autoscaling": ("application-autoscaling", "AnyScaleFrontendService", "1.1"),
}


class CloudWatchApi:
    """Calls moto through AWS's API."""

    def __init__(self, moto: MotoClient) -> None:
        """Create the object without a connection."""
        self._moto = moto

    def request(self, service: str, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation of `cloudwatch` or of `application-autoscaling`.

        Raises:
            OSError: moto does not answer, or answers with an error.
        """
        signed_as, prefix, protocol = _PROTOCOLS[service]
        return self._moto.post(signed_as, region, f"{prefix}.{operation}", parameters, protocol=protocol) or {}

    def put(self, minute: float, values: Mapping[MetricName, StatisticSet]) -> None:
        """Store the values of a minute that began at `minute`, in seconds since 1970.

        Raises:
            OSError: moto does not answer.
        """
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for metric, statistics in values.items():
            groups.setdefault((metric.region, metric.namespace), []).append(
                {
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
                    "Timestamp": minute,
                    "Unit": metric.unit,
                    "StatisticValues": {
                        "SampleCount": statistics.count,
                        "Sum": statistics.total,
                        "Minimum": statistics.lowest,
                        "Maximum": statistics.highest,
                    },
                }
            )
        for (region, namespace), data in groups.items():
            for part in _parts(data, _METRICS_PER_CALL):
                self.request("cloudwatch", region, "PutMetricData", Namespace=namespace, MetricData=part)

    def alarms(self, region: str) -> list[dict[str, Any]]:
        """Return the descriptions of a region's alarms on metrics.

        Raises:
            OSError: moto does not answer.
        """
        alarms: list[dict[str, Any]] = self.request("cloudwatch", region, "DescribeAlarms")["MetricAlarms"]
        return alarms

    def data(
        self, region: str, start: float, end: float, queries: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[float, float]]:
        """Return the values of queries by the start of their periods, by the ids of the queries.

        Args:
            region: The region of the metrics.
            start: The beginning of the time range, in seconds since 1970. Periods begin at this time.
            end: The end of the time range.
            queries: The queries as `GetMetricData` expects them.

        Raises:
            OSError: moto does not answer.
        """
        values_by_query: dict[str, dict[float, float]] = {}
        for part in _parts(queries, _QUERIES_PER_CALL):
            answer = self.request(
                "cloudwatch", region, "GetMetricData", StartTime=start, EndTime=end, MetricDataQueries=part
            )
            for result in answer["MetricDataResults"]:
                values_by_query[result["Id"]] = dict(zip(result["Timestamps"], result["Values"], strict=True))
        return values_by_query

    def metrics(self, region: str, namespace: str, name: str) -> list[dict[str, str]]:
        """Return the dimensions of each metric that has a value and a name in a namespace.

        Raises:
            OSError: moto does not answer.
        """
        answer = self.request("cloudwatch", region, "ListMetrics", Namespace=namespace, MetricName=name)
        return [{item["Name"]: item["Value"] for item in metric["Dimensions"]} for metric in answer["Metrics"]]

    def set_state(self, region: str, alarm: str, state: str, reason: str, data: Mapping[str, Any]) -> None:
        """Set the state of an alarm.

        Raises:
            OSError: moto does not answer.
        """
        self.request(
            "cloudwatch",
            region,
            "SetAlarmState",
            AlarmName=alarm,
            StateValue=state,
            StateReason=reason,
            StateReasonData=json.dumps(data),
        )


def query_of(
    identifier: str,
    namespace: str,
    name: str,
    dimensions: Iterable[Mapping[str, str]],
    period: int,
    statistic: str,
) -> dict[str, Any]:
    """Return a query of `GetMetricData` for one metric. `dimensions` have the form {"Name": …, "Value": …}."""
    # moto finds a metric with several dimensions only if the query lists them in the order of the stored metric. The
    # stage stores dimensions in the order of their names.
    ordered = sorted(dimensions, key=lambda dimension: dimension["Name"])
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": ordered}
    return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}}


def _parts(items: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
