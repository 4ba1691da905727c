"""Starts processes on cores, and reads their use of CPU and memory from Linux's /proc."""

from __future__ import annotations

import os
import platform
import resource
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_SECONDS = 30.0


def on_core(command: Sequence[str | Path], core: int, nice: int = 0) -> list[str]:
    """Return the command that runs `command` on a single core.

    The process keeps its id, because taskset replaces itself by `command` (exec).
    """
    return ["taskset", "--cpu-list", str(core), "nice", "-n", str(nice), *map(str, command)]


def start(
    command: Sequence[str | Path], *, core: int, log: Path, environment: Mapping[str, str] | None = None, nice: int = 0
) -> subprocess.Popen[bytes]:
    """Start a process on one core, with its output in `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            on_core(command, core, nice),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it has not ended after 10 s."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a TCP port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a process listens on `port`.

    Raises:
        RuntimeError: the process does not listen in time. The message contains the end of the process's log.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds (user and system) that all threads of a process have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def busy_seconds(core: int) -> float:
    """Return the seconds that a CPU core has worked since boot, with interrupts and time stolen by the hypervisor."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def raise_file_limit() -> None:
    """Raise the limit of open files of this process and its children to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe() -> dict[str, str]:
    """Return the processor, the number of cores and the kernel of this machine."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
    }
