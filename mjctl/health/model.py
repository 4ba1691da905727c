"""Defines health checks: their context, their findings, the thresholds of measurements and the report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mjctl.clients.boto import RegionClients
from mjctl.clients.operator_pass import OperatorPass
from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.contract import Contract
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

AWS_CHECK_SECONDS = 5.0
"""Time limit of a check that makes several calls to AWS, perhaps on another continent. A call has a shorter limit."""

INVOKE_SECONDS = 10.0
"""Time limit of a check that invokes the ops function, including a cold start inside a VPC, which takes seconds."""


@dataclass(frozen=True)
class Thresholds:
    """Holds the values from which on a measurement makes a check warn (`..._warn`) or fail (`..._fail`).

    The option `--threshold NAME=VALUE` changes a threshold. The name of a threshold contains the threshold's unit.
    """

    queue_depth_warn: float = 1_000
    queue_depth_fail: float = 10_000
    queue_age_seconds_warn: float = 30
    queue_age_seconds_fail: float = 300
    dead_letters_fail: float = 1
    cache_memory_percent_warn: float = 75
    cache_memory_percent_fail: float = 90
    cache_evictions_warn: float = 1
    tick_lateness_ms_warn: float = 25
    tick_lateness_ms_fail: float = 500
    database_connections_percent_warn: float = 80
    database_connections_percent_fail: float = 95
    cache_lag_seconds_warn: float = 5
    replica_lag_ms_warn: float = 1_000
    replica_lag_ms_fail: float = 10_000
    region_lag_ms_warn: float = 5_000
    region_lag_ms_fail: float = 60_000
    certificate_days_warn: float = 30
    certificate_days_fail: float = 7
    rollout_seconds_fail: float = 1_800
    backup_age_seconds_warn: float = 86_400
    backup_age_seconds_fail: float = 2 * 86_400
    restart_window_seconds: float = 5
    """A process fails its check if it ended unexpectedly within this time, although the supervisor has restarted it."""

    @classmethod
    def promising(cls, recovery_point_seconds: float) -> Thresholds:
        """Return the default thresholds with the environment's recovery point objective.

        Args:
            recovery_point_seconds: the age of the newest backup from which on the check `backup` warns; it fails from
                twice this age on.
        """
        return cls(backup_age_seconds_warn=recovery_point_seconds, backup_age_seconds_fail=2 * recovery_point_seconds)

    def with_overrides(self, settings: Iterable[str]) -> Thresholds:
        """Return a copy of the thresholds with the values in `settings`.

        Args:
            settings: pairs `NAME=VALUE`.

        Raises:
            UsageError: a setting names an unknown threshold, or its value is not a number.
        """
        names = {item.name for item in fields(self)}
        changes: dict[str, float] = {}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in names:
                raise UsageError(f"no threshold `{name}`", hint=f"thresholds: {', '.join(sorted(names))}")
            try:
                changes[name] = float(value)
            except ValueError:
                raise UsageError(
                    f"`{value}` is not a number, as the threshold `{name}` must be",
                    hint=f"write for example `--threshold {name}=10`",
                ) from None
        return replace(self, **changes)


@dataclass(frozen=True)
class Finding:
    """Describes the outcome of one health check, without the check's name, region and duration, which the runner adds.

    Attributes:
        status: pass, warn, fail or skip.
        summary: what the check measured, in one line.
        hint: what an operator should do; None for a check that passed.
        evidence: the measurements, as values for JSON.
        throttled: whether AWS throttled the check, which therefore says nothing about the checked part.
    """

    status: CheckStatus
    summary: str
    hint: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    throttled: bool = False


def passed(summary: str, **evidence: object) -> Finding:
    """Return a finding for a part that works."""
    return Finding(CheckStatus.PASS, summary, evidence=evidence)


def warned(summary: str, hint: str, **evidence: object) -> Finding:
    """Return a finding for a part that works but needs attention, with a hint that says what the operator should do."""
    return Finding(CheckStatus.WARN, summary, hint, evidence)


def failed(summary: str, hint: str, **evidence: object) -> Finding:
    """Return a finding for a part that does not work, with a hint that says what the operator should do."""
    return Finding(CheckStatus.FAIL, summary, hint, evidence)


def skipped(reason: str, **evidence: object) -> Finding:
    """Return a finding for a part that was not checked. A skipped check never counts as passed."""
    return Finding(CheckStatus.SKIP, reason, evidence=evidence)


def graded(value: float, *, warn: float, fail: float) -> CheckStatus:
    """Return the status of a measurement for which larger values are worse.

    Args:
        warn: the smallest value with the status WARN.
        fail: the smallest value with the status FAIL.
    """
    if value >= fail:
        return CheckStatus.FAIL
    return CheckStatus.WARN if value >= warn else CheckStatus.PASS


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """Return the first status of FAIL, WARN, PASS, SKIP that is in `statuses`, or PASS if there are no statuses."""
    order = (CheckStatus.SKIP, CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL)
    return max(statuses, key=order.index, default=CheckStatus.PASS)


class RegionContext:
    """Holds the contract, the clients and the thresholds that all checks of one region share.

    Attributes:
        contract: the region's contract.
        clients: boto3 clients for AWS with short time limits.
        http: the HTTP session for the requests of the checks.
        thresholds: the values from which on a measurement warns or fails.
        private_dir: folder (mode 0700) with the accounts of the probe players (files of mode 0600).
        operator_pass: the operator's pass for the region's API, which the requests of all checks share.
        stack: the exit stack, which closes the objects of the checks at the end of the run, e.g. the probe players'
            clients.
    """

    def __init__(
        self,
        contract: Contract,
        clients: RegionClients,
        http: aiohttp.ClientSession,
        thresholds: Thresholds,
        private_dir: Path,
    ) -> None:
        self.contract = contract
        self.clients = clients
        self.http = http
        self.thresholds = thresholds
        self.private_dir = private_dir
        self.operator_pass = OperatorPass(contract, clients)
        self.stack = AsyncExitStack()
        self._shared: dict[str, asyncio.Future[Any]] = {}
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"health-{contract.region}")

    async def shared(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value of `make()`, which a run of `mjctl health` computes once for all checks with the same `key`.

        The time limit of a check does not stop `make`, because other checks may wait for the same value.
        """
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(make())
        value: T = await asyncio.shield(self._shared[key])
        return value

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on a thread that only this region uses, so that a hanging region cannot block others."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """Cancel the shared computations, and close the clients that the checks have opened."""
        pending = [future for future in self._shared.values() if not future.done()]
        for future in pending:
            future.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)
        await self.stack.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)


CheckFunction = Callable[[RegionContext], Awaitable[Finding]]


@dataclass(frozen=True)
class Check:
    """Describes a check of one part of a region.

    Attributes:
        name: `<kind>` or `<kind>/<part>`, for example `redis` or `table/matches`.
        run: performs the check.
        timeout_seconds: time limit; a check that takes longer fails.
        severity: how bad a failure of the check is for players and operators.
    """

    name: str
    run: CheckFunction
    timeout_seconds: float = 3.0
    severity: Severity = Severity.MAJOR


@dataclass(frozen=True)
class HealthReport:
    """Holds the results of all checks in one run of `mjctl health`.

    Attributes:
        environment: name of the environment.
        started_at: time at which the run started, in ISO 8601, UTC.
        duration_seconds: duration of the run in seconds.
        results: the results that were known before the run, then the results of each region, in the order of
            `mjctl.health.registry`.
    """

    environment: str
    started_at: str
    duration_seconds: float
    results: tuple[CheckResult, ...]

    @property
    def status(self) -> CheckStatus:
        """Return the worst status of all results, in the order of the function `worst`."""
        return worst(result.status for result in self.results)

    def count(self, status: CheckStatus, region: str | None = None) -> int:
        """Return the number of results with the status `status` in the region `region`, or in all regions for None."""
        return sum(1 for item in self.results if item.status is status and region in (None, item.region))

    @property
    def regions(self) -> tuple[str, ...]:
        """Return the regions that have results, in the order of the results."""
        return tuple(dict.fromkeys(result.region for result in self.results))

    @property
    def unobserved(self) -> tuple[str, ...]:
        """Return the regions whose health is unknown, because all checks were skipped or throttled."""
        observed = {result.region for result in self.results if result.observed}
        return tuple(region for region in self.regions if region not in observed)

    @property
    def healthy(self) -> bool:
        """Return True if no check failed, and in each region at least one check was neither skipped nor throttled."""
        return bool(self.results) and not self.unobserved and self.status is not CheckStatus.FAIL
