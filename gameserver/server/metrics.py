"""Counters of one game server. Ticks and messages add to plain integers, which a scrape by Prometheus reads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

_SAMPLES = 4000


@dataclass
class Gauges:
    """Holds the momentary values of a scrape, which come in addition to the counters of `Metrics`.

    Attributes:
        players: players who are connected to a seat.
        connections: open WebSocket connections.
        matches: matches that this server owns.
        matches_without_epoch: matches of which DynamoDB has lately given this server no epoch.
        event_backlog: stored events that SNS has not accepted yet.
        event_lag_seconds: longest time for which SNS has accepted no event of a match with unpublished events.
        events_published: events that SNS has accepted since the start.
        publish_failures: calls to SNS that failed since the start.
    """

    players: int
    connections: int
    matches: int
    matches_without_epoch: int
    event_backlog: int
    event_lag_seconds: float
    events_published: int
    publish_failures: int


@dataclass
class Metrics:
    """Counts events since the server's start, and keeps recent samples of the delays of ticks and inputs.

    `_COUNTERS` below describes each counter.

    Attributes:
        lateness: seconds by which recent ticks started after their deadline.
        input_to_state: upper bound, in seconds, of the time between an input's arrival and the frame that shows it. The
            measurement of an input begins at the read of the client's socket before the input arrived, and covers about
            one input in 60.
    """

    started_at: float = field(default_factory=time.monotonic)
    frames_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    inputs: int = 0
    inputs_dropped: int = 0
    frames_skipped: int = 0
    clients_dropped: int = 0
    unjoined_closed: int = 0
    protocol_errors: int = 0
    chat_lines: int = 0
    chat_unsaid: int = 0
    joins: int = 0
    resumes: int = 0
    refusals: int = 0
    redirects: int = 0
    relays: int = 0
    ticks: int = 0
    ticks_missed: int = 0
    matches_adopted: int = 0
    matches_handed_over: int = 0
    matches_fenced: int = 0
    epochs_unavailable: int = 0
    matches_ended: int = 0
    matches_failed: int = 0
    commits: int = 0
    commit_failures: int = 0
    commit_seconds: float = 0.0
    lateness: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    input_to_state: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    @property
    def uptime_seconds(self) -> float:
        """Return the seconds since this object was created at the server's start."""
        return time.monotonic() - self.started_at

    def lateness_ms(self, quantile: float) -> float:
        """Return a quantile (0 to 1) of the recent ticks' lateness, in milliseconds."""
        return _quantile(self.lateness, quantile) * 1000


def _quantile(samples: Iterable[float], quantile: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] if ordered else 0.0


_COUNTERS = {
    "frames_sent": "Frames sent to players",
    "bytes_sent": "Payload bytes sent to players",
    "bytes_received": "Payload bytes of players' messages",
    "inputs": "Inputs accepted from players",
    "inputs_dropped": "Inputs dropped because a player sent too many",
    "frames_skipped": "Frames not sent because a client's buffer was full",
    "clients_dropped": "Clients disconnected for being too slow or sending too much",
    "unjoined_closed": "Connections closed before they joined, because there were too many of them",
    "protocol_errors": "Malformed messages",
    "chat_lines": "Chat lines sent to the players of a match",
    "chat_unsaid": "Chat lines rejected: too many, empty, or the encryption key was unavailable",
    "joins": "Seats given to new players",
    "resumes": "Players who came back to their seat",
    "refusals": "Connections refused",
    "redirects": "Clients sent to another server",
    "relays": "Clients whose messages this server relays to another server",
    "ticks": "Rounds of ticks that ran, on time or late",
    "ticks_missed": "Rounds of ticks skipped because the server was too late",
    "matches_adopted": "Matches started here or taken over from another server",
    "matches_handed_over": "Matches handed over to another server as planned",
    "matches_fenced": "Matches that another server has taken over from this server",
    "epochs_unavailable": "Matches not started or taken over because DynamoDB gave no epoch",
    "matches_ended": "Matches ended here",
    "matches_failed": "Matches ended by a fault in their rules",
    "commits": "Writes of a match's events and snapshot to Redis",
    "commit_failures": "Writes to Redis that failed",
    "commit_seconds": "Seconds spent waiting for writes to Redis",
}


class Collector:
    """Turns the counters and gauges of a game server into metrics for a Prometheus registry."""

    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its current value, as prometheus_client calls it for a scrape."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"gameserver_{name}", text, value=getattr(self._metrics, name))
        gauges = self._gauges
        yield GaugeMetricFamily("gameserver_players", "Players connected to a seat", value=gauges.players)
        yield GaugeMetricFamily("gameserver_connections", "Open WebSocket connections", value=gauges.connections)
        yield GaugeMetricFamily("gameserver_matches", "Matches owned", value=gauges.matches)
        yield GaugeMetricFamily(
            "gameserver_matches_without_epoch",
            "Matches that wait to be started or taken over, because DynamoDB gives no epoch",
            value=gauges.matches_without_epoch,
        )
        yield GaugeMetricFamily("gameserver_event_backlog", "Events waiting for SNS", value=gauges.event_backlog)
        yield GaugeMetricFamily(
            "gameserver_event_lag_seconds",
            "Longest time for which SNS has accepted no event of a match with waiting events",
            value=gauges.event_lag_seconds,
        )
        yield CounterMetricFamily(
            "gameserver_events_published", "Events that SNS accepted", value=gauges.events_published
        )
        yield CounterMetricFamily(
            "gameserver_publish_failures", "Calls to SNS that failed", value=gauges.publish_failures
        )
        metrics = self._metrics
        yield _quantiles("gameserver_tick_lateness_seconds", "Delay of recent ticks", metrics.lateness)
        yield _quantiles(
            "gameserver_input_to_state_seconds",
            "Longest possible time between an input's arrival and the frame that shows it",
            metrics.input_to_state,
        )


def _quantiles(name: str, text: str, samples: Iterable[float]) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=["quantile"])
    for quantile in (0.5, 0.99, 1.0):
        family.add_metric([str(quantile)], _quantile(samples, quantile))
    return family


def render(metrics: Metrics, gauges: Gauges) -> bytes:
    """Return the answer to one scrape in Prometheus's text format.

    The metrics include memory, CPU and file descriptors of the process.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(metrics, gauges))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
