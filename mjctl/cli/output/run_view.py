"""How deploys and errors look: live on a terminal, line by line in a log."""

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
# Columns that a live row needs beside the step that runs: region, phase, counts, seconds and the gaps.
_LIVE_COLUMNS = 52
_DONE_WORD = {"create": "created", "update": "updated", "delete": "removed", "replace": "replaced", "read": "read"}


def print_error(error: MjctlError, *, as_json: bool) -> None:
    """What happened, where, what next, on stderr; with --output json also the one document on stdout."""
    from mjctl.cli.output.console import SafeConsole
    from mjctl.cli.output.json_document import json_is_printed, print_json

    console = SafeConsole(sys.stderr, no_color=chosen().no_color)
    parts = (("error: ", "bold red", error.what), ("  where: ", "dim", error.where), ("  next:  ", "dim", error.hint))
    for label, style, text in parts:
        if text:
            console.print(label, style=style, end="", soft_wrap=True)
            first, *more = text.split("\n")
            # Not folded: the terminal wraps it, and a command in it can be copied.
            console.print(printable(first), soft_wrap=True)
            for line in more:
                # Indented, so that no text from outside looks like a line of mjctl.
                console.print(f"         {printable(line)}", soft_wrap=True)
    chosen().note(f"error: {error}")
    if as_json and not json_is_printed():
        from mjctl.cli.invocation import current
        from mjctl.cli.output.documents import failure

        print_json(failure(current().command, current().environment, error), sys.stdout)


def short_address(address: str) -> str:
    """`module.server["game-a-1"].terraform_data.process` is `game-a-1` to a person."""
    keys = re.findall(r'\["([^"]+)"\]', address)
    if keys:
        return str(keys[-1])
    modules = re.findall(r"module\.([a-z0-9_]+)", address)
    return str(modules[-1] if modules else address.rsplit(".", 1)[-1]).replace("_", "-")


def provisioner_text(event: ProvisionerLine) -> str:
    """What a provisioner said, named once; "" for Terraform's own note that it runs one."""
    name = short_address(event.address)
    if not event.text or event.text.startswith("local-exec: Executing:"):
        return ""
    if event.text.lstrip().startswith("| "):
        # The end of a process' log. The error repeats it, with its cause first.
        return ""
    return event.text if event.text.startswith(f"{name}: ") else f"{name}: {event.text}"


class LogView:
    """For CI and pipes: one line an event, with its unit. `verbose` adds what is planned, begun and warned of."""

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._say = say
        self._verbose = verbose

    def __enter__(self) -> LogView:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def phase(self, unit: str, phase: Phase) -> None:
        self.note(unit, str(phase))

    def event(self, unit: str, event: Event) -> None:
        if isinstance(event, OperationDone):
            word = _DONE_WORD.get(event.action, event.action) if event.ok else "FAILED"
            self.note(unit, f"{short_address(event.address)} {word} in {event.elapsed_seconds:.0f} s")
        elif text := provisioner_text(event) if isinstance(event, ProvisionerLine) else self._more(event):
            self.note(unit, text)

    def note(self, unit: str, text: str) -> None:
        self._say(printable(f"[{unit}] {text}"))

    def finished(self, result: UnitResult) -> None:
        self.note(result.unit, f"{outcome_text(result.outcome)} in {result.seconds:.1f} s")

    def message(self, text: str) -> None:
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
    """For a terminal: one row a unit, updated in place, on stderr."""

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
        row = self._row(unit)
        row.phase, row.outcome, row.ended = phase, None, None

    def event(self, unit: str, event: Event) -> None:
        self._row(unit).show(event)

    def note(self, unit: str, text: str) -> None:
        self._row(unit).current = text

    def finished(self, result: UnitResult) -> None:
        row = self._row(result.unit)
        row.phase, row.outcome, row.current = Phase.FINISHED, result.outcome, ""
        row.ended = time.monotonic()

    def message(self, text: str) -> None:
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
        # One line for each region: what does not fit is cut, and the next step replaces it within a second.
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
    """One view in front of a person, another for the log file."""

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
    """Live rows where somebody watches, log lines elsewhere and with --verbose; the log file gets its own lines."""
    options = chosen()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    live = console.draws and not options.verbose and not options.quiet
    view = LiveView(console) if live else LogView(say, verbose=options.verbose)
    return _Both(view, LogView(options.note, verbose=True)) if options.log is not None else view


def results_view(results: Sequence[UnitResult], contracts: Mapping[str, Contract]) -> Group:
    """How each region ended and, on lines of their own, where it is played: nothing there is ever cut off."""
    from rich.console import Group

    from mjctl.cli.output.tables import whole_line

    addresses = {region: contract.endpoints for region, contract in contracts.items()}
    pages = [f"play in {region}: {found.web}" for region, found in addresses.items() if found.web]
    return Group(results_table(results, addresses), *(whole_line(page) for page in pages))


def trust_advice(contracts: Mapping[str, Contract]) -> list[str]:
    """One line a region with a private authority: what a browser needs before it opens the region's page."""
    return [
        f"before a browser opens {region}'s page, once: {_trust_command(region, contract, contract.ca_file)}"
        for region, contract in contracts.items()
        if contract.endpoints.web and contract.ca_file
    ]


def _trust_command(region: str, contract: Contract, authority: str) -> str:
    """What makes browsers of this user trust the authority; docs/local-tls.md has those with a store of their own."""
    file = shlex.quote(authority)
    if sys.platform == "darwin":
        return f"security add-trusted-cert -p ssl -k ~/Library/Keychains/login.keychain-db {file}"
    return f"certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n mjctl-{contract.environment}-{region} -i {file}"


def results_table(results: Sequence[UnitResult], addresses: Mapping[str, Endpoints]) -> DataTable:
    """How each region ended; `addresses` are shown where known."""
    from mjctl.cli.output.tables import Column, DataTable

    # A column that no row fills would only ask what is missing: health without a gate, for example.
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
    """A unit that waits also says for what."""
    text = outcome_text(result.outcome)
    return text.append(f" for {', '.join(result.waits_for)}") if result.waits_for else text


def outcome_text(outcome: str) -> Text:
    """`rolled_back` in words and in its colour."""
    from rich.text import Text

    return Text(str(outcome).replace("_", " "), style=_STYLE.get(UnitOutcome(outcome), ""))


def _revisions(result: UnitResult) -> str:
    if result.refused and result.revision and result.refused != result.revision:
        return f"{result.revision} (refused {result.refused})"
    return result.revision or (f"refused {result.refused}" if result.refused else "")


def status_table(found: Sequence[UnitStatus], failed_over: Sequence[str] = ()) -> DataTable:
    """One row a region."""
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
    for one in found:
        held = ""
        if one.held_by:
            held = f"{one.held_by.get('purpose')} (pid {one.held_by.get('pid')}) {one.held_by.get('message') or ''}"
        table.add_row(
            one.unit,
            (f"{one.state}, failed over", "yellow") if one.unit in failed_over else (one.state, styles[one.state]),
            one.revision or "",
            one.commit or "",
            one.standing or "",
            human_age(one.applied_at),
            "" if one.serial is None else str(one.serial),
            ", ".join(one.gone),
            held,
        )
    return table
