"""Helpers of the operator commands: they read the contracts, and they report regions that failed beside others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

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
    """The deployed regions a command was pointed at. Streams are in `session`."""

    def __init__(
        self,
        env: str,
        region: list[str] | None,
        output: OutputFormat,
        *,
        all_regions: bool = False,
        must_be_named: bool = False,
    ) -> None:
        """Read the contracts of the regions.

        Args:
            must_be_named: refuse a command line with neither --region nor --all-regions.
        """
        self.session: Session = open_session(output)
        workspace, environment = open_environment(env)
        self.workspace: Workspace = workspace
        self.environment: Environment = environment
        choose = wanted_regions if must_be_named else chosen_regions
        chosen = choose(environment, region, all_regions)
        # All regions that the command line asks for, those that are not deployed among them.
        self.regions = chosen or tuple(environment.regions)
        # `--all-regions` means every deployed region: a region that is not deployed cannot be operated.
        self._asked: Sequence[str] = () if all_regions else chosen
        self.contracts: Mapping[str, Contract] = {}
        self.read_contracts()

    def read_contracts(self) -> None:
        """Read the contracts of the regions again: a deploy may have changed addresses and ports.

        Raises:
            As `deployed_contracts`.
        """
        from mjctl.terraform.contracts import deployed_contracts

        self.contracts = deployed_contracts(self.workspace, self.environment, self._asked)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine to its end. Returns what it returns."""
        return asyncio.run(work)

    def in_each_region(self, work: Callable[[Contract], Awaitable[T]]) -> list[RegionOutcome[T]]:
        """Run `work` in every region, in several at a time. Returns the outcomes in the order of the regions."""
        from mjctl.clients.regions import in_each_region

        return self.run(in_each_region(self.contracts, work, concurrency=self.environment.concurrency))

    def each_that_has(self, work: Callable[[Contract], Awaitable[T]]) -> list[RegionOutcome[T]]:
        """Run `work` in every region. Returns the regions that have what it looks for, or all when none has."""
        outcomes = self.in_each_region(work)
        found = [outcome for outcome in outcomes if not isinstance(outcome.error, NotFoundError)]
        return found or outcomes

    def contract_of(self, region: str, env: str | None = None) -> Contract:
        """Return the contract of another deployed region, of this environment or of `env`.

        Raises:
            NotFoundError: the environment has no such region, or it is not deployed.
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
        """Return a function that runs the health checks of these names over a region, or over a copy of it."""

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
        """Environment and regions in words, for questions and messages."""
        return f"{self.environment.name}: {', '.join(self.contracts)}"


def conclude(
    session: Session,
    outcomes: Sequence[RegionOutcome[Any]],
    renderable: Any,
    fields: Callable[[Any], Mapping[str, object]] = asdict,
    **others: Any,
) -> None:
    """Print what the regions gave, then what failed.

    Args:
        fields: Returns the fields of a region's entry in the JSON document; by default those of a dataclass.
        others: Fields of the document beside the regions.

    Raises:
        MjctlError: the command failed in every region. The error is that of the first region, and its `regions` has the
            errors of all regions. Nothing was printed on stdout.
        Exit: PARTIAL, when some are done and others failed.
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
