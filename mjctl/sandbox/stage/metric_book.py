"""Collects the values of CloudWatch's metrics until the part `MetricPublisher` publishes them, once a minute."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricName:
    """Identifies a metric of CloudWatch.

    Attributes:
        region: The region in which the metric is published.
        namespace: The namespace, e.g. `AWS/SQS`.
        name: The name, e.g. `ApproximateAgeOfOldestMessage`.
        dimensions: The names and values of the dimensions.
        unit: The unit as `PutMetricData` names it.
    """

    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()
    unit: str = "Count"


@dataclass
class StatisticSet:
    """Holds a summary of the values of a metric in one minute, as `StatisticSet` of CloudWatch's API does.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_StatisticSet.html

    Attributes:
        count: The number of the values.
        total: The sum of the values.
        lowest: The lowest value.
        highest: The highest value.
    """

    count: float
    total: float
    lowest: float
    highest: float

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.total += value
        self.lowest, self.highest = min(self.lowest, value), max(self.highest, value)


class MetricBook:
    """Holds the values of the present minute. Several threads may call the methods at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sets: dict[MetricName, StatisticSet] = {}

    def record(self, metric: MetricName, value: float) -> None:
        """Add a value of a metric."""
        with self._lock:
            known = self._sets.get(metric)
            if known is None:
                self._sets[metric] = StatisticSet(1, value, value, value)
            else:
                known.add(value)

    def take(self) -> dict[MetricName, StatisticSet]:
        """Return the values since the last call of `take`, and forget them."""
        with self._lock:
            taken, self._sets = self._sets, {}
        return taken


class Differences:
    """Turns counts since the start of a process into counts since the last look.

    The stage starts its processes, so a count that the stage sees for the first time has begun since the last look.
    """

    def __init__(self) -> None:
        self._before: dict[object, float] = {}

    def since_last(self, key: object, total: float) -> float:
        """Return by how much a count has grown since the last call with the same key.

        A count that has become smaller has begun at 0 again, because its process has started again.
        """
        before = self._before.get(key, 0.0)
        self._before[key] = total
        return total - before if total >= before else total
