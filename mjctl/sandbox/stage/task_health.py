"""Runs the health checks of task definitions in the containers of ECS tasks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mjctl.sandbox.stage.containers import Container

_PARALLEL_CHECKS = 4


@dataclass
class _Check:
    container: Container
    definition: Mapping[str, Any]
    started: float
    next_at: float
    status: str = "UNKNOWN"
    failures: int = 0
    running: Future[bool] | None = None


class ContainerHealth:
    """Stores the health of each running container that has a health check."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_PARALLEL_CHECKS, thread_name_prefix="stage-container-health")
        self._checks: dict[str, _Check] = {}

    def look(self, containers: Sequence[tuple[Container, Mapping[str, Any]]]) -> None:
        """Start the health checks that are due, and read the results of the finished health checks.

        Args:
            containers: All running containers, each with its definition in the task definition.
        """
        now = time.monotonic()
        for ended in self._checks.keys() - {container.id for container, _ in containers}:
            del self._checks[ended]
        for container, definition in containers:
            check_definition = definition.get("healthCheck") or {}
            if not _arguments(check_definition):
                continue
            check = self._checks.get(container.id)
            if check is None:
                first = now + float(check_definition.get("interval", 30))
                check = self._checks[container.id] = _Check(container, check_definition, now, first)
            self._advance(check, now)

    def status(self, container_id: str) -> str | None:
        """Return `HEALTHY`, `UNHEALTHY` or `UNKNOWN`, or None for a container without a health check."""
        check = self._checks.get(container_id)
        return check.status if check else None

    def close(self) -> None:
        """Start no further check."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _advance(self, check: _Check, now: float) -> None:
        definition = check.definition
        if check.running is not None and check.running.done():
            passed = check.running.exception() is None and check.running.result()
            check.running = None
            check.next_at = now + float(definition.get("interval", 30))
            # A failed check within the start period does not count, but a passed check makes the container healthy.
            if passed:
                check.status, check.failures = "HEALTHY", 0
            elif check.status == "HEALTHY" or now - check.started >= float(definition.get("startPeriod") or 0):
                check.failures += 1
                if check.failures >= int(definition.get("retries", 3)):
                    check.status = "UNHEALTHY"
        if check.running is None and now >= check.next_at:
            check.running = self._pool.submit(_passes, check.container, definition)


def _passes(container: Container, definition: Mapping[str, Any]) -> bool:
    try:
        done = container.exec_run(_arguments(definition), timeout=float(definition.get("timeout", 5)))
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.exit_code == 0


def _arguments(definition: Mapping[str, Any]) -> list[str]:
    kind, *arguments = [str(part) for part in definition.get("command") or ["NONE"]]
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", *arguments]
    return arguments if kind == "CMD" else []
