"""Measures 20 health checks in each of 10 simulated regions, first normally, then with a region that hangs.

`make bench-health` runs the benchmark in about 40 s. All simulated regions are one region of the emulated AWS, behind a
proxy with the latency of a distant region. The benchmark runs the checks of `mjctl health` with boto3's clients. The
last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

CHECKS = (
    *("service", "zones", "scaling", "targets", "cache", "database", "database-secret", "table/matches"),
    *("queue/persistence", "dead-letters/persistence", "dead-letters/function-api", "topic/events", "function/api"),
    *("alarms", "alarm-topic", "identity", "key/data", "certificate", "firewall", "cdn"),
)


def serve(ports: Any, target: tuple[str, int], delay_seconds: float) -> None:
    """Run a TCP proxy that delays the data of clients by `delay_seconds`.

    A delay of 0 stands for a region that hangs: the proxy then forwards no data.
    """

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not delay_seconds:
            await reader.read()
            return
        answers, requests = await asyncio.open_connection(*target)
        await asyncio.gather(pipe(reader, requests, delay_seconds), pipe(answers, writer, 0))

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def proxy(url: str, delay_seconds: float) -> Iterator[str]:
    """Run a proxy in front of `url` in a separate process, and yield its address."""
    host, port = url.removeprefix("http://").split(":")
    ports, sender = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(sender, (host, int(port)), delay_seconds), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.recv()}"
    finally:
        process.kill()
        process.join()


def run(contracts: dict[str, Any], folder: Path) -> tuple[float, dict[tuple[int, str], float], Any]:
    """Run the checks, and return the total seconds, the seconds after which each result came, and the report."""
    from mjctl.health.runner import run_health

    started = time.perf_counter()
    came: dict[tuple[int, str], float] = {}

    def record(result: Any) -> None:
        came[len(came), result.name] = time.perf_counter() - started

    report = asyncio.run(
        run_health("bench", contracts, dict.fromkeys(contracts, folder), only=CHECKS, on_result=record)
    )
    return time.perf_counter() - started, came, report


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--latency-ms", type=float, default=80, help="milliseconds of a round trip to a region's AWS APIs"
    )
    options = parser.parse_args()

    from mjctl.sandbox.emulators import Emulators
    from tests.integration.mjctl import production

    delay = options.latency_ms / 1000
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        emulators = stack.enter_context(Emulators(folder))
        built = production.build(emulators).contract
        ministack, moto = (
            stack.enter_context(proxy(emulators.url(emulator), delay)) for emulator in ("ministack", "moto")
        )
        silent = stack.enter_context(proxy(emulators.url("moto"), 0))
        services = dict.fromkeys(built.aws.service_endpoint_urls, moto)

        def region(**hung: str) -> Any:
            access = {"endpoint_url": ministack, "service_endpoint_urls": services | hung}
            return built.model_copy(update={"aws": built.aws.model_copy(update=access)})

        contracts = {f"region-{number}": region() for number in range(options.regions)}
        run({"region-0": contracts["region-0"]}, folder)
        walls = [run(contracts, folder) for _ in range(options.rounds)]
        with_a_hang = [
            run(contracts | {"region-0": region(elastic_load_balancing_v2=silent)}, folder)
            for _ in range(options.rounds)
        ]
    findings = walls[-1][2]
    result = {
        "benchmark": "health",
        "regions": options.regions,
        "checks_per_region": len(CHECKS),
        "api_latency_ms": options.latency_ms,
        "wall_seconds": round(statistics.median(wall for wall, _, _ in walls), 2),
        "wall_seconds_each": [round(wall, 2) for wall, _, _ in walls],
        "failing": sorted({item.name for item in findings.results if item.status == "fail"}),
        "one_hanging": {
            "wall_seconds": round(statistics.median(wall for wall, _, _ in with_a_hang), 2),
            "all_others_done_after_seconds": round(
                statistics.median(sorted(came.values())[-2] for _, came, _ in with_a_hang), 2
            ),
            "hung_check_seconds": round(
                statistics.median(max(item.duration_seconds for item in report.results) for *_, report in with_a_hang),
                2,
            ),
        },
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
