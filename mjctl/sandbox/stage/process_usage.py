"""Measures how much CPU and memory processes use."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class UsedResources:
    """Holds the use of resources by some processes since the last measurement.

    Attributes:
        cpus: The average number of CPUs that the processes have used.
        memory_bytes: The memory that the processes use now.
    """

    cpus: float
    memory_bytes: int


class ProcessUsage:
    """Compares the CPU times of groups of processes with the CPU times at the last measurement of each group."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, dict[int, float]]] = {}

    def measure(self, group: str, pids: Iterable[int]) -> UsedResources | None:
        """Return the use of resources by processes and their child processes, or None if no process runs.

        The first measurement of a group returns the average since the start of its processes.

        Args:
            group: A name of the processes, by which the object finds the last measurement.
            pids: The ids of the processes.
        """
        import psutil

        now, seconds, memory = time.time(), dict[int, float](), 0
        started = now
        for pid in pids:
            try:
                process = psutil.Process(pid)
                started = min(started, process.create_time())
                members = [process, *process.children(recursive=True)]
            except psutil.Error:
                continue
            for member in members:
                try:
                    times = member.cpu_times()
                    memory += member.memory_info().rss
                except psutil.Error:
                    continue
                seconds[member.pid] = times.user + times.system
        before = self._before.get(group, (started, {}))
        self._before[group] = (now, seconds)
        if not seconds:
            return None
        grown = sum(max(0.0, value - before[1].get(pid, 0.0)) for pid, value in seconds.items())
        return UsedResources(grown / max(now - before[0], 1e-3), memory)
