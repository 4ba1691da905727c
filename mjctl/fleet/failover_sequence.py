"""The sequence of a failover, which a program can call without a console: assess, ask, move the writer, move players.

The database's writer moves first. If it cannot move, nothing has changed. If players moved first, they would be where
nothing can be written, or would have to be moved back through the caches of DNS.

The methods block; inside of a coroutine, call them through `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from mjctl.clients.dns import RegionDns, region_dns
from mjctl.fleet import failover_writer
from mjctl.fleet.failover import (
    Traffic,
    close_region,
    probes_of,
    read_traffic,
    reopen_region,
    successors,
    unfit_regions,
    wait_until_empty,
)
from mjctl.fleet.failover_report import FailoverPlan, FailoverReport, Step, WriterMove
from mjctl.fleet.failover_writer import GlobalDatabase
from mjctl.fleet.model import Say
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import Interrupted, MjctlError, NotFoundError, RefusedError, UnreachableError, UsageError

Probe = Callable[[Mapping[str, Contract], Sequence[str]], Awaitable[list[CheckResult]]]
"""Runs the named health checks of some regions, a real log-in and a real match among them."""


ApproveFailover = Callable[[FailoverPlan], bool]
"""Receives what will be done, and returns whether to do it. It may raise a MjctlError that says why not."""


class Failover:
    """Sends the players of one region to the others, and lets them come back."""

    def __init__(self, contract: Contract, contracts: Mapping[str, Contract], probe: Probe, say: Say) -> None:
        """Prepare a failover.

        Args:
            contract: The region that players leave or come back to.
            contracts: Every deployed region.
            probe: Tests whether regions can take players; mjctl.operations.health makes it.
            say: Receives lines for people while the sequence runs.
        """
        self._contract = contract
        self._region = contract.region
        self._contracts = contracts
        self._probe_checks = probe
        self._say = say

    def rehearse(self, *, to_region: str | None = None, lossy: bool = False) -> FailoverReport:
        """Probe the other regions and return the steps that `leave` would take. Nothing is changed.

        Raises:
            As `leave`.
        """

        async def work() -> FailoverReport:
            plan = await self._assess(to_region, lossy=lossy)
            steps = [Step("writer", "planned", plan.writer.summary)] if plan.writer else []
            return FailoverReport(
                "none",
                self._region,
                plan.taker_names,
                await self._traffic(may_be_gone=lossy),
                (*steps, Step("traffic", "planned", plan.summary)),
                writer=plan.writer,
                dns=await _dns(self._contracts),
            )

        return asyncio.run(work())

    def leave(
        self,
        *,
        approve: ApproveFailover,
        to_region: str | None = None,
        lossy: bool = False,
        wait_seconds: float = 0.0,
    ) -> FailoverReport:
        """Send the region's players to the others.

        Args:
            to_region: Where the database's writer goes; by default the copy that is least behind.
            lossy: The region is gone: its writer is replaced, and rows that are not yet copied are lost.
            wait_seconds: How long to wait for running matches to end.

        Returns:
            Also if a step has failed: see `error`.

        Raises:
            ConflictError: No other region can take players.
            RefusedError: It was not approved.
            Interrupted: It was stopped while the writer moves; AWS continues with that.
            UnreachableError, NotFoundError: A region does not answer, or DNS does not know it.
        """
        plan = asyncio.run(self._assess(to_region, lossy=lossy))
        _require_approval(approve, plan)
        return asyncio.run(self._leave(plan, wait_seconds))

    def restore(self, *, approve: ApproveFailover, with_writer: bool = False) -> FailoverReport:
        """Let the region take matches again.

        Args:
            with_writer: Move the database's writer back to the region first, without loss of data.

        Raises:
            As `leave`.
        """
        plan = asyncio.run(self._assess_return(with_writer=with_writer))
        _require_approval(approve, plan)
        return asyncio.run(self._restore(plan))

    async def _assess(self, to_region: str | None, *, lossy: bool) -> FailoverPlan:
        others = {region: contract for region, contract in self._contracts.items() if region != self._region}
        unfit = unfit_regions(await self._probe(others, without=self._lost_checks(lossy=lossy)))
        for answer in await _dns(others):
            if answer.named is False:
                unfit.setdefault(answer.region, []).append("DNS leaves the region out")
        takers = successors(self._contracts, self._region, unfit)
        for region, reasons in unfit.items():
            for reason in reasons:
                self._say(f"{region} is not fit: {reason}")
        writer = await self._writer_to_move(takers, to_region, lossy=lossy)
        return FailoverPlan(self._region, tuple(takers), writer, writer.database if writer else None, lossy)

    async def _writer_to_move(
        self, takers: Sequence[Contract], to_region: str | None, *, lossy: bool
    ) -> WriterMove | None:
        """Return None if the region does not write: the writer need not move then."""
        # A region that stays is asked: the one that is left may not answer.
        database = await failover_writer.read_database(takers[0])
        if database is None or database.writer != self._region:
            if to_region:
                raise UsageError(
                    f"{self._region} does not write to a global database, so --to-region has nothing to move",
                    hint=f"the writer is in {database.writer}" if database else "the database has one region only",
                )
            return None
        fit, primary = {contract.region: contract for contract in takers}, _primary(takers[0])
        database = await failover_writer.with_lags(database, fit)
        under_way = database.copy_in(database.moving_to) if database.moving_to in fit else None
        if under_way and to_region in (None, under_way.region):
            return WriterMove(database, under_way, lossy, primary)
        return WriterMove(database, failover_writer.choose(database, fit, to_region), lossy, primary)

    async def _leave(self, plan: FailoverPlan, wait_seconds: float) -> FailoverReport:
        steps, error = [], None
        takers = {contract.region: contract for contract in plan.takers}
        if plan.writer:
            step, error = await self._move_writer(takers[plan.writer.to.region], plan.writer)
            steps.append(step)
        moved = Step("traffic", "skipped", f"players stay in {self._region}")
        if error is None:
            try:
                await close_region(self._contract, plan.takers)
                moved = Step("traffic", "done", plan.summary)
            except MjctlError as failed:
                moved, error = Step("traffic", "failed", str(failed)), failed
        steps.append(moved)
        if error:
            return FailoverReport(
                "failed",
                self._region,
                (),
                await self._traffic(may_be_gone=True),
                tuple(steps),
                writer=plan.writer,
                dns=await _dns(self._contracts, may_fail=True),
                error=error,
            )
        traffic = await self._traffic(may_be_gone=plan.lossy)
        if traffic is not None and wait_seconds:
            traffic = await wait_until_empty(self._contract, wait_seconds, self._say)
        probes = await self._probe(takers, without=self._lost_checks(lossy=plan.lossy))
        refused = await self._refuses_players()
        return FailoverReport(
            "closed",
            self._region,
            plan.taker_names,
            traffic,
            tuple(steps),
            tuple(probes),
            plan.writer,
            await _dns(self._contracts),
            healthy=refused and not unfit_regions(probes),
        )

    async def _assess_return(self, *, with_writer: bool) -> FailoverPlan:
        database = await failover_writer.read_database(self._contract)
        writer: WriterMove | None = None
        if with_writer:
            if database is None:
                raise UsageError("--with-writer: the database has one region only", where=f"region {self._region}")
            if database.writer != self._region:
                database = await failover_writer.with_lags(database, {self._region: self._contract})
                copy = failover_writer.choose(database, [self._region], self._region)
                writer = WriterMove(database, copy, lossy=False, primary=_primary(self._contract))
        return FailoverPlan(self._region, writer=writer, database=database)

    async def _restore(self, plan: FailoverPlan) -> FailoverReport:
        name, own = self._region, {self._region: self._contract}
        steps: list[Step] = []
        if plan.writer:
            step, error = await self._move_writer(self._contract, plan.writer)
            steps.append(step)
            if error:
                steps.append(Step("traffic", "skipped", f"{name} is left out as before"))
                return FailoverReport(
                    "failed",
                    name,
                    (),
                    await read_traffic(self._contract),
                    tuple(steps),
                    writer=plan.writer,
                    dns=await _dns(own, may_fail=True),
                    error=error,
                )
        elif plan.database:
            steps.append(Step("writer", "unchanged", _writer_advice(self._contract, plan.database)))
        changed = await reopen_region(self._contract)
        dns = await _dns(own)
        summary = f"{name} takes players again" if changed else f"{name} was not left out"
        if changed and dns:
            # The alarm decides again, and may still keep the region out.
            summary = dns[0].summary
        steps.append(Step("traffic", "done" if changed else "unchanged", summary))
        probes = await self._probe(own)
        return FailoverReport(
            "restored" if changed or plan.writer else "none",
            name,
            (),
            await read_traffic(self._contract),
            tuple(steps),
            tuple(probes),
            plan.writer,
            dns,
            healthy=not unfit_regions(probes) and all(answer.named is not False for answer in dns),
        )

    async def _move_writer(self, target: Contract, writer: WriterMove) -> tuple[Step, MjctlError | None]:
        """Move the writer to the region of `target`.

        Raises:
            Interrupted: While waiting; AWS continues by itself.
        """
        try:
            await failover_writer.move(target, writer.database, writer.to, lossy=writer.lossy, say=self._say)
        except MjctlError as error:
            return Step("writer", "failed", str(error)), error
        except (KeyboardInterrupt, asyncio.CancelledError):
            # asyncio turns Ctrl-C into a cancellation of the main task.
            raise Interrupted(
                "interrupted while the writer moves; AWS goes on with it if it was asked already, players were not "
                "moved",
                where=f"global cluster {writer.database.name}",
                hint=failover_writer.progress_hint(target, writer.database.name),
            ) from None
        return Step("writer", "done", writer.summary), None

    def _lost_checks(self, *, lossy: bool) -> tuple[str, ...]:
        """Return the checks that other regions need not pass if this one is lost: players' accounts live in the
        primary region."""
        lost = lossy and self._contract.managed is not None and _primary(self._contract) == self._region
        return ("identity",) if lost else ()

    async def _traffic(self, *, may_be_gone: bool) -> Traffic | None:
        try:
            return await read_traffic(self._contract)
        except (UnreachableError, NotFoundError):
            if may_be_gone:
                return None
            raise

    async def _refuses_players(self) -> bool:
        """Tell whether the region takes no new match any more. On AWS: whether DNS leaves it out."""
        own = {self._region: self._contract}
        if self._contract.managed is not None:
            return all(answer.named is False for answer in await _dns(own))
        return any(probe.evidence.get("closed") for probe in await self._probe(own, only=["match"]))

    async def _probe(
        self, contracts: Mapping[str, Contract], *, only: Sequence[str] = (), without: Sequence[str] = ()
    ) -> list[CheckResult]:
        if not contracts:
            return []
        names = only or probes_of(next(iter(contracts.values())))
        return await self._probe_checks(contracts, [name for name in names if name not in without])


def _require_approval(approve: ApproveFailover, plan: FailoverPlan) -> None:
    if not approve(plan):
        raise RefusedError("the failover was not approved; nothing was changed", where=f"region {plan.region}")


def _primary(contract: Contract) -> str:
    return contract.managed.primary_region if contract.managed else contract.region


def _writer_advice(contract: Contract, database: GlobalDatabase) -> str:
    """Terraform gives the primary region's functions the address at which its own cluster takes writes."""
    primary = _primary(contract)
    at = f"the writer of {database.name} is in {database.writer}"
    if database.writer == primary:
        return f"{at}, the primary region: it is where it belongs"
    return (
        f"{at}; it belongs to the primary region {primary}, where functions expect to write: "
        f"`mjctl failover --env {contract.environment} --region {primary} --restore --with-writer` moves it back"
    )


async def _dns(contracts: Mapping[str, Contract], *, may_fail: bool = False) -> tuple[RegionDns, ...]:
    """Read what Route 53 does with each region on AWS; () for the target `local`, which has no DNS."""
    managed = [(contract, contract.managed) for contract in contracts.values() if contract.managed is not None]
    try:
        return tuple(await asyncio.gather(*(region_dns(contract, part) for contract, part in managed)))
    except MjctlError:
        if may_fail:
            return ()
        raise
