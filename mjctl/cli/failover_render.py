"""What `mjctl failover` says it does and has done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mjctl.cli.regions import Target
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
    """Where the database's writer is and where it is to go."""

    database: GlobalDatabase
    to: Copy
    lossy: bool

    @property
    def summary(self) -> str:
        how = "failover, rows not yet copied are lost" if self.lossy else "switchover, no row is lost"
        lag = "lag unknown" if self.to.lag_ms is None else f"{self.to.lag_ms:.0f} ms behind"
        return f"writer of {self.database.name} from {self.database.writer} to {self.to.region} ({lag}): {how}"


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
) -> None:
    """Print the outcome, every step of it, and what is played in the region; `traffic` None: it did not say."""
    from rich.text import Text

    lines = [Text.assemble((region, "bold"), f": {_WORDS[action]}")]
    lines += [Text(f"{one.step}: {one.outcome}, {one.summary}") for one in steps]
    if elsewhere:
        lines.append(Text(f"players {'would be' if action == 'none' else 'are'} sent to {', '.join(elsewhere)}"))
    if traffic:
        lines.append(Text(f"{traffic.matches} matches with {traffic.players} players are played in {region}"))
    else:
        lines.append(Text(f"{region} does not say what is played there"))
    if writer:
        lines.append(Text(_afterwards(writer, region)))
    lines += [Text(f"{one.region} {one.name}: {one.status}, {one.summary}") for one in probes]
    document = {
        "action": action,
        "region": region,
        "elsewhere": list(elsewhere),
        "traffic": {"matches": traffic.matches, "players": traffic.players} if traffic else None,
        "steps": [asdict(one) for one in steps],
        "writer": _writer_data(writer) if writer else None,
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


def _afterwards(writer: WriterMove, region: str) -> str:
    lags = ", ".join(
        f"{one.region} {'unknown' if one.lag_ms is None else f'{one.lag_ms:.0f} ms'}"
        for one in writer.database.copies
        if not one.writes and one.region != region
    )
    told = f"lag of the copies: {lags}\n" if lags else ""
    if writer.to.region == region:
        return told + f"functions of {region} write to their own cluster again"
    return told + (
        "until the writer is back, functions keep the database addresses Terraform gave them: see `failover` in "
        "docs/aws.md"
    )
