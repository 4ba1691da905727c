"""What the operator commands share: the contracts they work on, and how a failure in one region of several ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
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
from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.clients.regions import RegionOutcome
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

    def in_each_region(self, work: Callable[[Contract], Awaitable[T]]) -> list[RegionOutcome[T]]:
        """Do `work` in every region at the same time. An MjctlError of one region does not stop the others."""
        import asyncio

        from mjctl.clients.regions import in_each_region

        return asyncio.run(in_each_region(self.contracts, work, concurrency=self.environment.concurrency))

    @property
    def scope(self) -> str:
        """Environment and regions in words, for questions and messages."""
        return f"{self.environment.name}: {', '.join(self.contracts)}"


def conclude(session: Session, outcomes: Sequence[RegionOutcome[Any]], renderable: Any, data: object = None) -> None:
    """Print what the regions gave (`data` is the JSON form, by default that of `regions_document`), then what failed.

    Raises:
        MjctlError: the error of the first region, when no region is done; nothing was printed on stdout then.
        Exit: PARTIAL, when some are done and others failed.
    """
    errors = [(outcome.region, outcome.error) for outcome in outcomes if outcome.error is not None]
    if errors and len(errors) == len(outcomes):
        _report_errors(session, errors[1:])
        raise errors[0][1]
    session.emit(renderable, data=regions_document(outcomes) if data is None else data)
    if errors:
        _report_errors(session, errors)
        raise Exit(ExitCode.PARTIAL)


def regions_document(
    outcomes: Sequence[RegionOutcome[Any]], fields: Callable[[Any], Mapping[str, object]] = asdict
) -> dict[str, object]:
    """`{"regions": [{"region": ..., <fields>} or {"region": ..., "error": {...}}]}`; a dataclass gives its fields."""
    return {
        "regions": [
            {"region": outcome.region, **fields(outcome.value)} for outcome in outcomes if outcome.error is None
        ]
        + _errors(outcomes)
    }


def rows_document(
    name: str, outcomes: Sequence[RegionOutcome[Any]], fields: Callable[[Any], Mapping[str, object]] = asdict
) -> dict[str, object]:
    """`{<name>: [{"region": ..., <fields>}], "errors": [...]}` for services that answer with a list a region."""
    rows = [{"region": outcome.region, **fields(row)} for outcome in outcomes for row in outcome.value or ()]
    return {name: rows, "errors": _errors(outcomes)}


def _errors(outcomes: Sequence[RegionOutcome[Any]]) -> list[dict[str, object]]:
    from mjctl.cli.output.run_view import error_data

    return [
        {"region": outcome.region, "error": error_data(outcome.error)}
        for outcome in outcomes
        if outcome.error is not None
    ]


def _report_errors(session: Session, errors: Iterable[tuple[str, MjctlError]]) -> None:
    from mjctl.cli.output.tables import styled, whole_line

    for region, error in errors:
        session.err.print(whole_line((f"{region}: ", "bold red"), str(error)), soft_wrap=True)
        if error.hint:
            session.err.print(styled((f"  next: {error.hint}", "dim")), soft_wrap=True)
