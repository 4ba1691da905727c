"""Text and JSON output of `mjctl failover`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mjctl.fleet.failover_report import lag_text

if TYPE_CHECKING:
    from rich.text import Text

    from mjctl.fleet.failover_report import FailoverReport, WriterMove

_WORDS = {
    "none": "nothing was changed",
    "closed": "takes no new matches",
    "restored": "takes matches again",
    "failed": "a step failed",
}


def shown(report: FailoverReport) -> tuple[Text, dict[str, object]]:
    """Return the report of a failover as text, and as an entry of the JSON document.

    The text and the entry contain the outcome, every step, the matches in the region that players leave, and whether
    DNS names each region.
    """
    from rich.text import Text

    from mjctl.cli.output.tables import counted, styled

    region, writer, traffic = report.region, report.writer, report.traffic
    lines = [styled((region, "bold"), f": {_WORDS[report.action]}")]
    lines += [styled(f"{step.step}: {step.outcome}, {step.summary}") for step in report.steps]
    if writer:
        copies = [copy for copy in writer.database.copies if not copy.writes]
        lines += [styled(f"copy in {copy.region}: {lag_text(copy)}") for copy in copies]
    if report.elsewhere:
        verb = "would be" if report.action == "none" else "are"
        lines.append(styled(f"players {verb} sent to {', '.join(report.elsewhere)}"))
    if traffic:
        lines.append(
            styled(f"{counted(traffic.matches, 'match')} with {counted(traffic.players, 'player')} in {region}")
        )
    else:
        lines.append(styled(f"{region} does not answer, so the number of its matches is unknown"))
    lines += [styled(answer.summary) for answer in report.dns]
    moved = any(step.step == "writer" and step.outcome in ("planned", "done") for step in report.steps)
    note = _afterwards(writer) if writer and moved else None
    if note:
        lines.append(styled(note))
    lines += [styled(f"{probe.region} {probe.name}: {probe.status}, {probe.summary}") for probe in report.probes]
    entry: dict[str, object] = {
        "region": region,
        "action": report.action,
        "elsewhere": list(report.elsewhere),
        "traffic": {"matches": traffic.matches, "players": traffic.players} if traffic else None,
        "steps": [asdict(step) for step in report.steps],
        "writer": _writer_data(writer) if writer else None,
        "note": note,
        "dns": [answer.to_json() for answer in report.dns],
        "probes": [
            {"region": probe.region, "name": probe.name, "status": probe.status, "summary": probe.summary}
            for probe in report.probes
        ],
    }
    return Text("\n").join(lines), entry


def _writer_data(writer: WriterMove) -> dict[str, object]:
    return {
        "global_cluster": writer.database.name,
        "from": writer.database.writer,
        "to": writer.to.region,
        "data_loss_allowed": writer.lossy,
        "copies": [
            {"region": copy.region, "in_sync": copy.in_sync, "lag_ms": copy.lag_ms}
            for copy in writer.database.copies
            if not copy.writes
        ],
    }


def _afterwards(writer: WriterMove) -> str:
    """Return advice for an operator after a move of the database's writer.

    The last deploy gave each Lambda function the two addresses of the database in its region. A function whose address
    accepts no writes changes to the other address.
    """
    home = writer.to.region == writer.primary
    setting = "remove aws.database.writer_region" if home else f"set aws.database.writer_region: {writer.to.region}"
    return (
        f"the functions in {writer.database.writer} and {writer.to.region} find the new writer without a deploy; each "
        "function fails once, and its events are processed again after a minute. Before the next deploy, "
        f"{setting} in the environment's file, so that new functions try the new writer first (docs/aws.md, Leaving a "
        "region)"
    )
