"""The plan and the report of a failover."""

from __future__ import annotations

from dataclasses import dataclass

from mjctl.clients.dns import RegionDns
from mjctl.fleet.failover import Traffic
from mjctl.fleet.failover_writer import Copy, GlobalDatabase
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode


@dataclass(frozen=True)
class Step:
    """`outcome`: planned, unchanged, done, failed, or skipped because the step before failed."""

    step: str
    outcome: str
    summary: str


@dataclass(frozen=True)
class WriterMove:
    """The current and the planned region of the database's writer.

    Attributes:
        lossy: Rows that are not yet copied may be lost.
        primary: The region whose functions expect to write.
    """

    database: GlobalDatabase
    to: Copy
    lossy: bool
    primary: str

    @property
    def summary(self) -> str:
        how = "failover, rows not yet copied are lost" if self.lossy else "switchover, no row is lost"
        lag = lag_text(self.to)
        return f"writer of {self.database.name} from {self.database.writer} to {self.to.region} ({lag}): {how}"


def lag_text(copy: Copy) -> str:
    """Return how far a copy is behind the writer, in words."""
    return "lag unknown" if copy.lag_ms is None else f"{copy.lag_ms:.0f} ms behind"


@dataclass(frozen=True)
class FailoverPlan:
    """The plan of a failover, or of the return from one.

    Attributes:
        takers: The regions that get the players; () if players come back.
        writer: The move of the database's writer; None if it does not move.
        database: The global database; None if the database has one region only.
        lossy: The region is gone: its database, and what it carries, may not answer.
    """

    region: str
    takers: tuple[Contract, ...] = ()
    writer: WriterMove | None = None
    database: GlobalDatabase | None = None
    lossy: bool = False

    @property
    def taker_names(self) -> tuple[str, ...]:
        return tuple(contract.region for contract in self.takers)

    @property
    def summary(self) -> str:
        return f"players of {self.region} to {', '.join(self.taker_names)}"


@dataclass(frozen=True)
class FailoverReport:
    """The report of a failover, or of the return from one.

    Attributes:
        action: `none`, `closed`, `restored` or `failed`.
        elsewhere: The regions that players are sent to.
        traffic: What is played in the region; None if the region did not answer.
        probes: The checks that ran after the change.
        dns: Whether DNS names each region; () without DNS.
        error: Why a step failed.
        healthy: Players can play where they are sent to.
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
        if self.error is not None:
            return self.error.exit_code
        return ExitCode.OK if self.healthy else ExitCode.UNHEALTHY
