"""Stores the counts of the load balancers and firewalls, from which a module can publish CloudWatch's metrics."""

from __future__ import annotations

import threading

from mjctl.sandbox.stage.routes import ProxyReport


class TrafficCounts:
    """Holds the last report of the proxy. Several threads may call the methods at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report = ProxyReport()

    def set(self, report: ProxyReport) -> None:
        """Store the newest report."""
        with self._lock:
            self._report = report

    def latest(self) -> ProxyReport:
        """Return the newest report. The counts in a report begin at the start of the proxy."""
        with self._lock:
            return self._report
