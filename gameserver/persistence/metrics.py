"""Defines the metrics of the worker for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

EVENTS = Counter(
    "gameserver_persistence_events_total",
    "Deliveries of key events by outcome: done, failed (will be delivered again), void, reused (another event has the "
    "id) or poison",
    ("type", "outcome"),
)
EVENT_LAG = Histogram(
    "gameserver_persistence_event_lag_seconds",
    "From the event in the game to its effect in both stores",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
