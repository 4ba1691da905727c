"""The entry point of every operation that runs Terraform: a program calls it without a console.

    session = DeploySession(workspace, environment)
    result = session.deploy(["us-east-1"], approve=lambda planned: True)

Each method holds the locks of its units, plans, asks for approval, applies, and keeps the run in the history. The
methods block and may be called in any thread: they install no signal handler. Inside of a coroutine, call them through
`asyncio.to_thread`.
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
    """Operations on the units of one environment.

    Attributes:
        workspace, environment: What the session works on.
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
        """Prepare a session. Nothing is read or locked before a method is called.

        Args:
            message: Why the run is made. Runs that wait for a unit show it, and the history keeps it.
            lock_timeout_seconds: How long to wait for a unit that another run holds.
            allow_data_loss: Apply plans that violate the data-loss policy.
            say: Receives lines for people: which run holds a lock, what a plan has found in the world.
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
        return self._make_planner()

    def stop(self) -> None:
        """Stop as Ctrl-C does; any thread may call it. Terraform finishes its step and saves its state.

        The session applies nothing more afterwards, neither in the call that runs nor in later ones.
        """
        self._stop.set()

    def plan(self, regions: Sequence[str], *, folder: PlanFolder | None = None) -> RunResult:
        """Plan a deploy of `regions` and apply nothing.

        Args:
            folder: Keeps the plans, for a later `deploy`.
        """
        self._check_regions(regions)
        # A plan that is not kept is never applied, so that it needs no image of the game server.
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
        """Plan what was applied last: the changes are those of the world. Nothing is applied.

        With all regions of the environment, the stacks that exist once are compared too.

        Args:
            named: A region that is not deployed is an error. Otherwise it has a result that says so.
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
        """Bring `regions` to what the working tree and the environment's file say.

        Args:
            rollout: The order of the regions, and whether to roll back; by default all regions at once.
            gate: Checks the health of each region that was changed; mjctl.operations.health makes it.
            plans: Apply the plans in this folder instead of new ones.

        Raises:
            RefusedError: A plan would lose data, or was not approved. Nothing was applied.
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
        """Bring `regions` back to an earlier revision.

        Args:
            to: The revision, or how it begins; by default the last good one of each region.
            named: As for `drift`.

        Raises:
            RefusedError: As for `deploy`.
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
        """Change the number of game servers of `regions`; later deploys keep it.

        Args:
            servers_per_zone: None gives the number back to the environment's file.
            named: As for `drift`.

        Raises:
            RefusedError: As for `deploy`.
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
                # A plan that was not applied has not changed the number.
                if result.outcome in (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED):
                    inputs.set_servers_per_zone(self.planner.stack(result.unit), servers_per_zone)
        return RunResult("servers scale", (*results, *absent))

    def destroy(self, regions: Sequence[str], *, approve: Approve, everything: bool = False) -> RunResult:
        """Destroy `regions` with all their data.

        Args:
            approve: Receives the units of which nothing will be left.
            everything: Destroy what a production environment has once, too.

        Raises:
            RefusedError: It was not approved. Nothing was destroyed.
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
        """Make the state bucket of the environment's account, or correct it.

        Args:
            approve: Receives what will be made and its plan, as `Approve`. It is called only if there are changes.

        Raises:
            UsageError: The environment keeps its states on this machine.
            MjctlError: The bucket was not made; the next run continues from there.
        """
        from mjctl.deploy.bootstrap import import_existing, move_state, prepare

        name = self.environment.name
        if self.environment.target == "local":
            raise UsageError(
                f"environment `{name}` needs no state bucket: its states stay on this machine",
                where=f"configs/{name}.yaml: target local",
                hint="name one whose target is aws or sandbox",
            )
        operation = self._operation("bootstrap")
        wanted = prepare(self.workspace, self.environment)
        with operation.locked([wanted.desired.stack]):
            # Prepare again: another run may have finished while this one waited.
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
        """Read what the regions of `result` publish, without those that are not up."""
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
                hint=f"its regions: {', '.join(self.environment.regions)}",
            )

    def _check_machine(self, regions: Sequence[str]) -> None:
        """Stop before anything starts if this machine cannot run a local region.

        Raises:
            DependencyError: Something is missing; the message says what to install.
        """
        if self.environment.target == "local":
            from mjctl.local.layout import Layout
            from mjctl.local.unix_account import check_database_user

            folders = (self.workspace.region_dir(self.environment.name, region) for region in regions)
            check_database_user(Layout(folder) for folder in folders)

    def _deployed(self, regions: Sequence[str], *, named: bool) -> tuple[tuple[str, ...], list[UnitResult]]:
        """Return the regions that were ever wholly deployed, and a result for each other one.

        Regions that the caller has `named` are all returned: that one of them is not deployed is then an error.

        Raises:
            NotFoundError: None of the regions is deployed.
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
                hint=f"{command} {regions[0]}` brings up a region",
            )
        absent = []
        for region, stack in stacks.items():
            if region not in deployed:
                notes = (f"half deployed: {command} {region}` finishes it",) if stack.exists() else ()
                absent.append(UnitResult(region, UnitOutcome.NOT_DEPLOYED, notes=notes))
        return deployed, absent

    def _shared(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Return the stacks that exist once, if `regions` are all regions of the environment."""
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
    """Return the result of a rollback that was asked for: an apply that went through is no deploy."""
    went_through = result.outcome in (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED)
    return replace(result, outcome=UnitOutcome.ROLLED_BACK) if went_through else result
