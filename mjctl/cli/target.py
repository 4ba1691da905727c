"""Helpers of the operator commands: they read the contracts and report the regions in which a command failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from mjctl import event_loop
from mjctl.cli.session import (
    Exit,
    OutputFormat,
    Session,
    chosen_regions,
    open_environment,
    open_session,
    wanted_regions,
)
from mjctl.models.errors import MjctlError, NotFoundError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.clients.regions import RegionOutcome
    from mjctl.models.check import CheckResult
    from mjctl.models.contract import Contract
    from mjctl.models.environment import Environment
    from mjctl.models.workspace import Workspace

T = TypeVar("T")


class Target:
    """Holds the deployed regions that a command works on.

    Attributes:
        session: The streams of this process.
        workspace: The project's folders.
        environment: The environment that --env names.
        regions: All regions that the command line selects, including regions that are not deployed.
        contracts: The contract of each deployed region, by the region's name.
    """

    def __init__(
        self,
        env: str,
        region: list[str] | None,
        output: OutputFormat,
        *,
        all_regions: bool = False,
        must_be_named: bool = False,
    ) -> None:
        """Read the environment and the contracts of the regions.

        Args:
            env: name of the environment.
            region: values of --region.
            output: format of the result.
            all_regions: whether --all-regions was given.
            must_be_named: refuse a command line with neither --region nor --all-regions.

        Raises:
            ConfigError: the environment's file is invalid.
            NotFoundError: the environment or a region does not exist, or no region is deployed.
            UsageError: --region and --all-regions were both given, or `must_be_named` is true and neither was given.
            UnreachableError, PermissionDeniedError: a Terraform state in the state bucket cannot be read.
        """
        self.session: Session = open_session(output)
        workspace, environment = open_environment(env)
        self.workspace: Workspace = workspace
        self.environment: Environment = environment
        choose = wanted_regions if must_be_named else chosen_regions
        chosen = choose(environment, region, all_regions)
        self.regions = chosen or tuple(environment.regions)
        # With --all-regions, a region that is not deployed is left out, because a command cannot operate the region.
        self._asked: Sequence[str] = () if all_regions else chosen
        self.contracts: Mapping[str, Contract] = {}
        self.read_contracts()

    def read_contracts(self) -> None:
        """Read the contracts of the regions. Call `read_contracts` again after a deploy, which may change addresses.

        Raises:
            NotFoundError: a selected region is not deployed, or no region is deployed.
            UnreachableError, PermissionDeniedError: a Terraform state in the state bucket cannot be read.
        """
        from mjctl.terraform.contracts import deployed_contracts

        self.contracts = deployed_contracts(self.workspace, self.environment, self._asked)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result."""
        return event_loop.run(work)

    def in_each_region(self, work: Callable[[Contract], Awaitable[T]]) -> list[RegionOutcome[T]]:
        """Run `work` in every region and return the outcomes in the order of the regions.

        The environment's setting `concurrency` limits in how many regions `work` runs at the same time.
        """
        from mjctl.clients.regions import in_each_region

        return self.run(in_each_region(self.contracts, work, concurrency=self.environment.concurrency))

    def each_that_has(self, work: Callable[[Contract], Awaitable[T]]) -> list[RegionOutcome[T]]:
        """Run `work` in every region and drop the outcomes of regions that do not have the requested object.

        Returns:
            The outcomes without NotFoundErrors, or all outcomes if every region ended with a NotFoundError.
        """
        outcomes = self.in_each_region(work)
        relevant = [outcome for outcome in outcomes if not isinstance(outcome.error, NotFoundError)]
        return relevant or outcomes

    def contract_of(self, region: str, env: str | None = None) -> Contract:
        """Return the contract of a deployed region of this environment, or of the environment `env`.

        Raises:
            NotFoundError: the environment has no such region, or the region is not deployed.
        """
        from mjctl.terraform import contracts

        workspace, environment = open_environment(env) if env is not None else (self.workspace, self.environment)
        if region not in environment.regions:
            raise NotFoundError(
                f"environment `{environment.name}` has no region {region}",
                hint=f"its regions: {', '.join(environment.regions)}",
            )
        return contracts.deployed_contracts(workspace, environment, (region,))[region]

    def checks(self, *only: str) -> Callable[[Contract], Awaitable[Sequence[CheckResult]]]:
        """Return a function that runs health checks on a region, or on a restored copy of the region.

        Args:
            only: globs that select the checks by name.
        """

        async def run(contract: Contract) -> Sequence[CheckResult]:
            from mjctl.health.runner import run_health

            private = self.workspace.region_dir(self.environment.name, contract.region) / "secrets"
            report = await run_health(
                self.environment.name, {contract.region: contract}, {contract.region: private}, only=only
            )
            return report.results

        return run

    @property
    def scope(self) -> str:
        """Return the environment and its regions as text for questions and messages: `prod: eu-west-1, us-east-1`."""
        return f"{self.environment.name}: {', '.join(self.contracts)}"


def conclude(
    session: Session,
    outcomes: Sequence[RegionOutcome[Any]],
    renderable: Any,
    fields: Callable[[Any], Mapping[str, object]] = asdict,
    **others: Any,
) -> None:
    """Print the results of the regions on stdout, then the errors of the regions that failed on stderr.

    Args:
        session: The streams of this process.
        outcomes: The result or the error of each region.
        renderable: The results as text for people.
        fields: Returns the fields of a region's entry in the JSON document from the region's result; None if the entry
            has the fields of the result's dataclass.
        others: Fields of the JSON document beside the regions.

    Raises:
        MjctlError: The command failed in every region, and nothing was printed on stdout. The error of the first region
            is raised, and its attribute `regions` has the errors of all regions.
        Exit: PARTIAL, if the command succeeded in some regions and failed in others.
    """
    errors = [(outcome.region, outcome.error) for outcome in outcomes if outcome.error is not None]
    if errors and len(errors) == len(outcomes):
        _report_errors(session, errors[1:])
        first = errors[0][1]
        first.regions = dict(errors)
        raise first
    entries: list[dict[str, object]] = []
    if session.output is OutputFormat.JSON:
        entries = [_entry(outcome, fields) for outcome in outcomes]
    session.emit(renderable, regions=entries, **others)
    if errors:
        _report_errors(session, errors)
        raise Exit(ExitCode.PARTIAL)


def _entry(outcome: RegionOutcome[Any], fields: Callable[[Any], Mapping[str, object]]) -> dict[str, object]:
    if outcome.error is None:
        return {"region": outcome.region, **fields(outcome.value)}
    from mjctl.cli.output.documents.envelope import error_data

    return {"region": outcome.region, "error": error_data(outcome.error)}


def _report_errors(session: Session, errors: Iterable[tuple[str, MjctlError]]) -> None:
    from mjctl.cli.output.tables import styled, whole_line

    for region, error in errors:
        session.err.print(whole_line((f"{region}: ", "bold red"), str(error)), soft_wrap=True)
        if error.hint:
            session.err.print(styled((f"  next: {error.hint}", "dim")), soft_wrap=True)
