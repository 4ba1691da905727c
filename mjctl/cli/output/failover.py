"""What `mjctl failover` says it does and has done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.clients.dns import RegionDns
    from mjctl.fleet.failover import Traffic
    from mjctl.fleet.failover_writer import Copy, GlobalDatabase
    from mjctl.models.check import CheckResult


@dataclass(frozen=True)
class Step:
    """`outcome`: planned, unchanged, done, failed, or skipped because the step before failed."""

    step: str
    outcome: str
    summary: str


@dataclass(frozen=True)
class WriterMove:
    """Where the database's writer is and where it is to go; `primary`: the region whose functions expect to write."""

    database: GlobalDatabase
    to: Copy
    lossy: bool
    primary: str

    @property
    def summary(self) -> str:
        how = "failover, rows not yet copied are lost" if self.lossy else "switchover, no row is lost"
        return (
            f"writer of {self.database.name} from {self.database.writer} to {self.to.region} ({_lag(self.to)}): {how}"
        )


def _lag(copy: Copy) -> str:
    return "lag unknown" if copy.lag_ms is None else f"{copy.lag_ms:.0f} ms behind"


_WORDS = {
    "none": "nothing was changed",
    "closed": "takes no new matches",
    "restored": "takes matches again",
    "failed": "a step failed",
}


def emit(
    target: Target,
    action: str,
    region: str,
    elsewhere: Sequence[str],
    traffic: Traffic | None,
    steps: Sequence[Step] = (),
    probes: Sequence[CheckResult] = (),
    *,
    writer: WriterMove | None = None,
    dns: Sequence[RegionDns] = (),
) -> None:
    """Print the outcome, every step of it, what is played in the region, and whether DNS names each region.

    Args:
        traffic: What is played in the region. None if the region did not answer.
    """
    from rich.text import Text

    from mjctl.cli.output.tables import counted, styled

    lines = [styled((region, "bold"), f": {_WORDS[action]}")]
    lines += [styled(f"{one.step}: {one.outcome}, {one.summary}") for one in steps]
    if writer:
        lines += [styled(f"copy in {one.region}: {_lag(one)}") for one in writer.database.copies if not one.writes]
    if elsewhere:
        lines.append(styled(f"players {'would be' if action == 'none' else 'are'} sent to {', '.join(elsewhere)}"))
    if traffic:
        lines.append(
            styled(f"{counted(traffic.matches, 'match')} with {counted(traffic.players, 'player')} in {region}")
        )
    else:
        lines.append(styled(f"{region} does not say what is played there"))
    lines += [styled(one.summary) for one in dns]
    moved = any(one.step == "writer" and one.outcome in ("planned", "done") for one in steps)
    note = _afterwards(writer) if writer and moved else None
    if note:
        lines.append(styled(note))
    lines += [styled(f"{one.region} {one.name}: {one.status}, {one.summary}") for one in probes]
    document = {
        "action": action,
        "region": region,
        "elsewhere": list(elsewhere),
        "traffic": {"matches": traffic.matches, "players": traffic.players} if traffic else None,
        "steps": [asdict(one) for one in steps],
        "writer": _writer_data(writer) if writer else None,
        "note": note,
        "dns": [one.to_json() for one in dns],
        "probes": [
            {"region": one.region, "name": one.name, "status": one.status, "summary": one.summary} for one in probes
        ],
    }
    target.session.emit(Text("\n").join(lines), data=document)


def _writer_data(writer: WriterMove) -> dict[str, object]:
    return {
        "global_cluster": writer.database.name,
        "from": writer.database.writer,
        "to": writer.to.region,
        "data_loss_allowed": writer.lossy,
        "copies": [
            {"region": one.region, "in_sync": one.in_sync, "lag_ms": one.lag_ms}
            for one in writer.database.copies
            if not one.writes
        ],
    }


def _afterwards(writer: WriterMove) -> str:
    """A region's functions reach the database by the address that the last deploy gave them."""
    home = writer.to.region == writer.primary
    setting = "remove aws.database.writer_region" if home else f"set aws.database.writer_region: {writer.to.region}"
    return (
        f"until the next deploy, functions in {writer.database.writer} and {writer.to.region} cannot write to "
        f"PostgreSQL; events wait in the queue `persistence` and its dead letters. Now {setting} in the environment's "
        "file, run `mjctl deploy`, then `mjctl queue redrive persistence --all-regions` (docs/aws.md, Leaving a region)"
    )
