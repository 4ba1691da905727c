"""How the backup commands look to people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mjctl.cli.tables import counted, human_bytes, human_seconds, plain_table

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from mjctl.aws.regions import RegionOutcome
    from mjctl.backup.managed import ManagedRestore
    from mjctl.models.backup import BackupEntry, Comparison, DrillReport, Manifest, RestorePlan, RestoreReport

Outcomes = Sequence["RegionOutcome[Any]"]


def region_lines(outcomes: Outcomes, text: Callable[[Any], str]) -> str:
    """`<region>: <text>`, a line a region that has a value."""
    return "\n".join(f"{outcome.region}: {text(outcome.value)}" for outcome in outcomes if outcome.error is None)


def created_lines(outcomes: Outcomes) -> str:
    def line(manifest: Manifest) -> str:
        counts = ", ".join(f"{count} {_UNITS[kind]}" for kind, count in manifest.counts().items())
        size = f"{human_bytes(manifest.raw_bytes)} in {human_bytes(manifest.stored_bytes)}"
        return f"{manifest.backup_id}  {counts}; {size}"

    return region_lines(outcomes, line)


_UNITS = {"database": "rows", "table": "items", "cache": "keys"}


def planned_table(outcomes: Outcomes) -> Table:
    table = plain_table("REGION", "KIND", "PART", ">RECORDS")
    for outcome in outcomes:
        for part in outcome.value or ():
            table.add_row(outcome.region, part.kind, part.name, str(part.records))
    return table


def backup_table(outcomes: Outcomes) -> Table:
    from datetime import UTC, datetime

    table = plain_table("REGION", "BACKUP", "STATE", ">AGE", ">ROWS", ">ITEMS", ">KEYS", ">SIZE", "")
    for outcome in outcomes:
        for entry in outcome.value or ():
            age = human_seconds((datetime.now(UTC) - entry.created_at).total_seconds())
            counts = entry.signed.manifest.counts() if entry.signed else {}
            cells = [str(counts.get(kind, "-")) for kind in _UNITS]
            remark = entry.problem or ("being written" if entry.in_use else "")
            table.add_row(
                outcome.region, entry.backup_id, _state(entry), age, *cells, human_bytes(entry.size_bytes), remark
            )
    return table


def _state(entry: BackupEntry) -> str:
    style = {"complete": "green", "damaged": "red", "incomplete": "yellow"}[entry.state]
    return f"[{style}]{entry.state}[/]"


def shown(outcomes: Outcomes) -> Group:
    from rich.console import Group

    blocks: list[RenderableType] = []
    for outcome in outcomes:
        if outcome.value is not None:
            blocks += _shown(outcome.region, outcome.value)
    return Group(*blocks)


def _shown(region: str, entry: BackupEntry) -> list[RenderableType]:
    from rich.text import Text

    blocks: list[RenderableType] = [Text(f"{region}: {entry.backup_id}, {entry.state}", style="bold")]
    if entry.problem:
        blocks.append(Text(entry.problem, style="red"))
    if entry.signed is None:
        return blocks
    manifest = entry.signed.manifest
    facts = (
        ("made", f"{manifest.created_at} to {manifest.completed_at} by {manifest.created_by}"),
        ("of", f"{manifest.project}, {manifest.environment}, {manifest.region}"),
        ("schema", f"migration {manifest.database.get('migration')}, PostgreSQL {manifest.database.get('server')}"),
        ("opens with", ", ".join(f"{key.key_id} ({key.region})" for key in entry.signed.keys)),
        ("size", f"{human_bytes(manifest.stored_bytes)} of {human_bytes(manifest.raw_bytes)}"),
    )
    blocks += [Text(f"  {name:<11}{value}") for name, value in facts]
    table = plain_table("KIND", "PART", ">RECORDS", ">BYTES", ">STORED", ">OBJECTS")
    for part in manifest.parts:
        stored = human_bytes(sum(chunk.size for chunk in part.chunks))
        sizes = (human_bytes(part.raw_bytes), stored, str(len(part.chunks)))
        table.add_row(part.kind, Text(part.name), str(part.records), *sizes)
    return [*blocks, table]


def verify_lines(outcomes: Outcomes) -> Group:
    from rich.console import Group
    from rich.text import Text

    lines: list[Text] = []
    for outcome in outcomes:
        for report in outcome.value or ():
            good = not report.problems
            read = f"{counted(report.objects, 'object')}, {human_bytes(report.bytes)} in {report.seconds:.1f} s"
            verdict = f"whole: {counted(report.records, 'record')}" if good else "DAMAGED"
            style = "green" if good else "red bold"
            lines.append(Text.assemble(f"{outcome.region}: {report.backup_id} ", (verdict, style), f", {read}"))
            lines += [Text(f"  {problem.object}: {problem.what}") for problem in report.problems]
    return Group(*lines)


def restore_plan(plan: RestorePlan) -> Group:
    from rich.console import Group
    from rich.text import Text

    table = plain_table("ACTION", "KIND", "PART", "TARGET", ">THERE NOW", ">IN THE BACKUP")
    for step in plan.steps:
        style = {"replace": "yellow", "fill": "green", "create": "green"}[step.action]
        there = "-" if step.there is None else str(step.there)
        table.add_row(
            Text(step.action, style=style),
            step.part.kind,
            Text(step.part.name),
            Text(step.target),
            there,
            str(step.part.records),
        )
    head = Text(f"{plan.backup_id} ({plan.source}) into {plan.target}", style="bold")
    return Group(head, table, *(Text(f"note: {note}", style="dim") for note in plan.notes))


def restore_report(report: RestoreReport) -> Group:
    from rich.console import Group
    from rich.text import Text

    verdict = ("equal", "green bold") if report.equal else ("DIFFERENT", "red bold")
    head = Text.assemble(f"{report.backup_id} into {report.target}: ", verdict, f", {report.seconds:.1f} s")
    return Group(_comparisons(report.comparisons), head)


def _comparisons(compared: Sequence[Comparison]) -> Table:
    from rich.text import Text

    headings = ("KIND", "PART", ">IN THE BACKUP", ">EXPIRED", ">EXPIRING", ">FOUND", "", ">SECONDS")
    table = plain_table(*headings)
    for item in compared:
        verdict = Text("equal", style="green") if item.equal else Text("DIFFERENT", style="red")
        counts = (item.archived, item.expired, item.expiring, item.found)
        table.add_row(item.kind, Text(item.name), *map(str, counts), verdict, f"{item.seconds:.1f}")
    return table


def prune_table(outcomes: Outcomes) -> Table:
    from rich.text import Text

    table = plain_table("REGION", "BACKUP", "", "WHY", ">SIZE")
    for outcome in outcomes:
        for item in outcome.value.decisions if outcome.value is not None else ():
            verdict = Text("keep", style="green") if item.keep else Text("remove", style="red")
            size = human_bytes(item.entry.size_bytes)
            table.add_row(outcome.region, item.entry.backup_id, verdict, ", ".join(item.reasons), size)
    return table


def drill_report(outcomes: Outcomes) -> Group:
    from rich.console import Group

    blocks: list[RenderableType] = []
    for outcome in outcomes:
        if outcome.value is not None:
            blocks += _drill(outcome.region, outcome.value)
    return Group(*blocks)


def _drill(region: str, report: DrillReport) -> list[RenderableType]:
    from rich.text import Text

    styles = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
    checks = [
        Text.assemble("  ", (check.status.value, styles[check.status]), f" {check.name}: {check.summary}")
        for check in report.checks
    ]
    verdict = ("PROVEN", "green bold") if report.proven else ("NOT PROVEN", "red bold")
    took = ", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items())
    removed = "the copy is removed" if report.removed else f"the copy {report.scratch} is still there"
    error = [Text(f"  {report.error}", style="red")] if report.error else []
    head = Text.assemble(f"{region}: {report.backup_id} ", verdict, f", {removed} ({took})")
    return [_comparisons(report.comparisons), *checks, *error, head]


def managed_table(outcomes: Outcomes) -> Table:
    table = plain_table("REGION", "SERVICE", "RESOURCE", "BACKUP", "STATE", "MADE", ">SIZE")
    for outcome in outcomes:
        for item in outcome.value or ():
            made = item.created_at.isoformat(timespec="seconds") if item.created_at else "-"
            size = "-" if item.size_bytes is None else human_bytes(item.size_bytes)
            table.add_row(outcome.region, item.service, item.resource, item.backup_id, item.state, made, size)
    return table


def managed_restores(restores: Sequence[ManagedRestore]) -> Table:
    table = plain_table("SERVICE", "FROM", "INTO")
    for item in restores:
        table.add_row(item.service, item.source, item.target)
    return table
