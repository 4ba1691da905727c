"""Running the checks of all regions at the same time, each bounded by its own timeout."""

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

# An AWS call must give up before the check that made it, so that the report names the API and not just "timeout".
_AWS_TIMEOUT_SECONDS = 2.5
# Of one region. A check's time runs from its start: with more of them at once than the processor can serve they would
# fail by each other. And a region whose parts hang must not take the others' turns.
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
    """Look at every part of every region.

    Args:
        only: globs over check names (`table/*`).
        on_result: is called with each result as it comes.
        known: results that the caller has already, e.g. of a region that is half made. They come first.

    Raises:
        NotFoundError: a glob of `only` fits no check.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    started = time.perf_counter()
    _import_what_checks_use()
    chosen = {region: select(checks_for(contract), only) for region, contract in contracts.items()}
    known = [result for result in known if fits(result.name, only)]
    if only and not any(chosen.values()) and not known:
        names = sorted({check.name for contract in contracts.values() for check in checks_for(contract)})
        raise NotFoundError(f"no check is named {', '.join(only)}", hint=f"checks here: {', '.join(names)}")
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


def _import_what_checks_use() -> None:
    """Import before the first check starts: inside one it would stop the event loop, and count as others' latency."""
    import aiohttp
    import asyncpg
    import boto3
    import redis.asyncio

    import gameserver.client

    del aiohttp, asyncpg, boto3, redis, gameserver


def select(checks: Sequence[Check], only: Sequence[str]) -> list[Check]:
    """The checks whose name, or kind (the part before the slash), fits one of the globs; all when there is no glob."""
    return [check for check in checks if fits(check.name, only)]


def fits(name: str, only: Sequence[str]) -> bool:
    """Whether a check's name, or its kind, fits one of the globs; True when there is no glob."""
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

        async def one(check: Check) -> CheckResult:
            async with gate:
                result = await run_check(check, context)
            if on_result is not None:
                on_result(result)
            return result

        return list(await asyncio.gather(*(one(check) for check in checks)))


def _clients(contract: Contract) -> RegionClients:
    """Clients that give up before a check does, but not because of one connection that was reset."""
    return RegionClients(contract, timeout_seconds=_AWS_TIMEOUT_SECONDS, attempts=1, repeat_closed=True)


async def run_check(check: Check, context: RegionContext) -> CheckResult:
    """Run one check; whatever goes wrong in it becomes a failing result."""
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
        # One faulty check must not take the other findings with it.
        finding = failed(
            f"the check itself failed: {type(error).__name__}: {error}",
            hint="please report this with the command's output",
            error=type(error).__name__,
        )
    return _result(check, context.contract.region, finding, time.perf_counter() - started)


def _as_finding(error: MjctlError, contract: Contract, scope: str) -> Finding:
    """The report already names environment and region; and "see `mjctl health`" is no advice inside of it."""
    place = (error.where or "").removeprefix(f"{contract.environment}, {contract.region}").removeprefix(", ")
    hint = error.hint
    if isinstance(error, ThrottledError):
        # Neither well nor broken: it was not looked at.
        finding = warned(f"not looked at: {error.what}", hint=hint or "look again in a minute")
        return replace(finding, throttled=True)
    if hint is None or "mjctl health" in hint:
        hint = f"`mjctl deploy {scope}` brings back a part that has stopped; the logs say why it has: {_logs(contract)}"
    return failed(f"{error.what} ({place})" if place else error.what, hint=hint)


def _patience(contract: Contract) -> str:
    """What to do about a part that does not answer in time: it may hang, or the machine may be busy."""
    if contract.target != "local":
        return f"it hangs or is overloaded: look again in a minute; logs: {_logs(contract)}"
    return (
        "it hangs or is overloaded: look again in a minute, as the region's watchdog restarts a process that hangs (a "
        f"data store after 30 s); logs: {_logs(contract)}"
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
