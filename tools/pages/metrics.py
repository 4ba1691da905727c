"""Generates docs/metrics.md from the metrics that the programs define."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from gameserver.api import REQUESTS, SECONDS, _CacheCollector
from gameserver.cache import CacheCounters
from gameserver.persistence.metrics import EVENT_LAG, EVENTS
from gameserver.server.metrics import Collector, Gauges, Metrics
from gameserver.worker import BATCHES
from mjctl.health.model import HealthReport
from mjctl.health.prometheus import _metrics
from tools.pages.markdown import head, plain, table

_INTRODUCTION = """
Every program of a region serves its metrics in the Prometheus text format. Counters count since the start of the
process. A histogram has the suffixes `_bucket`, `_sum` and `_count`. A local region listens on 127.0.0.1 only, and
`ports.json` of the region has the ports ([A local region](local.md)). On AWS only the load balancer's health check can
reach the operations port of a game server from outside the task. On AWS, use CloudWatch's metrics, which the page
[Alarms](alarms.md) lists.
"""
_GAME_SERVER = """
`GET /metrics` on the operations port of a game server (`game-ZONE-NUMBER-ops` in `ports.json`). The process's memory,
CPU and file descriptors follow as `process_*`.
"""
_HEALTH = """
`mjctl health --output prometheus` prints the result of all checks in the same format. Write it into a file for the
text file collector of the node exporter, or send the output to a push gateway. A failed check that players notice is
`mjctl_health_check_status{severity="critical"} == 2`.
"""


def page() -> str:
    """Return the whole page."""
    nothing = Gauges(0, 0, 0, 0, 0, 0.0, 0, 0)
    report = HealthReport(environment="", started_at="1970-01-01T00:00:00+00:00", duration_seconds=0.0, results=())
    sections = (
        ("The game server", _GAME_SERVER, _rows(Collector(Metrics(), nothing))),
        (
            "The API",
            "`GET /metrics` on the port of the API.",
            _rows(REQUESTS, SECONDS, _CacheCollector(CacheCounters())),
        ),
        ("The worker", "`GET /metrics` on the port of the worker.", _rows(BATCHES, EVENTS, EVENT_LAG)),
        ("The health report", _HEALTH, [_row(metric) for metric in _metrics(report)]),
    )
    return "\n".join([head("Metrics", _INTRODUCTION), *(_section(*section) for section in sections)])


def _section(title: str, text: str, rows: Iterable[Sequence[str]]) -> str:
    return f"## {title}\n\n{text.strip()}\n\n{table(('metric', 'type', 'labels', 'meaning'), rows)}"


def _rows(*collectors: Any) -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric.

    `collectors` may contain metrics of prometheus_client and collectors of this project.
    """
    for collector in collectors:
        if isinstance(collector, MetricWrapperBase):
            yield from (_row(metric, collector._labelnames) for metric in collector.describe())
        else:
            yield from (_row(metric) for metric in collector.collect())


def _row(metric: Metric, labels: Iterable[str] = ()) -> tuple[str, ...]:
    names = [*labels, *getattr(metric, "_labelnames", ())]
    suffix = "_total" if metric.type == "counter" else ""
    return (
        f"`{metric.name}{suffix}`",
        metric.type,
        ", ".join(f"`{name}`" for name in names),
        plain(metric.documentation),
    )
