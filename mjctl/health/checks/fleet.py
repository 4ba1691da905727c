"""Checks the supervisor, its processes, the game servers, the HTTP API and the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mjctl.clients.boto import unreachable
from mjctl.health.checks.http import look, why_not_ready
from mjctl.health.logs import log_command
from mjctl.health.model import (
    AWS_CHECK_SECONDS,
    Check,
    CheckFunction,
    Finding,
    RegionContext,
    failed,
    graded,
    passed,
    skipped,
    warned,
)
from mjctl.models.check import CheckStatus, Severity
from mjctl.models.contract import Contract, Process
from mjctl.models.drained import Drained
from mjctl.models.errors import UnreachableError

if TYPE_CHECKING:
    from mjctl.local.supervisor import Incident, ProcessInfo

# A request to the supervisor must time out before the check that sends the request, so that the report names the
# supervisor.
_SUPERVISOR_TIMEOUT_SECONDS = 2.5


NOT_SERVED = "nothing answers at the addresses of this region, because an emulated AWS runs no tasks and no Redis"
"""Why a check is skipped in a region whose contract has `endpoints.served` false."""


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check of the HTTP API, and checks of the supervisor, processes and game servers in the contract."""
    if contract.fleet.supervisor_socket:
        yield Check("supervisor", check_supervisor)
        for process in contract.fleet.processes:
            yield Check(f"process/{process.name}", _process(process))
    for server in contract.fleet.servers:
        yield Check(f"server/{server.id}", _server(server.id, server.ops_url))
    yield Check("api", check_api, 3.0 if contract.managed is None else AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    for process in contract.fleet.processes:
        if process.role == "worker":
            yield Check("worker", _worker(process))


async def check_supervisor(context: RegionContext) -> Finding:
    """Check that the supervisor answers and has all processes that the contract names."""
    processes = await _processes(context)
    missing = [item.name for item in context.contract.fleet.processes if item.name not in processes]
    if missing:
        return failed(
            f"the supervisor does not know these processes: {', '.join(missing)}",
            hint=_deploy_hint(context.contract),
            missing=missing,
        )
    return passed(f"{len(processes)} processes", processes=len(processes))


def _process(process: Process) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        info = (await _processes(context)).get(process.name)
        if info is None:
            return failed("the supervisor does not know this process", hint=_deploy_hint(context.contract))
        evidence: dict[str, object] = {"state": info.state, "pid": info.pid, "role": process.role}
        drained = (await _drains(context)).get(process.name)
        if drained is not None and info.state in ("STOPPING", "STOPPED"):
            return _out_of_service(context.contract, process.name, drained, evidence)
        incident = await _recent_incident(context, process.name)
        if incident is not None:
            evidence |= {"incident": incident.kind, "incident_pid": incident.pid}
            return failed(
                f"{incident.kind} {_seconds_since(incident.at):.0f} s ago (pid {incident.pid}), now {info.state}",
                hint="the supervisor has restarted the process, and the check of the process passes again in a few "
                "seconds. If the process ends again, the log of the process shows why it ended: "
                f"{log_command(context.contract, process.name)}",
                **evidence,
            )
        if info.state == "STARTING":
            return warned("the process is starting", hint="look again in a few seconds", **evidence)
        if info.state != "RUNNING":
            return failed(f"the process is {info.state}", hint=_deploy_hint(context.contract), **evidence)
        await _probe(context, process)
        return passed(f"running, pid {info.pid}, up {_uptime(info)}", **evidence)

    return check


def _server(server_id: str, ops_url: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        part = f"game server {server_id}"
        drained = (await _drains(context)).get(server_id)
        try:
            ready, status = await asyncio.gather(
                look(context, part, f"{ops_url}/readyz"), look(context, part, f"{ops_url}/status")
            )
        except UnreachableError:
            if drained is None:
                raise
            return _out_of_service(context.contract, server_id, drained, {})
        body = status.body if isinstance(status.body, dict) else {}
        if body.get("draining"):
            return warned(
                "the server drains and accepts no new match",
                hint="the server's matches move to other servers within seconds: look again; "
                f"{_restart(context.contract, server_id)}",
                **body,
            )
        if ready.status != 200:
            return failed(
                f"not ready: {why_not_ready(ready)}",
                hint="if the check `redis` fails, follow the advice of that check: the server then becomes ready "
                "automatically. If `redis` passes, the server's log shows why the server is not ready: "
                f"{log_command(context.contract, server_id)}",
                **body,
            )
        if waiting := int(body.get("matches_without_epoch") or 0):
            return failed(without_epoch(waiting), hint=EPOCH_HINT, **body)
        lateness, bounds = float(body.get("tick_lateness_p99_ms") or 0), context.thresholds
        grade = graded(lateness, warn=bounds.tick_lateness_ms_warn, fail=bounds.tick_lateness_ms_fail)
        return Finding(
            grade,
            f"{body.get('zone')}, {body.get('players')} players, {body.get('matches')} matches, "
            f"tick p99 {lateness:.1f} ms late",
            None
            if grade is CheckStatus.PASS
            else "the server is overloaded: stop other programs on its machine, or add servers: "
            "`mjctl servers scale N --env "
            f"{context.contract.environment} --region {context.contract.region}`",
            body,
        )

    return check


EPOCH_HINT = (
    "running matches continue. If the check `table/matches` fails, follow the advice of that check: the matches then "
    "start automatically. If `table/matches` passes, the line `epoch_unavailable` in the servers' log shows the cause"
)
"""The advice if DynamoDB gives no epochs."""


def without_epoch(matches: int) -> str:
    """Return a sentence about the matches that wait for DynamoDB."""
    counted = "1 match waits" if matches == 1 else f"{matches} matches wait"
    return f"{counted} to be started or taken over, because DynamoDB gives the new owner no epoch"


def _out_of_service(contract: Contract, server: str, drained: Drained, evidence: dict[str, object]) -> Finding:
    """Return a warning for a game server that an operator has drained, as a reminder to restart the server."""
    return warned(
        str(drained),
        hint=_restart(contract, server),
        **evidence,
        drained_by=drained.by,
        drained_at=drained.at,
        drained_message=drained.message,
    )


def _restart(contract: Contract, server: str) -> str:
    return (
        f"`mjctl servers restart {server} --env {contract.environment} --region {contract.region}` puts the server "
        "back into service"
    )


async def check_api(context: RegionContext) -> Finding:
    """Check that the HTTP API is ready to answer players' requests."""
    contract = context.contract
    if not contract.endpoints.served:
        return skipped(NOT_SERVED, url=contract.endpoints.api)
    if contract.managed is None:
        return await _ready(context, "the HTTP API", "api", contract.endpoints.api)
    # The HTTP API on AWS has no path /readyz. A request for the leaderboard needs no log-in, and uses the function
    # `api`, the cache, and the database if the cache has no leaderboard.
    url = f"{contract.endpoints.api}/v1/leaderboard?limit=1"
    headers = await context.operator_pass.headers()
    started = time.perf_counter()
    answer = await look(context, "the HTTP API", url, headers)
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    if answer.status != 200:
        return failed(
            f"the HTTP API answers with HTTP status {answer.status}",
            hint="if the check `function/api` or `database` fails, follow the advice of that check. If both "
            "checks pass, the log of the function `api` shows why the HTTP API is not ready: "
            f"{log_command(contract, 'api')}",
            url=url,
            answer=answer.body,
        )
    return passed(f"answers in {milliseconds:.0f} ms", url=url, milliseconds=milliseconds)


def _worker(process: Process) -> CheckFunction:
    parts = urlsplit(process.health)
    base = f"{parts.scheme}://{parts.netloc}"

    async def check(context: RegionContext) -> Finding:
        return await _ready(context, "the persistence worker", process.name, base)

    return check


async def _ready(context: RegionContext, part: str, name: str, base_url: str) -> Finding:
    started = time.perf_counter()
    answer = await look(context, part, f"{base_url}/readyz")
    milliseconds = (time.perf_counter() - started) * 1000
    if answer.status != 200:
        return failed(
            f"not ready: {why_not_ready(answer)}",
            hint=f"if the check of a dependency fails, follow the advice of that check: {part} then becomes ready "
            f"automatically. If the checks of all dependencies pass, the log of {part} shows why {part} is not ready: "
            f"{log_command(context.contract, name)}",
            url=f"{base_url}/readyz",
            answer=answer.body,
        )
    return passed(f"ready in {milliseconds:.0f} ms", url=base_url, milliseconds=round(milliseconds, 1))


async def _probe(context: RegionContext, process: Process) -> None:
    """Check a process as the watchdog does: the process must answer with HTTP status 200 or have an open TCP port.

    Raises:
        UnreachableError: the process does not answer, or is not ready.
    """
    target = urlsplit(process.health)
    if target.scheme == "tcp":
        try:
            _, writer = await asyncio.open_connection(target.hostname, target.port)
        except OSError as error:
            raise unreachable(context.contract, process.name, target.netloc, error) from error
        writer.close()
        return
    answer = await look(context, process.name, process.health)
    if answer.status != 200:
        raise unreachable(context.contract, process.name, process.health, RuntimeError(why_not_ready(answer)))


async def _processes(context: RegionContext) -> dict[str, ProcessInfo]:
    from mjctl.local.supervisor import SupervisorClient

    socket = Path(context.contract.fleet.supervisor_socket or "")

    async def query() -> dict[str, ProcessInfo]:
        client = SupervisorClient(socket, scope=context.contract.scope, timeout_seconds=_SUPERVISOR_TIMEOUT_SECONDS)
        return {item.name: item for item in await context.in_thread(client.processes)}

    return await context.shared("supervisor", query)


async def _drains(context: RegionContext) -> dict[str, Drained]:
    """Return the drains of the game servers by the name of the server; {} if no supervisor runs the servers."""
    from mjctl.local import drains

    run_dir = context.contract.fleet.run_dir
    if run_dir is None:
        return {}

    async def read() -> dict[str, Drained]:
        return await context.in_thread(lambda: drains.marks(Path(run_dir)))

    return await context.shared("drains", read)


async def _recent_incident(context: RegionContext, process: str) -> Incident | None:
    """Return the last unexpected end of `process` in the last `restart_window_seconds` seconds, or None."""
    from mjctl.local.supervisor import incidents

    run_dir = context.contract.fleet.run_dir
    if run_dir is None:
        return None

    async def read() -> list[Incident]:
        return await context.in_thread(lambda: incidents(Path(run_dir)))

    window = context.thresholds.restart_window_seconds
    all_incidents = await context.shared("incidents", read)
    recent = [item for item in all_incidents if item.process == process and _seconds_since(item.at) <= window]
    return recent[-1] if recent else None


def _deploy_hint(contract: Contract) -> str:
    return f"`mjctl deploy {contract.scope}` starts the process again"


def _seconds_since(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def _uptime(process: ProcessInfo) -> str:
    seconds = int(_seconds_since(process.started_at)) if process.started_at else 0
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
