"""Describes the plan and the report of a failover."""

from __future__ import annotations

from dataclasses import dataclass

from mjctl.clients.dns import RegionDns
from mjctl.clients.global_database import Copy, GlobalDatabase
from mjctl.fleet.failover import Traffic
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode


@dataclass(frozen=True)
class Step:
    """Describes one step of a failover.

    Attributes:
        step: `writer` (the move of the database's writer) or `traffic` (the move of players).
        outcome: `planned`, `unchanged`, `done`, `failed`, or `skipped` because the step before has failed.
        summary: One line for the operator.
    """

    step: str
    outcome: str
    summary: str


@dataclass(frozen=True)
class WriterMove:
    """Describes the planned move of the database's writer.

    Attributes:
        database: The global database before the move.
        to: The copy that becomes the writer.
        lossy: True if the move may lose rows that are not yet copied to the new writer.
        primary: The primary region, whose Lambda functions write to the database cluster of the primary region.
    """

    database: GlobalDatabase
    to: Copy
    lossy: bool
    primary: str

    @property
    def summary(self) -> str:
        """Return one line for the operator that describes the move of the writer and its risk of data loss."""
        how = "a failover, which loses rows that are not yet copied" if self.lossy else "a switchover without data loss"
        lag = lag_text(self.to)
        return f"writer of {self.database.name} from {self.database.writer} to {self.to.region} ({lag}) by {how}"


def lag_text(copy: Copy) -> str:
    """Return the lag of a copy behind the writer, as a text for the operator."""
    return "lag unknown" if copy.lag_ms is None else f"{copy.lag_ms:.0f} ms behind"


@dataclass(frozen=True)
class FailoverPlan:
    """Describes the planned steps of a failover, or of the return after a failover.

    Attributes:
        region: The region that players leave, or to which players return.
        takers: The regions that take the players, or () for a return.
        writer: The planned move of the database's writer, or None if the writer stays.
        database: The global database, or None if the database has one region only or if a failover does not move the
            writer.
        lossy: True if the region is lost, so the database and the game servers of the region may not answer.
    """

    region: str
    takers: tuple[Contract, ...] = ()
    writer: WriterMove | None = None
    database: GlobalDatabase | None = None
    lossy: bool = False

    @property
    def taker_names(self) -> tuple[str, ...]:
        """Return the names of the regions that take the players."""
        return tuple(contract.region for contract in self.takers)

    @property
    def summary(self) -> str:
        """Return one line for the operator that says from which region to which regions players move."""
        return f"players of {self.region} to {', '.join(self.taker_names)}"


@dataclass(frozen=True)
class FailoverReport:
    """Describes the result of a failover, or of the return after a failover.

    Attributes:
        action: `none` (nothing was changed), `closed`, `restored` or `failed`.
        region: The region that players leave, or to which players return.
        elsewhere: The regions to which the players of `region` are sent.
        traffic: The traffic of `region`, or None if the region did not answer.
        steps: The steps of the failover, each with its outcome.
        probes: The results of the health checks that ran after the failover.
        writer: The move of the database's writer, or None if the writer stayed.
        dns: For each region whether Route 53 includes it, or () for the target `local`.
        error: The reason why a step failed, or None if no step failed.
        healthy: True if DNS or the API sends players as planned, and the health checks after the failover passed.
    """

    action: str
    region: str
    elsewhere: tuple[str, ...]
    traffic: Traffic | None
    steps: tuple[Step, ...] = ()
    probes: tuple[CheckResult, ...] = ()
    writer: WriterMove | None = None
    dns: tuple[RegionDns, ...] = ()
    error: MjctlError | None = None
    healthy: bool = True

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of the command that shows this report."""
        if self.error is not None:
            return self.error.exit_code
        return ExitCode.OK if self.healthy else ExitCode.UNHEALTHY
