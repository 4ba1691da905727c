"""`mjctl doctor`: checks whether this machine has everything that mjctl needs."""

from __future__ import annotations

from mjctl.cli.options import OutputOption
from mjctl.cli.session import Exit, OutputFormat, open_session
from mjctl.models.exit_codes import ExitCode


def doctor(output: OutputOption = OutputFormat.TEXT) -> None:
    """Check this machine for the programs that mjctl needs.

    The command changes nothing. Exit code 8 if a check fails.

    Example: mjctl doctor
    """
    from mjctl.cli.output.documents.observe import check_entry
    from mjctl.cli.output.tables import Column, DataTable
    from mjctl.doctor.machine import examine
    from mjctl.models.check import CheckStatus
    from mjctl.models.workspace import Workspace

    session = open_session(output)
    results = examine(Workspace.discover())
    styles = {CheckStatus.PASS: "green", CheckStatus.WARN: "yellow", CheckStatus.FAIL: "red", CheckStatus.SKIP: "dim"}
    table = DataTable(Column("STATUS"), Column("CHECK"), Column("FINDING", folds=True), headless=True)
    for result in results:
        table.add_row((result.status.value, styles[result.status]), result.name, result.summary)
        if result.hint:
            table.add_row("", "", (f"next: {result.hint}", "dim"))
    session.emit(table, checks=[check_entry(result) for result in results])
    if any(result.status is CheckStatus.FAIL for result in results):
        raise Exit(ExitCode.DEPENDENCY)
