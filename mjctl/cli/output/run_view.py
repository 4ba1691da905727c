"""Views of deploys and errors: live rows on a terminal, lines in a log."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mjctl.cli.output.changes import SIGN
from mjctl.cli.output.global_options import chosen
from mjctl.cli.output.printable import printable
from mjctl.models.deployment import Change, Phase, UnitOutcome, UnitResult
from mjctl.models.errors import MjctlError
from mjctl.terraform.events import (
    ChangeSummary,
    Diagnostic,
    Event,
    OperationDone,
    OperationStarted,
    ProvisionerLine,
)

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from mjctl.cli.output.console import SafeConsole
    from mjctl.cli.output.tables import DataTable
    from mjctl.deploy.status import UnitStatus
    from mjctl.models.contract import Contract, Endpoints

_STYLE = {
    UnitOutcome.UNCHANGED: "green",
    UnitOutcome.PLANNED: "yellow",
    UnitOutcome.WAITING: "yellow",
    UnitOutcome.APPLIED: "green",
    UnitOutcome.DESTROYED: "green",
    UnitOutcome.NOT_STARTED: "dim",
    UnitOutcome.NOT_DEPLOYED: "dim",
    UnitOutcome.UNHEALTHY: "red",
    UnitOutcome.ROLLED_BACK: "yellow",
    UnitOutcome.FAILED: "red",
    UnitOutcome.INTERRUPTED: "yellow",
}
# Number of characters of a live row beside the current step: for region, phase, counts, seconds and gaps.
_LIVE_COLUMNS = 52
_DONE_WORD = {"create": "created", "update": "updated", "delete": "removed", "replace": "replaced", "read": "read"}


def print_error(error: MjctlError, *, as_json: bool) -> None:
    """Print an error on stderr: what happened, where, and what to do next.

    Args:
        as_json: Print the error as the JSON document on stdout too, unless the command has printed its document.
    """
    from mjctl.cli.output.console import SafeConsole
    from mjctl.cli.output.json_document import json_is_printed, print_json

    console = SafeConsole(sys.stderr, no_color=chosen().no_color)
    parts = (("error: ", "bold red", error.what), ("  where: ", "dim", error.where), ("  next:  ", "dim", error.hint))
    for label, style, text in parts:
        if text:
            console.print(label, style=style, end="", soft_wrap=True)
            first, *more = text.split("\n")
            # No line of an error's text is folded, so that a command in the text can be copied from the terminal.
            console.print(printable(first), soft_wrap=True)
            for line in more:
                # All lines of an error's text except the first are indented, so that text of another program cannot
                # imitate a line of mjctl.
                console.print(f"         {printable(line)}", soft_wrap=True)
    chosen().note(f"error: {error}")
    if as_json and not json_is_printed():
        from mjctl.cli.invocation import current
        from mjctl.cli.output.documents import failure

        print_json(failure(current().command, current().environment, error), sys.stdout)


def short_address(address: str) -> str:
    """Return the short name of a resource: `module.server["game-a-1"].terraform_data.process` gives `game-a-1`."""
    keys = re.findall(r'\["([^"]+)"\]', address)
    if keys:
        return str(keys[-1])
    modules = re.findall(r"module\.([a-z0-9_]+)", address)
    return str(modules[-1] if modules else address.rsplit(".", 1)[-1]).replace("_", "-")


def provisioner_text(event: ProvisionerLine) -> str:
    """Return a line of a provisioner's output, with the name of its resource in front.

    Returns:
        "" for a line that is not worth showing, such as Terraform's own note that it executes the provisioner.
    """
    name = short_address(event.address)
    if not event.text or event.text.startswith("local-exec: Executing:"):
        return ""
    if event.text.lstrip().startswith("| "):
        # Skip a line of a process's log, which begins with `| `, because the error message shows the line too.
        return ""
    return event.text if event.text.startswith(f"{name}: ") else f"{name}: {event.text}"


class LogView:
    """Shows a run in CI and in pipes: one line for each event, with the name of its unit."""

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        """Prepare the view.

        Args:
            say: Prints one line.
            verbose: Also show planned changes, steps that begin, and warnings of Terraform.
        """
        self._say = say
        self._verbose = verbose

    def __enter__(self) -> LogView:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def phase(self, unit: str, phase: Phase) -> None:
        """Print that a phase of a unit begins."""
        self.note(unit, str(phase))

    def event(self, unit: str, event: Event) -> None:
        """Print a completed step or a provisioner's output.

        With `verbose`, also print planned changes, steps that begin, and warnings of Terraform.
        """
        if isinstance(event, OperationDone):
            word = _DONE_WORD.get(event.action, event.action) if event.ok else "FAILED"
            self.note(unit, f"{short_address(event.address)} {word} in {event.elapsed_seconds:.0f} s")
        elif text := provisioner_text(event) if isinstance(event, ProvisionerLine) else self._more(event):
            self.note(unit, text)

    def note(self, unit: str, text: str) -> None:
        """Print a line about a unit."""
        self._say(printable(f"[{unit}] {text}"))

    def finished(self, result: UnitResult) -> None:
        """Print the outcome of a unit and the seconds that it took."""
        self.note(result.unit, f"{outcome_text(result.outcome)} in {result.seconds:.1f} s")

    def message(self, text: str) -> None:
        """Print a line about the whole run."""
        self._say(printable(text))

    def _more(self, event: Event) -> str:
        if not self._verbose:
            return ""
        if isinstance(event, Change):
            return f"planned: {SIGN.get(event.action, '?')} {event.address} {event.reason or ''}".rstrip()
        if isinstance(event, OperationStarted):
            return f"{event.address}: {event.action} begins"
        return str(event) if isinstance(event, Diagnostic) else ""


class LiveView:
    """Shows a run on a terminal: one row for each unit, updated in place, on stderr."""

    def __init__(self, console: SafeConsole) -> None:
        from rich.live import Live

        self._rows: dict[str, _Row] = {}
        self._console = console
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def phase(self, unit: str, phase: Phase) -> None:
        """Show the phase that a unit begins."""
        row = self._row(unit)
        row.phase, row.outcome, row.ended = phase, None, None

    def event(self, unit: str, event: Event) -> None:
        """Show an event of Terraform in the row of its unit."""
        self._row(unit).show(event)

    def note(self, unit: str, text: str) -> None:
        """Show a text as the current step of a unit."""
        self._row(unit).current = text

    def finished(self, result: UnitResult) -> None:
        """Show the outcome of a unit, and stop its clock."""
        row = self._row(result.unit)
        row.phase, row.outcome, row.current = Phase.FINISHED, result.outcome, ""
        row.ended = time.monotonic()

    def message(self, text: str) -> None:
        """Print a line about the whole run above the rows."""
        self._console.print(printable(text), soft_wrap=True)

    def _row(self, unit: str) -> _Row:
        return self._rows.setdefault(unit, _Row())

    def _table(self) -> DataTable:
        from mjctl.cli.output.tables import Column, DataTable

        table = DataTable(
            Column("REGION"),
            Column("PHASE"),
            Column("STEPS", 2),
            Column("SECONDS", 1, right=True),
            Column("NOW", 3),
            headless=True,
        )
        # Each region has exactly one line, so the text of the current step is cut if the text does not fit.
        room = max(0, self._console.width - _LIVE_COLUMNS)
        for unit, row in self._rows.items():
            state = outcome_text(row.outcome).plain if row.outcome else str(row.phase)
            table.add_row(
                (unit, "bold"),
                (state, _STYLE.get(row.outcome, "cyan") if row.outcome else "cyan"),
                f"{row.done}/{row.total}" if row.total else "",
                f"{row.elapsed:.0f} s",
                (printable(row.current)[:room], "dim"),
            )
        return table


class _Row:
    def __init__(self) -> None:
        self.phase: Phase = Phase.WAITING
        self.outcome: UnitOutcome | None = None
        self.total = 0
        self.done = 0
        self.current = ""
        self.started = time.monotonic()
        self.ended: float | None = None

    @property
    def elapsed(self) -> float:
        return (self.ended or time.monotonic()) - self.started

    def show(self, event: Event) -> None:
        if isinstance(event, ChangeSummary) and event.operation in ("plan", "destroy") and not self.done:
            self.total = event.total
        elif isinstance(event, OperationStarted):
            self.current = short_address(event.address)
        elif isinstance(event, ProvisionerLine) and (text := provisioner_text(event)):
            self.current = text
        elif isinstance(event, OperationDone) and event.action in ("create", "delete", "update"):
            self.done += 1
        elif isinstance(event, Change):
            self.current = short_address(event.address)


class _Both:
    """Passes each event of a run to two views: the view on stderr, and the view that writes the log file."""

    def __init__(self, shown: LogView | LiveView, kept: LogView) -> None:
        self._shown, self._kept = shown, kept

    def __enter__(self) -> _Both:
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()

    def phase(self, unit: str, phase: Phase) -> None:
        for view in (self._shown, self._kept):
            view.phase(unit, phase)

    def event(self, unit: str, event: Event) -> None:
        for view in (self._shown, self._kept):
            view.event(unit, event)

    def note(self, unit: str, text: str) -> None:
        for view in (self._shown, self._kept):
            view.note(unit, text)

    def finished(self, result: UnitResult) -> None:
        for view in (self._shown, self._kept):
            view.finished(result)

    def message(self, text: str) -> None:
        for view in (self._shown, self._kept):
            view.message(text)


View = LogView | LiveView | _Both


def view_for(console: SafeConsole) -> View:
    """Return the view for a run: live rows on a terminal, log lines in a pipe, in CI and with --verbose.

    With --log-file, the view also writes all lines to the log file.
    """
    options = chosen()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    live = console.draws and not options.verbose and not options.quiet
    view = LiveView(console) if live else LogView(say, verbose=options.verbose)
    return _Both(view, LogView(options.note, verbose=True)) if options.log is not None else view


def results_view(results: Sequence[UnitResult], contracts: Mapping[str, Contract]) -> Group:
    """Return a table with the result of each unit, then a line with the address at which each region is played.

    The addresses have separate lines, because a table leaves out columns that do not fit.
    """
    from rich.console import Group

    from mjctl.cli.output.tables import whole_line

    addresses = {region: contract.endpoints for region, contract in contracts.items()}
    pages = [f"play in {region}: {endpoints.web}" for region, endpoints in addresses.items() if endpoints.web]
    return Group(results_table(results, addresses), *(whole_line(page) for page in pages))


def trust_advice(contracts: Mapping[str, Contract]) -> list[str]:
    """Return a line for each region with a private certificate authority.

    The line has a command that makes browsers trust the region's certificate authority.
    """
    return [
        f"before a browser opens the page of {region}, run once: {_trust_command(region, contract, contract.ca_file)}"
        for region, contract in contracts.items()
        if contract.endpoints.web and contract.ca_file
    ]


def _trust_command(region: str, contract: Contract, authority: str) -> str:
    """Return the command that makes browsers of this user trust the certificate authority.

    Some browsers have their own store of certificates; docs/local-tls.md describes them.
    """
    file = shlex.quote(authority)
    if sys.platform == "darwin":
        return f"security add-trusted-cert -p ssl -k ~/Library/Keychains/login.keychain-db {file}"
    return f"certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n mjctl-{contract.environment}-{region} -i {file}"


def results_table(results: Sequence[UnitResult], addresses: Mapping[str, Endpoints]) -> DataTable:
    """Return a table with the result of each unit.

    Args:
        addresses: region -> its endpoints, as far as they are known.
    """
    from mjctl.cli.output.tables import Column, DataTable

    # A column without content, such as HEALTH without a gate, is left out, because it would look like missing data.
    forgotten = any(result.forget for result in results)
    watched = any(result.verdict for result in results)
    table = DataTable(
        Column("REGION"),
        Column("RESULT"),
        Column("ADD", 2, right=True),
        Column("CHANGE", 2, right=True),
        Column("REMOVE", 2, right=True),
        *([Column("FORGET", 2, right=True)] if forgotten else []),
        Column("SECONDS", 4, right=True),
        Column("REVISION", 1),
        Column("API", 3),
        *([Column("HEALTH", folds=True)] if watched else []),
    )
    for result in results:
        table.add_row(
            result.unit,
            _outcome(result),
            str(result.add),
            str(result.change),
            str(result.remove),
            *([str(result.forget)] if forgotten else []),
            f"{result.seconds:.1f}",
            _revisions(result),
            addresses[result.unit].api if result.unit in addresses else "",
            *([str(result.verdict or "")] if watched else []),
        )
    return table


def _outcome(result: UnitResult) -> Text:
    """Return the outcome of a unit as text. For a unit that waits, the text names the units that it waits for."""
    text = outcome_text(result.outcome)
    return text.append(f" for {', '.join(result.waits_for)}") if result.waits_for else text


def outcome_text(outcome: str) -> Text:
    """Return an outcome in words and in its colour: `rolled_back` gives `rolled back`, in yellow."""
    from rich.text import Text

    return Text(str(outcome).replace("_", " "), style=_STYLE.get(UnitOutcome(outcome), ""))


def _revisions(result: UnitResult) -> str:
    if result.refused and result.revision and result.refused != result.revision:
        return f"{result.revision} (refused {result.refused})"
    return result.revision or (f"refused {result.refused}" if result.refused else "")


def status_table(statuses: Sequence[UnitStatus], failed_over: Sequence[str] = ()) -> DataTable:
    """Return a table of units: state, revision, age and lock.

    Args:
        failed_over: regions whose players are sent to other regions.
    """
    from mjctl.cli.output.tables import Column, DataTable, human_age

    styles = {"deployed": "green", "partial": "yellow", "damaged": "red", "absent": "dim"}
    table = DataTable(
        Column("REGION"),
        Column("STATE"),
        Column("REVISION", 2),
        Column("COMMIT", 4),
        Column("VERDICT", 3),
        Column("APPLIED", 1),
        Column("SERIAL", 6, right=True),
        Column("MISSING PARTS", 1),
        Column("HELD BY", folds=True),
    )
    for status in statuses:
        state, holder, held = status.state, status.held_by, ""
        if holder:
            held = f"{holder.get('purpose')} (pid {holder.get('pid')}) {holder.get('message') or ''}"
        table.add_row(
            status.unit,
            (f"{state}, failed over", "yellow") if status.unit in failed_over else (state, styles[state]),
            status.revision or "",
            status.commit or "",
            status.standing or "",
            human_age(status.applied_at),
            "" if status.serial is None else str(status.serial),
            ", ".join(status.gone),
            held,
        )
    return table
