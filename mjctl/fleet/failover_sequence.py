"""Runs a failover: checks the other regions, asks for approval, moves the database's writer, and then moves players.

A program can call this module without a console.

A failover moves the database's writer before the players. If the writer cannot move, a failover does not move players.
If players moved first and the move of the writer then failed, DNS caches would keep players in regions that cannot
write.

The methods of Failover block, so a coroutine calls a method of Failover through `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from mjctl import event_loop
from mjctl.clients.dns import RegionDns, region_dns
from mjctl.clients.global_database import GlobalDatabase, read_database
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
from mjctl.fleet.model import Say
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import Interrupted, MjctlError, NotFoundError, RefusedError, UnreachableError, UsageError

Probe = Callable[[Mapping[str, Contract], Sequence[str]], Awaitable[list[CheckResult]]]
"""Runs the named health checks in the given regions. The checks `login` and `match` log in and play a real match."""


ApproveFailover = Callable[[FailoverPlan], bool]
"""Receives the plan and returns True to carry it out. May raise a MjctlError with the reason for a refusal."""


class Failover:
    """Sends the players of one region to other regions, and lets players return to the region."""

    def __init__(self, contract: Contract, contracts: Mapping[str, Contract], probe: Probe, say: Say) -> None:
        """Prepare a failover.

        Args:
            contract: The contract of the region that players leave, or to which players return.
            contracts: The contracts of all deployed regions, by the name of the region.
            probe: Runs the health checks that show whether regions can take players, as the function that
                `mjctl.operations.health.failover_probe` returns.
            say: Receives lines for the operator.
        """
        self._contract = contract
        self._region = contract.region
        self._contracts = contracts
        self._probe_checks = probe
        self._say = say

    def rehearse(self, *, to_region: str | None = None, lossy: bool = False) -> FailoverReport:
        """Check the other regions and return the steps that `leave` would take, without a change.

        Args:
            to_region: The region to which the database's writer would move; by default the region of the copy with the
                smallest lag.
            lossy: True if the region is lost, so the data stores of the region may not answer.

        Raises:
            ConflictError: No other region can take players, or the database's writer cannot move.
            UsageError: `to_region` is given, and the database's writer is not in the region that players leave.
            UnreachableError, NotFoundError: A region does not answer, or Route 53 has no health check of a region.
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

        return event_loop.run(work())

    def leave(
        self,
        *,
        approve: ApproveFailover,
        to_region: str | None = None,
        lossy: bool = False,
        wait_seconds: float = 0.0,
    ) -> FailoverReport:
        """Send the players of the region to other regions.

        Args:
            approve: Receives the plan and returns True to carry it out.
            to_region: The region to which the database's writer moves; by default the region of the copy with the
                smallest lag.
            lossy: True if the region is lost, so another region gets the writer without the rows that are not yet
                copied.
            wait_seconds: The longest time in seconds to wait until the running matches of the region have ended.

        Returns:
            The report of the steps. If a step has failed, the report's `error` has the reason.

        Raises:
            ConflictError: No other region can take players, or the database's writer cannot move.
            UsageError: `to_region` is given, and the database's writer is not in the region that players leave.
            RefusedError: The failover was not approved. Nothing was changed.
            Interrupted: The failover was stopped during the move of the writer, which AWS completes if mjctl has
                already requested the move.
            UnreachableError, NotFoundError: A region does not answer, or Route 53 has no health check of a region.
        """
        plan = event_loop.run(self._assess(to_region, lossy=lossy))
        _require_approval(approve, plan)
        return event_loop.run(self._leave(plan, wait_seconds))

    def restore(self, *, approve: ApproveFailover, with_writer: bool = False) -> FailoverReport:
        """Let the region take players again.

        Args:
            approve: Receives the plan and returns True to carry it out.
            with_writer: True to move the database's writer to the region first, without loss of data.

        Returns:
            The report of the steps. If a step has failed, the report's `error` has the reason.

        Raises:
            ConflictError: The database's writer cannot move to the region.
            UsageError: `with_writer` is given, and the database has one region only.
            RefusedError: The return was not approved. Nothing was changed.
            Interrupted: The return was stopped during the move of the writer, which AWS completes if mjctl has already
                requested the move.
            UnreachableError, NotFoundError: The region does not answer, or Route 53 has no health check of the region.
        """
        plan = event_loop.run(self._assess_return(with_writer=with_writer))
        _require_approval(approve, plan)
        return event_loop.run(self._restore(plan))

    async def _assess(self, to_region: str | None, *, lossy: bool) -> FailoverPlan:
        others = {region: contract for region, contract in self._contracts.items() if region != self._region}
        unfit = unfit_regions(await self._probe(others, without=self._lost_checks(lossy=lossy)))
        for answer in await _dns(others):
            if answer.named is False:
                unfit.setdefault(answer.region, []).append("DNS excludes the region")
        takers = successors(self._contracts, self._region, unfit)
        for region, reasons in unfit.items():
            for reason in reasons:
                self._say(f"{region} cannot take players: {reason}")
        writer = await self._writer_to_move(takers, to_region, lossy=lossy)
        return FailoverPlan(self._region, tuple(takers), writer, writer.database if writer else None, lossy)

    async def _writer_to_move(
        self, takers: Sequence[Contract], to_region: str | None, *, lossy: bool
    ) -> WriterMove | None:
        """Return the planned move of the database's writer, or None if the writer is not in the region to leave."""
        # Read the database through a region that stays, because the region that players leave may not answer.
        database = await read_database(takers[0])
        if database is None or database.writer != self._region:
            if to_region:
                raise UsageError(
                    f"--to-region moves the database's writer, and the writer is not in {self._region}",
                    hint=f"omit --to-region: the writer is in {database.writer}"
                    if database
                    else "omit --to-region: the database has one region only",
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
        database = await read_database(self._contract)
        writer: WriterMove | None = None
        if with_writer:
            if database is None:
                raise UsageError(
                    "--with-writer needs a database in several regions, and this database has one region only",
                    where=f"region {self._region}",
                    hint="omit --with-writer",
                )
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
                steps.append(Step("traffic", "skipped", f"{name} stays excluded"))
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
        summary = f"{name} takes players again" if changed else f"{name} was not excluded"
        if changed and dns:
            # Once mjctl has opened the region, the region's alarm decides whether DNS includes it, so DNS may still
            # exclude the region.
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
        """Move the database's writer to the region of `target`.

        Returns:
            The step `writer` with its outcome, and the error of a failed move or None.

        Raises:
            Interrupted: The command was stopped during the move of the writer, which AWS completes if mjctl has already
                requested the move.
        """
        try:
            await failover_writer.move(target, writer.database, writer.to, lossy=writer.lossy, say=self._say)
        except MjctlError as error:
            return Step("writer", "failed", str(error)), error
        except (KeyboardInterrupt, asyncio.CancelledError):
            # Catch CancelledError too, because asyncio turns Ctrl-C into a cancellation of the main task.
            raise Interrupted(
                "interrupted during the move of the writer; AWS completes the move if mjctl has already requested it; "
                "players were not moved",
                where=f"global cluster {writer.database.name}",
                hint=failover_writer.progress_hint(target, writer.database.name),
            ) from None
        return Step("writer", "done", writer.summary), None

    def _lost_checks(self, *, lossy: bool) -> tuple[str, ...]:
        """Return the names of the health checks that other regions need not pass.

        If the primary region is lost, the check `identity` fails everywhere, because the primary region has the
        accounts of all players.
        """
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
        """Return True if the local region refuses new matches, or if DNS excludes the region on AWS."""
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
    """Return a line that says where the database's writer is, and how to move the writer to the primary region.

    The Lambda functions of the primary region write to the database cluster of the primary region.
    """
    primary = _primary(contract)
    at = f"the writer of {database.name} is in {database.writer}"
    if database.writer == primary:
        return f"{at}, the primary region"
    return (
        f"{at}; the functions of the primary region {primary} expect the writer in {primary}: "
        f"`mjctl failover --env {contract.environment} --region {primary} --restore --with-writer` moves the writer "
        "back"
    )


async def _dns(contracts: Mapping[str, Contract], *, may_fail: bool = False) -> tuple[RegionDns, ...]:
    """Read for each region on AWS whether Route 53 includes the region. Local regions have no DNS and are omitted."""
    managed = [(contract, contract.managed) for contract in contracts.values() if contract.managed is not None]
    try:
        return tuple(await asyncio.gather(*(region_dns(contract, part) for contract, part in managed)))
    except MjctlError:
        if may_fail:
            return ()
        raise
