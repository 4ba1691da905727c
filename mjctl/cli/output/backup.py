"""Text output of the commands of `mjctl backup`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mjctl.cli.output.printable import printable
from mjctl.cli.output.tables import Column, DataTable, counted, human_age, human_bytes, plain_table, styled

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from mjctl.backup.managed import ManagedRestore
    from mjctl.clients.regions import RegionOutcome
    from mjctl.models.backup import BackupEntry, Comparison, DrillReport, Manifest, RestorePlan, RestoreReport

Outcomes = Sequence["RegionOutcome[Any]"]


def region_lines(outcomes: Outcomes, text: Callable[[Any], str]) -> str:
    """Return a line `<region>: <text>` for each region without an error.

    Args:
        text: returns the line for the result of a region.
    """
    return "\n".join(
        printable(f"{outcome.region}: {text(outcome.value)}") for outcome in outcomes if outcome.error is None
    )


def created_lines(outcomes: Outcomes) -> str:
    """Return a line for each created backup: its id, the number of records and the size."""

    def line(manifest: Manifest) -> str:
        counts = ", ".join(f"{count} {_UNITS[kind]}" for kind, count in manifest.counts().items())
        size = f"{human_bytes(manifest.raw_bytes)} in {human_bytes(manifest.stored_bytes)}"
        return f"{manifest.backup_id}  {counts}; {size}"

    return region_lines(outcomes, line)


_UNITS = {"database": "rows", "table": "items", "cache": "keys"}


def planned_table(outcomes: Outcomes) -> DataTable:
    """Return a table of the parts that a backup would contain."""
    table = plain_table("REGION", "KIND", "PART", ">RECORDS")
    for outcome in outcomes:
        for part in outcome.value or ():
            table.add_row(outcome.region, part.kind, part.name, str(part.records))
    return table


def backup_table(outcomes: Outcomes) -> DataTable:
    """Return a table of the portable backups of each region."""
    table = DataTable(
        Column("REGION", 2),
        Column("BACKUP"),
        Column("STATE"),
        Column("MADE", 1, right=True),
        Column("ROWS", 3, right=True),
        Column("ITEMS", 4, right=True),
        Column("KEYS", 5, right=True),
        Column("SIZE", 2, right=True),
        Column("REMARK", folds=True),
    )
    for outcome in outcomes:
        for entry in outcome.value or ():
            age = human_age(entry.created_at)
            counts = entry.signed.manifest.counts() if entry.signed else {}
            cells = [str(counts.get(kind, "-")) for kind in _UNITS]
            remark = entry.problem or ("being written" if entry.in_use else "")
            table.add_row(
                outcome.region, entry.backup_id, _state(entry), age, *cells, human_bytes(entry.size_bytes), remark
            )
    return table


_STATE_STYLES = {"complete": "green", "damaged": "red", "incomplete": "yellow", "in progress": "yellow"}


def _state(entry: BackupEntry) -> tuple[str, str]:
    if entry.opens is False:
        return "cannot be opened", "red"
    return entry.state, _STATE_STYLES[entry.state]


def shown(outcomes: Outcomes) -> Group:
    """Return the facts and the parts of one backup of each region."""
    from rich.console import Group

    blocks: list[RenderableType] = []
    for outcome in outcomes:
        if outcome.value is not None:
            blocks += _shown(outcome.region, outcome.value)
    return Group(*blocks)


def _shown(region: str, entry: BackupEntry) -> list[RenderableType]:
    blocks: list[RenderableType] = [styled((f"{region}: {entry.backup_id}, {entry.state}", "bold"))]
    if entry.problem:
        blocks.append(styled((entry.problem, "red")))
    if entry.signed is None:
        return blocks
    manifest = entry.signed.manifest
    database = manifest.database
    schema = [("schema", f"migration {database['migration']}, PostgreSQL {database['server']}")] if database else []
    facts = (
        ("made", f"{human_age(manifest.created_at)} ({manifest.created_at}) by {manifest.created_by}"),
        ("of", f"{manifest.project}, {manifest.environment}, {manifest.region}"),
        *schema,
        ("opens with", ", ".join(f"{key.key_id} ({key.region})" for key in entry.signed.keys)),
        ("size", f"{human_bytes(manifest.stored_bytes)} of {human_bytes(manifest.raw_bytes)}"),
    )
    about = DataTable(Column("FACT"), Column("VALUE", folds=True), headless=True)
    for fact in facts:
        about.add_row(*fact)
    blocks.append(about)
    table = DataTable(
        Column("KIND", 1),
        Column("PART"),
        Column("RECORDS", right=True),
        Column("BYTES", 2, right=True),
        Column("STORED", 3, right=True),
        Column("OBJECTS", 4, right=True),
    )
    for part in manifest.parts:
        stored = human_bytes(sum(chunk.size for chunk in part.chunks))
        sizes = (human_bytes(part.raw_bytes), stored, str(len(part.chunks)))
        table.add_row(part.kind, part.name, str(part.records), *sizes)
    return [*blocks, table]


def verify_lines(outcomes: Outcomes) -> Group:
    """Return a line for each verified backup, followed by the problems of that backup."""
    from rich.console import Group

    lines: list[RenderableType] = []
    for outcome in outcomes:
        for report in outcome.value or ():
            good = not report.problems
            read = f"{counted(report.objects, 'object')}, {human_bytes(report.bytes)} in {report.seconds:.1f} s"
            verdict = f"whole: {counted(report.records, 'record')}" if good else "DAMAGED"
            style = "green" if good else "red bold"
            lines.append(styled(f"{outcome.region}: {report.backup_id} ", (verdict, style), f", {read}"))
            lines += [styled(f"  {problem.object}: {problem.what}") for problem in report.problems]
    return Group(*lines)


def restore_plan(plan: RestorePlan) -> Group:
    """Return the planned steps of a restore as a table, with notes for the operator."""
    from rich.console import Group

    table = DataTable(
        Column("ACTION"),
        Column("KIND", 3),
        Column("PART"),
        Column("TARGET", 4),
        Column("THERE NOW", 1, right=True),
        Column("IN THE BACKUP", 1, right=True),
    )
    for step in plan.steps:
        style = {"replace": "yellow", "fill": "green", "create": "green"}[step.action]
        existing = "-" if step.existing is None else str(step.existing)
        counts = existing, str(step.part.records)
        table.add_row((step.action, style), step.part.kind, step.part.name, step.target, *counts)
    head = styled((f"{plan.backup_id} ({plan.source}) into {plan.target}", "bold"))
    return Group(head, table, *(styled((f"note: {note}", "dim")) for note in plan.notes))


def restore_report(report: RestoreReport) -> Group:
    """Return the comparison of the restored data with the backup, and the verdict."""
    from rich.console import Group

    verdict = ("equal", "green bold") if report.equal else ("DIFFERENT", "red bold")
    head = styled(f"{report.backup_id} into {report.target}: ", verdict, f", {report.seconds:.1f} s")
    return Group(_comparisons(report.comparisons), head)


def _comparisons(compared: Sequence[Comparison]) -> DataTable:
    table = DataTable(
        Column("KIND", 2),
        Column("PART"),
        Column("IN THE BACKUP", 1, right=True),
        Column("EXPIRED", 3, right=True),
        Column("EXPIRING", 3, right=True),
        Column("FOUND", 1, right=True),
        Column("RESULT"),
        Column("SECONDS", 4, right=True),
    )
    for item in compared:
        verdict = ("equal", "green") if item.equal else ("DIFFERENT", "red")
        counts = (item.archived, item.expired, item.expiring, item.restored)
        table.add_row(item.kind, item.name, *map(str, counts), verdict, f"{item.seconds:.1f}")
    return table


def prune_table(outcomes: Outcomes) -> DataTable:
    """Return a table of the decisions about each backup: keep or remove, and why."""
    table = DataTable(
        Column("REGION", 1),
        Column("BACKUP"),
        Column("DECISION"),
        Column("SIZE", 2, right=True),
        Column("WHY", folds=True),
    )
    for outcome in outcomes:
        for item in outcome.value.decisions if outcome.value is not None else ():
            verdict = ("keep", "green") if item.keep else ("remove", "red")
            size = human_bytes(item.entry.size_bytes)
            table.add_row(outcome.region, item.entry.backup_id, verdict, size, ", ".join(item.reasons))
    return table


def drill_report(outcomes: Outcomes) -> Group:
    """Return the result of each region's drill: comparisons, checks, errors and the verdict."""
    from rich.console import Group

    blocks: list[RenderableType] = []
    for outcome in outcomes:
        if outcome.value is not None:
            blocks += _drill(outcome.region, outcome.value)
    return Group(*blocks)


