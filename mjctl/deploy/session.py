"""Provides DeploySession, with which a program runs deploys and other operations without a console.

    session = DeploySession(workspace, environment)
    result = session.deploy(["us-east-1"], approve=lambda planned: True)

The methods deploy, rollback, scale and destroy lock their units, plan, ask for approval, apply, and record the run in
the history. The methods of DeploySession block. Any thread may call a method of DeploySession, because no method
installs a signal handler. A coroutine calls a method of DeploySession through `asyncio.to_thread`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mjctl.deploy.executor import PlannedUnit, discard
from mjctl.deploy.gate import Gate
from mjctl.deploy.operation import (
    Approve,
    Operation,
    Reporting,
    StopSwitch,
    no_reporting,
    not_approved,
    require_approval,
)
from mjctl.deploy.planner import inputs
from mjctl.deploy.planner.desired_state import DesiredState, LocalPlanner, Planner
from mjctl.deploy.planner.drift import ignore_expected_drift
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.deploy.releases.store import ReleaseStore, UnitReleases
from mjctl.deploy.rollout import RolloutPlan
from mjctl.deploy.staged import plan_known
from mjctl.deploy.teardown import LocalTeardown, ProductionTeardown, Teardown
from mjctl.models.deployment import RunResult, UnitOutcome, UnitResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import NotFoundError, UsageError
from mjctl.models.workspace import Workspace
from mjctl.terraform import contracts
from mjctl.terraform.stack import Stack

if TYPE_CHECKING:
    from mjctl.deploy.bootstrap import Bootstrap
    from mjctl.models.contract import Contract


def _say_nothing(_: str) -> None:
    pass


class DeploySession:
    """Deploys, rolls back, scales and destroys the units of one environment.

    Attributes:
        workspace: The checkout, and mjctl's home folder on this machine.
        environment: The environment whose units the session changes.
        store: The releases of the environment.
    """

    def __init__(
        self,
        workspace: Workspace,
        environment: Environment,
        *,
        message: str | None = None,
        lock_timeout_seconds: float = 0.0,
        allow_data_loss: bool = False,
        say: Callable[[str], None] = _say_nothing,
        reporting: Reporting = no_reporting,
    ) -> None:
        """Prepare a session. The session reads and locks nothing until a program calls one of its methods.

        Args:
            workspace: The checkout, and mjctl's home folder on this machine.
            environment: The environment whose units the session changes.
            message: The operator's reason for the run, for the history and for other runs that wait for a locked unit.
            lock_timeout_seconds: The time to wait for a unit that another run has locked.
            allow_data_loss: True to apply plans that violate the data-loss policy.
            say: Receives lines for the operator, e.g. the run that holds a lock, or the missing parts of a region.
            reporting: Opens the reporter that receives the progress of each unit.
        """
        self.workspace = workspace
        self.environment = environment
        self.store = ReleaseStore(workspace, environment)
        self._stop = StopSwitch()
        self._operation = partial(
            Operation,
            workspace=workspace,
            environment=environment,
            store=self.store,
            message=message,
            lock_timeout_seconds=lock_timeout_seconds,
            allow_data_loss=allow_data_loss,
            say=say,
            reporting=reporting,
            stop=self._stop,
        )

    @cached_property
    def planner(self) -> Planner:
        """Return the planner that computes the desired state of each unit."""
        return self._make_planner()

    def stop(self) -> None:
        """Stop the session, as Ctrl-C stops a command. Any thread may call `stop`.

        Terraform finishes the resources on which it works and saves its state. A stopped session applies nothing more,
        neither in the current call nor in later calls.
        """
        self._stop.set()

    def plan(self, regions: Sequence[str], *, folder: PlanFolder | None = None) -> RunResult:
        """Plan a deploy of `regions` and apply nothing.

        Args:
            regions: The names of the regions.
            folder: The folder that keeps the plans for a later `deploy`, or None to remove the plans.

        Raises:
            NotFoundError: The environment does not have one of the regions.
            LockedError: Another run works on a unit.
            ConflictError: `folder` is given, and a unit cannot be planned before another unit is applied.
        """
        self._check_regions(regions)
        # A plan that no folder keeps is never applied, so its release needs no pushed image of the game server.
        planner = self.planner if folder is not None else self._make_planner(only_planned=True)
        operation = self._operation("plan")
        units = planner.units(regions)
        release = self.store.of_working_tree()
        with operation.locked(_stacks(planner, units)):
            if folder is not None:
                folder.prepare()
            planned = operation.run(lambda deployment: plan_known(deployment, planner, units, release, folder=folder))
            if folder is None:
                discard(planned)
        return RunResult("plan", _results(planned), release, only_planned=True)

    def drift(self, regions: Sequence[str], *, named: bool = True) -> RunResult:
        """Find the differences between the last apply of `regions` and the resources that exist. Nothing is applied.

        If `regions` are all regions of the environment, the deployed units `foundation` and `edge` are compared too.

        Args:
            regions: The names of the regions.
            named: True if the operator has named the regions, so a region that is not deployed is an error. If `named`
                is False, a region that is not deployed gets a result with the outcome NOT_DEPLOYED.

        Raises:
            NotFoundError: A named region is not deployed, or no region is deployed.
            LockedError: Another run works on a unit.
        """
        self._check_regions(regions)
        operation = self._operation("drift")
        deployed, absent = self._deployed(regions, named=named)
        units = (*deployed, *self._shared(regions))
        with operation.locked(_stacks(self.planner, units)):
            states = [self.planner.for_last_apply(unit) for unit in units]
            planned = operation.run(lambda deployment: deployment.plan(states))
            discard(planned)
        ignore = self.environment.drift.ignore
        results = [ignore_expected_drift(result, ignore) for result in _results(planned)]
        return RunResult("drift", (*results, *absent), only_planned=True)

    def deploy(
        self,
        regions: Sequence[str],
        *,
        approve: Approve,
        rollout: RolloutPlan | None = None,
        gate: Gate | None = None,
        plans: PlanFolder | None = None,
    ) -> RunResult:
        """Deploy the working tree and the environment's file to `regions`.

        Args:
            regions: The names of the regions.
            approve: Receives the planned changes and returns True to apply them.
            rollout: The order of the regions, and whether to roll a failed region back; by default all regions at once,
                and no rollback.
            gate: Checks the health of each changed region. The function `mjctl.operations.health.health_gate` returns a
                gate.
            plans: The folder of saved plans to apply instead of new plans.

        Raises:
            NotFoundError: The environment does not have one of the regions, or the folder `plans` has no plan of a
                unit.
            ConflictError: A saved plan does not fit the current code, variables, account or state.
            LockedError: Another run works on a unit.
            RefusedError: A plan would lose data, or the changes were not approved. Nothing was applied.
        """
        self._check_regions(regions)
        self._check_machine(regions)
        operation, planner = self._operation("deploy"), self.planner
        release = self.store.of_working_tree()
        units = planner.units(regions)
        with operation.locked(_stacks(planner, units)):
            self.store.keep(release)
            if plans is not None:
                states = [planner.for_release(unit, release) for unit in units]
                planned = operation.run(lambda deployment: deployment.load_saved(states, plans))
            else:
                planned = operation.run(lambda deployment: plan_known(deployment, planner, units, release))
            results = operation.roll_out(
                planner, planned, approve=approve, rollout=rollout, gate=gate, release=release, kept=plans
            )
        return RunResult("deploy", tuple(results), release)

    def rollback(
        self,
        regions: Sequence[str],
        *,
        approve: Approve,
        to: str | None = None,
        gate: Gate | None = None,
        named: bool = True,
    ) -> RunResult:
        """Apply an earlier revision to `regions`.

        Args:
            regions: The names of the regions.
            approve: Receives the planned changes and returns True to apply them.
            to: The revision to return to, or its first characters. By default each region returns to its newest earlier
                revision that the gate has not found unhealthy.
            gate: Checks the health of each changed region.
            named: True if the operator has named the regions, so a region that is not deployed is an error.

        Raises:
            NotFoundError: A region is not deployed, or has no earlier revision that fits `to`.
            LockedError: Another run works on a region.
            RefusedError: A plan would lose data, or the changes were not approved. Nothing was applied.
        """
        self._check_regions(regions)
        operation = self._operation("rollback")
        deployed, absent = self._deployed(regions, named=named)
        with operation.locked(_stacks(self.planner, deployed)):
            states = [self._earlier(region, to) for region in deployed]
            planned = operation.run(lambda deployment: deployment.plan(states))
            results = operation.roll_out(self.planner, planned, approve=approve, gate=gate)
        return RunResult("rollback", (*map(_as_rolled_back, results), *absent))

    def scale(
        self, regions: Sequence[str], servers_per_zone: int | None, *, approve: Approve, named: bool = True
    ) -> RunResult:
        """Change the number of game servers of `regions`, also for later deploys.

        Args:
            regions: The names of the regions.
            servers_per_zone: The number of game servers in each zone, or None for the number in the environment's file.
            approve: Receives the planned changes and returns True to apply them.
            named: True if the operator has named the regions, so a region that is not deployed is an error.

        Raises:
            NotFoundError: A region is not deployed.
            LockedError: Another run works on a region.
            RefusedError: A plan would lose data, or the changes were not approved. Nothing was applied.
        """
        self._check_regions(regions)
        operation = self._operation("servers scale")
        deployed, absent = self._deployed(regions, named=named)
        count = servers_per_zone or self.environment.game.servers_per_zone
        with operation.locked(_stacks(self.planner, deployed)):
            states = [self.planner.for_scale(region, count) for region in deployed]
            planned = operation.run(lambda deployment: deployment.plan(states))
            results = operation.roll_out(self.planner, planned, approve=approve)
            for result in results:
                # Store the new number of servers only for regions in which it was applied, so that the other regions
                # keep their number.
                if result.outcome in (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED):
                    inputs.set_servers_per_zone(self.planner.stack(result.unit), servers_per_zone)
        return RunResult("servers scale", (*results, *absent))

    def destroy(self, regions: Sequence[str], *, approve: Approve, everything: bool = False) -> RunResult:
        """Destroy `regions` with all their data.

        Args:
            regions: The names of the regions.
            approve: Receives the units that will be destroyed completely, and returns True to destroy them.
            everything: True to destroy the stack `foundation` of a production environment too.

        Raises:
            ConflictError: The primary region would be destroyed before other regions.
            LockedError: Another run works on a unit.
            RefusedError: The destroy was not approved. Nothing was destroyed.
        """
        self._check_regions(regions)
        operation = self._operation("destroy")
        units = regions if self.environment.target == "local" else (FOUNDATION, *regions, EDGE)
        with operation.locked(_stacks(self.planner, units)):
            teardown = self._teardown(regions, everything=everything)
            planned = operation.run(teardown.plan)
            results = list(_results(planned))
            try:
                if all(result.ok for result in results):
                    require_approval(approve, [result for result in results if result.unit in teardown.going])
                    results = operation.recorded(
                        [result.unit for result in results],
                        lambda: operation.run(lambda deployment: teardown.run(deployment, planned)),
                    )
            finally:
                discard(planned)
        return RunResult("destroy", tuple(results))

    def bootstrap(self, *, approve: Callable[[Bootstrap, UnitResult], bool]) -> tuple[Bootstrap, UnitResult]:
        """Create the state bucket of the environment's account, or correct its settings.

        Args:
            approve: Receives the description of the bucket and the plan, and returns True to apply the plan. `approve`
                is not called for a plan without changes.

        Returns:
            The description of the bucket before the run, and the result of the apply.

        Raises:
            UsageError: The environment keeps its Terraform states on this machine and needs no bucket.
            MjctlError: The plan was not approved, or the creation of the bucket or the move of the state of `bootstrap`
                is not complete. The next run of `bootstrap` continues the creation or the move.
        """
        from mjctl.deploy.bootstrap import import_existing, move_state, prepare

        name = self.environment.name
        if self.environment.target == "local":
            raise UsageError(
                f"environment `{name}` needs no state bucket, because its states are on this machine",
                where=f"configs/{name}.yaml: target local",
                hint="name an environment whose target is aws or sandbox with --env",
            )
        operation = self._operation("bootstrap")
        wanted = prepare(self.workspace, self.environment)
        with operation.locked([wanted.desired.stack]):
            # Call `prepare` again, because another run may have created the state bucket while this run waited for the
            # lock.
            wanted = prepare(self.workspace, self.environment)
            operation.run(lambda deployment: import_existing(deployment.runner, wanted))
            planned = operation.run(lambda deployment: deployment.plan([wanted.desired]))
            result = planned[0].result
            try:
                if result.ok:
                    if result.changes and not approve(wanted, result):
                        raise not_approved()
                    result = operation.run(lambda deployment: deployment.apply(planned))[0]
            finally:
                discard(planned)
            if result.error is not None:
                raise result.error
            if not wanted.moved:
                operation.run(lambda deployment: move_state(deployment.runner, wanted))
        return wanted, result

    def contracts(self, result: RunResult) -> dict[str, Contract]:
        """Read the contracts of the regions in `result` that are deployed.

        Returns:
            The contracts by the names of the regions.
        """
        up = (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED, UnitOutcome.ROLLED_BACK, UnitOutcome.UNHEALTHY)
        regions = [
            unit.unit
            for unit in result.results
            if unit.outcome in up and unit.unit in self.environment.regions and self.planner.stack(unit.unit).exists()
        ]
        return contracts.deployed_contracts(self.workspace, self.environment, regions) if regions else {}

    def _make_planner(self, *, only_planned: bool = False) -> Planner:
        if self.environment.target == "local":
            return LocalPlanner(self.workspace, self.environment, self.store)
        return ProductionPlanner(self.workspace, self.environment, self.store, only_planned=only_planned)

    def _check_regions(self, regions: Sequence[str]) -> None:
        unknown = [region for region in regions if region not in self.environment.regions]
        if unknown or not regions:
            raise NotFoundError(
                f"environment `{self.environment.name}` has no region {', '.join(unknown)}"
                if unknown
                else "no region is named",
                where=f"configs/{self.environment.name}.yaml",
                hint=f"the regions of the environment: {', '.join(self.environment.regions)}",
            )

    def _check_machine(self, regions: Sequence[str]) -> None:
        """Check for a local environment that this user can run PostgreSQL, before any work starts.

        Raises:
            DependencyError: This user has no passwd entry, and nss_wrapper is not installed.
        """
        if self.environment.target == "local":
            from mjctl.local.layout import Layout
            from mjctl.local.unix_account import check_database_user

            folders = (self.workspace.region_dir(self.environment.name, region) for region in regions)
            check_database_user(Layout(folder) for folder in folders)

    def _deployed(self, regions: Sequence[str], *, named: bool) -> tuple[tuple[str, ...], list[UnitResult]]:
        """Split `regions` into the deployed regions and the results of the regions that are not deployed.

        If `named` is True, return all regions as deployed, so that the caller fails at a region that is not deployed.

        Returns:
            The regions that have a completed deploy, and a result with the outcome NOT_DEPLOYED for each other region.

        Raises:
            NotFoundError: `named` is False, and none of the regions is deployed.
        """
        if named:
            return tuple(regions), []
        stacks = {region: self.planner.stack(region) for region in regions}
        deployed = tuple(region for region, stack in stacks.items() if stack.applied_variables() is not None)
        command = f"`mjctl deploy --env {self.environment.name} --region"
        if not deployed:
            raise NotFoundError(
                f"not deployed: {', '.join(regions)}",
                where=f"environment {self.environment.name}",
                hint=f"{command} {regions[0]}` deploys a region",
            )
        absent = []
        for region, stack in stacks.items():
            if region not in deployed:
                notes = (f"partly deployed: {command} {region}` finishes the deploy",) if stack.exists() else ()
                absent.append(UnitResult(region, UnitOutcome.NOT_DEPLOYED, notes=notes))
        return deployed, absent

    def _shared(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Return the deployed units among `foundation` and `edge`, or () if `regions` are not all regions."""
        if set(regions) != set(self.environment.regions):
            return ()
        return tuple(contracts.shared_contracts(self.workspace, self.environment))

    def _earlier(self, region: str, to: str | None) -> DesiredState:
        releases = UnitReleases(self.planner.stack(region))
        if to is not None:
            return self.planner.for_rollback(region, releases.named(to))
        current = releases.current()
        bad = releases.interrupted_revision() or (current.revision if current else None)
        return self.planner.for_rollback(region, releases.last_good(other_than=bad))

    def _teardown(self, regions: Sequence[str], *, everything: bool) -> Teardown:
        release = self.store.of_working_tree()
        planner = self.planner
        if isinstance(planner, ProductionPlanner):
            return ProductionTeardown.of(planner, self.environment, release, regions, everything=everything)
        assert isinstance(planner, LocalPlanner)  # noqa: S101 - there are two planners
        return LocalTeardown([planner.for_destroy(region, release) for region in regions])


def _stacks(planner: Planner, units: Sequence[str]) -> list[Stack]:
    return [planner.stack(unit) for unit in units]


def _results(planned: Sequence[PlannedUnit]) -> tuple[UnitResult, ...]:
    return tuple(item.result for item in planned)


def _as_rolled_back(result: UnitResult) -> UnitResult:
    """Return `result`, with the outcome ROLLED_BACK if the region has the earlier revision now."""
    went_through = result.outcome in (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED)
    return replace(result, outcome=UnitOutcome.ROLLED_BACK) if went_through else result
