"""Tests that the use of the CPU and memory is measured for real processes."""

from __future__ import annotations

import subprocess
import sys
import time

from mjctl.sandbox.stage.process_usage import ProcessUsage


def test_a_busy_process_uses_more_cpu_than_an_idle_process() -> None:
    programs = {"busy": "while True: pass", "idle": "import time; time.sleep(60)"}
    running = {name: subprocess.Popen([sys.executable, "-c", program]) for name, program in programs.items()}
    try:
        usage = ProcessUsage()
        time.sleep(0.2)
        first = usage.measure("busy", [running["busy"].pid])
        usage.measure("idle", [running["idle"].pid])
        time.sleep(0.5)
        used = {name: usage.measure(name, [process.pid]) for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    assert first is not None
    assert first.cpus > 0.05
    assert used["busy"] is not None
    assert used["idle"] is not None
    assert used["busy"].cpus > 0.05 > used["idle"].cpus
    assert used["idle"].memory_bytes > 2**20


def test_ended_processes_have_no_use() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    usage = ProcessUsage()
    assert [usage.measure("ended", [process.pid]) for _ in range(2)] == [None, None]