def _drill(region: str, report: DrillReport) -> list[RenderableType]:
    styles = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
    checks = [
        styled("  ", (check.status.value, styles[check.status]), f" {check.name}: {check.summary}")
        for check in report.checks
    ]
    verdict = ("PROVEN", "green bold") if report.proven else ("NOT PROVEN", "red bold")
    took = ", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items())
    removed = "the copy is removed" if report.removed else f"the copy {report.scratch} is still there"
    error = [styled((f"  {report.error}", "red"))] if report.error else []
    head = styled(f"{region}: {report.backup_id} ", verdict, f", {removed} ({took})")
    samples = [
        styled(
            f"  {item.kind}/{item.name}: {item.same} of {counted(item.sampled, 'sampled item')} equal the live table"
        )
        for item in report.comparisons
        if item.sampled
    ]
    open_parts = [styled((f"  not proven: {part}", "red")) for part in report.not_proven]
    return [_comparisons(report.comparisons), *samples, *checks, *open_parts, *error, head]


def managed_table(outcomes: Outcomes) -> DataTable:
    """Return a table of the backups that AWS keeps of each region."""
    table = DataTable(
        Column("REGION", 4),
        Column("SERVICE", 2),
        Column("RESOURCE", 3),
        Column("BACKUP"),
        Column("STATE", 1),
        Column("MADE", 1),
        Column("SIZE", 5, right=True),
    )
    for outcome in outcomes:
        for item in outcome.value or ():
            age = human_age(item.created_at)
            size = "-" if item.size_bytes is None else human_bytes(item.size_bytes)
            table.add_row(outcome.region, item.service, item.resource, item.backup_id, item.state, age, size)
    return table


def managed_restores(restores: Sequence[ManagedRestore]) -> DataTable:
    """Return a table of the restores that AWS has started, or would start."""
    table = plain_table("SERVICE", "FROM", "INTO")
    for item in restores:
        table.add_row(item.service, item.source, item.target)
    return table


def lost_backup_lines(lost: Mapping[str, Sequence[BackupEntry]]) -> list[str]:
    """Return a warning about the backups that a destroy makes unreadable.

    Args:
        lost: region -> backups that only the key of the region can open.

    Returns:
        A heading for each region, a line for each backup and one line of advice, or [] if no backup is lost.
    """
    lines: list[str] = []
    for region, entries in lost.items():
        lines.append(
            f"{region}: its key is deleted too, so {counted(len(entries), 'backup')} can never be opened again:"
        )
        lines += [f"  {entry.backup_id}" for entry in entries]
    if lost:
        lines.append("`mjctl backup create --copy-to REGION` makes a backup that the key of REGION can open, too")
    return lines
