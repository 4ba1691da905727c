"""Runs the health checks of all regions at the same time. Each check has its own time limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from mjctl.clients.boto import RegionClients, ThrottledError
from mjctl.clients.tls import private_context
from mjctl.health.logs import log_command
from mjctl.health.model import Check, Finding, HealthReport, RegionContext, Thresholds, failed, warned
from mjctl.health.registry import checks_for
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError

# A call to AWS must time out before the check that makes the call, so that the report names the API of AWS and not just
# "timeout".
_AWS_TIMEOUT_SECONDS = 2.5
# Maximum number of concurrent checks in each region. The time limit of a check includes the time in which other checks
# use the processor, so too many concurrent checks would let each other time out. Each region has its own
# maximum of concurrent checks, so that a region that hangs does not delay the checks of other regions.
_CHECKS_AT_A_TIME = 16


async def run_health(
    environment: str,
    contracts: Mapping[str, Contract],
    private_dirs: Mapping[str, Path],
    *,
    only: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
    known: Sequence[CheckResult] = (),
) -> HealthReport:
    """Run the checks of all regions.

    Args:
        environment: name of the environment.
        contracts: name of a region -> contract of the region.
        private_dirs: name of a region -> folder (mode 0700) for the accounts of the region's probe players.
        only: globs over names or kinds of checks, for example `table/*`; all checks if empty.
        thresholds: the values from which on a measurement warns or fails; None for the defaults.
        on_result: receives the result of each check when the check ends.
        known: results that the caller has already, e.g. of a partly deployed region, with which the report begins.

    Raises:
        NotFoundError: none of the globs in `only` matches a check.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    started = time.perf_counter()
    _import_libraries()
    chosen = {region: select(checks_for(contract), only) for region, contract in contracts.items()}
    known = [result for result in known if fits(result.name, only)]
    if only and not any(chosen.values()) and not known:
        names = sorted({check.name for contract in contracts.values() for check in checks_for(contract)})
        raise NotFoundError(
            f"no check has the name {', '.join(only)}", hint=f"the checks of the regions: {', '.join(names)}"
        )
    results = await asyncio.gather(
        *(
            _run_region(contracts[region], checks, private_dirs[region], thresholds or Thresholds(), on_result)
            for region, checks in chosen.items()
        )
    )
    return HealthReport(
        environment=environment,
        started_at=started_at,
        duration_seconds=time.perf_counter() - started,
        results=(*known, *(result for region in results for result in region)),
    )


def _import_libraries() -> None:
    """Import the libraries that the checks use, before the first check starts.

    An import blocks the event loop, so an import during a check would count as latency of the other checks.
    """
    import aiohttp
    import asyncpg
    import boto3
    import redis.asyncio

    import gameserver.client

    del aiohttp, asyncpg, boto3, redis, gameserver


def select(checks: Sequence[Check], only: Sequence[str]) -> list[Check]:
    """Return the checks whose names fit the globs in `only`, as the function `fits` decides."""
    return [check for check in checks if fits(check.name, only)]


def fits(name: str, only: Sequence[str]) -> bool:
    """Return True if a check's name or kind (the part before the slash) matches a glob, or if there are no globs."""
    kind = name.split("/", 1)[0]
    return not only or any(fnmatchcase(name, glob) or fnmatchcase(kind, glob) for glob in only)


async def _run_region(
    contract: Contract,
    checks: Sequence[Check],
    private_dir: Path,
    thresholds: Thresholds,
    on_result: Callable[[CheckResult], None] | None,
) -> list[CheckResult]:
    import aiohttp

    async with AsyncExitStack() as stack:
        clients = stack.enter_context(_clients(contract))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=private_context(contract) or True),
                headers={"User-Agent": "mjctl-health"},
            )
        )
        context = RegionContext(contract, clients, http, thresholds, private_dir)
        stack.push_async_callback(context.close)
        gate = asyncio.Semaphore(_CHECKS_AT_A_TIME)

        async def run(check: Check) -> CheckResult:
            async with gate:
                result = await run_check(check, context)
            if on_result is not None:
                on_result(result)
            return result

        return list(await asyncio.gather(*(run(check) for check in checks)))


def _clients(contract: Contract) -> RegionClients:
    """Open clients for AWS that time out before a check does, and that repeat a call whose connection was closed."""
    return RegionClients(contract, timeout_seconds=_AWS_TIMEOUT_SECONDS, attempts=1, repeat_closed=True)


async def run_check(check: Check, context: RegionContext) -> CheckResult:
    """Run one check. An error of the check becomes a failed result, or a warning if AWS throttled the check."""
    started = time.perf_counter()
    scope = f"--env {context.contract.environment} --region {context.contract.region}"
    try:
        async with asyncio.timeout(check.timeout_seconds):
            finding = await check.run(context)
    except TimeoutError:
        finding = failed(
            f"no answer within {check.timeout_seconds:g} s",
            hint=_patience(context.contract),
        )
    except MjctlError as error:
        finding = _as_finding(error, context.contract, scope)
    except Exception as error:
        # A bug in one check must not hide the findings of the other checks.
        finding = failed(
            f"the check itself failed: {type(error).__name__}: {error}",
            hint="the check failed because of a bug in mjctl: please report the bug with the output of this command",
            error=type(error).__name__,
        )
    return _result(check, context.contract.region, finding, time.perf_counter() - started)


def _as_finding(error: MjctlError, contract: Contract, scope: str) -> Finding:
    """Turn an error into a finding of the health report.

    The health report names the environment and the region, so the finding does not repeat these names. Advice to run
    `mjctl health` is replaced, because the operator is already reading the report of `mjctl health`.
    """
    place = (error.where or "").removeprefix(f"{contract.environment}, {contract.region}").removeprefix(", ")
    hint = error.hint
    if isinstance(error, ThrottledError):
        # AWS throttled the check, so it does not show whether the checked part is healthy or broken.
        finding = warned(f"not checked: {error.what}", hint=hint or "look again in a minute")
        return replace(finding, throttled=True)
    if hint is None or "mjctl health" in hint:
        hint = f"`mjctl deploy {scope}` starts a part that has stopped; the logs show why it stopped: {_logs(contract)}"
    return failed(f"{error.what} ({place})" if place else error.what, hint=hint)


def _patience(contract: Contract) -> str:
    """Return advice for a part that does not answer in time: the part may hang, or the machine may be overloaded."""
    if contract.target != "local":
        return f"this part hangs or is overloaded: look again in a minute. Logs: {_logs(contract)}"
    return (
        "this part hangs or is overloaded: look again in a minute. The region's watchdog restarts a process that hangs "
        f"(a data store after 30 s). Logs: {_logs(contract)}"
    )


def _logs(contract: Contract) -> str:
    if contract.fleet.run_dir is not None:
        return str(Path(contract.fleet.run_dir).parent / "logs")
    return log_command(contract, "game")


def _result(check: Check, region: str, finding: Finding, seconds: float) -> CheckResult:
    return CheckResult(
        name=check.name,
        region=region,
        status=finding.status,
        summary=finding.summary,
        hint=finding.hint,
        duration_seconds=seconds,
        evidence=finding.evidence,
        severity=check.severity,
        throttled=finding.throttled,
    )
