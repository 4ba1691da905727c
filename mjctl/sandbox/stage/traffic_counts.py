"""The counts of the load balancers and firewalls, from which CloudWatch's metrics can be published."""

from __future__ import annotations

import threading

from mjctl.sandbox.stage.routes import ProxyReport


class TrafficCounts:
    """Holds the last report of the proxy. All methods are safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report = ProxyReport()

    def set(self, report: ProxyReport) -> None:
        """Store the newest report."""
        with self._lock:
            self._report = report

    def latest(self) -> ProxyReport:
        """Return the newest report. Its counts begin at the start of the proxy."""
        with self._lock:
            return self._report
