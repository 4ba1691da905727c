"""Renders a health report in the text format of Prometheus, for node_exporter's textfile collector or a push gateway.

The alert rule `mjctl_health_check_status > 1` reports each failed check. In an alert rule, the
label `{severity="critical"}` selects the failures that players notice, for which the on-call engineer should be paged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mjctl.health.model import HealthReport, worst
from mjctl.models.check import CheckResult, CheckStatus

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_VALUES = {CheckStatus.SKIP: -1, CheckStatus.PASS: 0, CheckStatus.WARN: 1, CheckStatus.FAIL: 2}
_MEANING = "-1 not checked, 0 pass, 1 warn, 2 fail"


def render(report: HealthReport) -> str:
    """Return a health report in Prometheus' text exposition format."""
    from prometheus_client import CollectorRegistry, generate_latest

    class ReportCollector:
        def collect(self) -> Iterable[Metric]:
            return _metrics(report)

    registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
    registry.register(ReportCollector())
    return generate_latest(registry).decode()


def _metrics(report: HealthReport) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    labels = ["environment", "region", "check"]
    status = GaugeMetricFamily(
        "mjctl_health_check_status", f"Status of a check: {_MEANING}", labels=[*labels, "severity"]
    )
    seconds = GaugeMetricFamily("mjctl_health_check_duration_seconds", "Duration of a check", labels=labels)
    figure = GaugeMetricFamily("mjctl_health_figure", "A number that a check measured", labels=[*labels, "figure"])
    for item in report.results:
        values = [report.environment, item.region, item.name]
        status.add_metric([*values, item.severity.value], _VALUES[item.status])
        seconds.add_metric(values, item.duration_seconds)
        for name, value in _figures(item):
            figure.add_metric([*values, name], value)
    region = GaugeMetricFamily(
        "mjctl_health_region_status", f"Worst status of a region's checks: {_MEANING}", labels=labels[:2]
    )
    for name in report.regions:
        worst_status = worst(item.status for item in report.results if item.region == name)
        region.add_metric([report.environment, name], _VALUES[worst_status])
    started = GaugeMetricFamily(
        "mjctl_health_started_timestamp_seconds", "Start of the health run, Unix time", labels=labels[:1]
    )
    started.add_metric([report.environment], datetime.fromisoformat(report.started_at).timestamp())
    duration = GaugeMetricFamily("mjctl_health_duration_seconds", "Duration of the health run", labels=labels[:1])
    duration.add_metric([report.environment], report.duration_seconds)
    yield from (status, seconds, figure, region, started, duration)


def _figures(item: CheckResult) -> Iterator[tuple[str, float]]:
    for name, value in item.evidence.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
