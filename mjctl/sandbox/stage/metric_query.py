"""Reads the form of CloudWatch Metrics Insights that mjctl's alarms use: one function, one metric, one dimension.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_QUERY = re.compile(
    r"SELECT (?P<function>MAX|MIN|SUM)\((?P<metric>\w+)\) FROM "
    r'"(?P<namespace>[\w/]+)"(?: WHERE (?P<dimension>\w+) = \'(?P<value>[^\']+)\')?'
)
_STATISTICS = {"MAX": "Maximum", "MIN": "Minimum", "SUM": "Sum"}


@dataclass(frozen=True)
class MetricsQuery:
    """Describes a query that reads the metrics with a value of one dimension.

    Attributes:
        function: `MAX`, `MIN` or `SUM`.
        namespace: The namespace of the metrics.
        metric: The name of the metrics.
        dimension: The name of the dimension; None if the query reads all metrics with the name.
        value: The value of the dimension.
    """

    function: str
    namespace: str
    metric: str
    dimension: str | None
    value: str | None

    @property
    def statistic(self) -> str:
        """Return the name of the function in CloudWatch's API, e.g. `Maximum`."""
        return _STATISTICS[self.function]

    def matches(self, dimensions: Mapping[str, str]) -> bool:
        """Return whether the query reads a metric with these dimensions."""
        return self.dimension is None or dimensions.get(self.dimension) == self.value

    def merge(self, values: Sequence[float]) -> float:
        """Return the value of the query for a period, from the values of its metrics. `values` is not empty."""
        match self.function:
            case "MAX":
                return max(values)
            case "MIN":
                return min(values)
        return sum(values)


def parse_query(expression: str) -> MetricsQuery | None:
    """Return the parts of a query, or None for a query of another form, or for metric math."""
    match = _QUERY.fullmatch(expression.strip())
    return MetricsQuery(**match.groupdict()) if match else None
