"""What a check is, what it is given, and how far a measurement may go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mjctl.clients.boto import RegionClients
from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.contract import Contract
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

AWS_CHECK_SECONDS = 5.0
"""For a check of some calls, each bounded below that, to an API on another continent."""


@dataclass(frozen=True)
class Thresholds:
    """Where a measurement turns from pass to warn, and from warn to fail; `--threshold NAME=VALUE` sets each."""

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
    """A process that restarted unexpectedly within this time fails, so that a kill is seen though it healed at once."""

    @classmethod
    def promising(cls, recovery_point_seconds: float) -> Thresholds:
        """The defaults with the environment's promise: a backup older than this warns, one twice as old fails."""
        return cls(backup_age_seconds_warn=recovery_point_seconds, backup_age_seconds_fail=2 * recovery_point_seconds)

    def with_overrides(self, settings: Iterable[str]) -> Thresholds:
        """Apply `NAME=VALUE` pairs.

        Raises:
            UsageError: an unknown name, or a value that is no number.
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
                raise UsageError(f"threshold `{name}` needs a number, found `{value}`") from None
        return replace(self, **changes)


@dataclass(frozen=True)
class Finding:
    """What one check saw; the runner adds name, region and duration."""

    status: CheckStatus
    summary: str
    hint: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    throttled: bool = False


def passed(summary: str, **evidence: object) -> Finding:
    return Finding(CheckStatus.PASS, summary, evidence=evidence)


def warned(summary: str, hint: str, **evidence: object) -> Finding:
    return Finding(CheckStatus.WARN, summary, hint, evidence)


def failed(summary: str, hint: str, **evidence: object) -> Finding:
    return Finding(CheckStatus.FAIL, summary, hint, evidence)


def skipped(reason: str, **evidence: object) -> Finding:
    """Not looked at, and why; never a pass."""
    return Finding(CheckStatus.SKIP, reason, evidence=evidence)


def graded(value: float, *, warn: float, fail: float) -> CheckStatus:
    """The status of a measurement of which less is better."""
    if value >= fail:
        return CheckStatus.FAIL
    return CheckStatus.WARN if value >= warn else CheckStatus.PASS


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The gravest of several; PASS when there is none, SKIP when nothing was looked at."""
    order = (CheckStatus.SKIP, CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL)
    return max(statuses, key=order.index, default=CheckStatus.PASS)


class RegionContext:
    """What the checks of one region share. `private_dir` (0700) holds the probe players' accounts (files of 0600)."""

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
        self.stack = AsyncExitStack()
        """What checks open for all of the run, e.g. the probe players' clients."""
        self._shared: dict[str, asyncio.Future[Any]] = {}
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"health-{contract.region}")

    async def shared(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """The value of `make()`, computed once a run however many checks ask; no check's timeout stops it."""
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(make())
        value: T = await asyncio.shield(self._shared[key])
        return value

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking `work` on this region's own threads, so that a region that hangs cannot starve another."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        pending = [future for future in self._shared.values() if not future.done()]
        for future in pending:
            future.cancel()
        await asyncio.gather(*self._shared.values(), return_exceptions=True)
        await self.stack.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)


CheckFunction = Callable[[RegionContext], Awaitable[Finding]]


@dataclass(frozen=True)
class Check:
    """One look at one part. `name` is `<kind>` or `<kind>/<part>`, e.g. `redis`, `table/matches`."""

    name: str
    run: CheckFunction
    timeout_seconds: float = 3.0
    severity: Severity = Severity.MAJOR


@dataclass(frozen=True)
class HealthReport:
    """All findings of one run, in the order of the registry within each region."""

    environment: str
    started_at: str
    duration_seconds: float
    results: tuple[CheckResult, ...]

    @property
    def status(self) -> CheckStatus:
        return worst(result.status for result in self.results)

    def count(self, status: CheckStatus, region: str | None = None) -> int:
        return sum(1 for item in self.results if item.status is status and region in (None, item.region))

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(result.region for result in self.results))

    @property
    def unobserved(self) -> tuple[str, ...]:
        """Regions of which no check looked at anything: all were skipped or throttled."""
        observed = {result.region for result in self.results if result.observed}
        return tuple(region for region in self.regions if region not in observed)

    @property
    def healthy(self) -> bool:
        """Whether nothing failed and every region was observed. Without evidence a region is not healthy."""
        return bool(self.results) and not self.unobserved and self.status is not CheckStatus.FAIL
