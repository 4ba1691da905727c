"""The Markdown summary of a run, for a pull request. The summary has a maximum length and names every region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mjctl.cli.output.changes import LOSSES, counts, head, in_order, shown_attributes, values, why
from mjctl.cli.output.printable import printable
from mjctl.models.deployment import Change, UnitResult
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.models.release import Release

# GitHub refuses a comment of more than 65,536 characters.
MAX_CHARACTERS = 65_000
_LONGEST_VALUES = 200
_LONGEST_ERROR = 4_000
_LONGEST_CELL = 300
# All errors together may take a quarter of the characters that the title and the table of regions leave free. The
# changes of all regions may take the characters that the errors leave free.
_ERRORS_PART = 4
# Number of characters reserved around the changes of a region: title, code fence and the line that counts the omitted
# changes.
_FRAME = 400


def summary(
    command: str, environment: str, code: ExitCode, results: Sequence[UnitResult], release: Release | None
) -> str:
    """Return the summary in Markdown, with fewer than MAX_CHARACTERS characters.

    The summary has a table of the regions, then violations of the data-loss policy, then errors, then the changes of
    each region, folded. Deletions and replacements precede other changes.

    If the changes of a region are too long, the summary leaves out values, then reasons, then whole changes. The
    Markdown summary states how many changes of each region were left out.
    """
    top = _top(command, environment, code, results, release)
    errors = _bounded_errors(results, (MAX_CHARACTERS - len(top)) // _ERRORS_PART)
    text = f"{top}{errors}"
    changed = [result for result in results if result.changes or result.ignored]
    for position, result in enumerate(changed):
        share = (MAX_CHARACTERS - len(text)) // (len(changed) - position)
        text += _region(result, share - _FRAME)
    return text


def _top(command: str, environment: str, code: ExitCode, results: Sequence[UnitResult], release: Release | None) -> str:
    lines = [f"## mjctl {command}: `{environment}`", ""]
    if release is not None:
        commit = f", commit `{release.commit}`" if release.commit else ""
        lines += [f"Revision `{release.revision}`{commit}.", ""]
    lines += [f"**{_verdict(code)}** (exit code {int(code)})", ""]
    lines += [line for result in results if result.schema for line in (f"{str(result.schema).capitalize()}.", "")]
    columns = ["region", "result", "add", "change", "remove", "forget", "seconds", "runs", "health"]
    left = {"forget"} if not any(result.forget for result in results) else set()
    left |= {"health"} if not any(result.verdict for result in results) else set()
    shown = [column for column in columns if column not in left]
    numbers = {"add", "change", "remove", "forget", "seconds"}
    lines.append(f"| {' | '.join(shown)} |")
    lines.append(f"|{'|'.join('--:' if column in numbers else '---' for column in shown)}|")
    for result in results:
        cells = _cells(result)
        lines.append(f"| {' | '.join(cells[column] for column in shown)} |")
    return "\n".join([*lines, "", ""])


def _cells(result: UnitResult) -> dict[str, str]:
    outcome = str(result.outcome).replace("_", " ")
    if result.waits_for:
        outcome += f" for {', '.join(result.waits_for)}"
    refused = f" (refused `{result.refused}`)" if result.refused else ""
    return {
        "region": result.unit,
        "result": outcome,
        "add": str(result.add),
        "change": str(result.change),
        "remove": str(result.remove),
        "forget": str(result.forget),
        "seconds": f"{result.seconds:.1f}",
        "runs": (f"`{result.revision}`" if result.revision else "") + refused,
        "health": _cell(str(result.verdict)) if result.verdict else "",
    }


def _bounded_errors(results: Sequence[UnitResult], room: int) -> str:
    sections = list(_errors(results))
    text, left_out = "", 0
    for section in sections:
        if len(text) + len(section) <= room:
            text += section
        else:
            left_out += 1
    if left_out:
        text += f"_{left_out} more errors or losses of data are left out here. The log of the job has them._\n\n"
    return text


def _errors(results: Sequence[UnitResult]) -> Iterator[str]:
    for result in results:
        if result.violations:
            lines = [f"- `{_code(violation.address)}` {printable(violation.what)}" for violation in result.violations]
            yield f"### {result.unit}: data would be lost\n\n" + "\n".join(lines) + "\n\n"
    for result in results:
        if result.error is not None:
            text = printable(result.error.what, keep="\n")[:_LONGEST_ERROR]
            hint = f"\nnext: {printable(result.error.hint)}" if result.error.hint else ""
            yield f"### {result.unit}: error\n\n{_fenced(text + hint)}\n\n"


def _region(result: UnitResult, room: int) -> str:
    text = ""
    if result.changes:
        title = f"{result.unit}: {counts(result.changes)}"
        text += _folded(title, _fenced(_fitting(in_order(result.changes), room), "diff"))
    if result.ignored:
        names = [f"- `{_code(change.address)}` {change.action}" for change in result.ignored]
        text += _folded(f"{result.unit}: {len(result.ignored)} ignored", _cut_lines(names, max(0, room - len(text))))
    return text


def _fitting(changes: Sequence[Change], room: int) -> str:
    """Return the changes in at most `room` characters.

    If the changes are too long, the values of created and updated resources are left out, then their reasons, then
    whole changes. Replacements, deletions and forgotten resources keep reasons and values if both fit in half of
    `room`.
    """
    losses = [change for change in changes if change.action in LOSSES]
    others = [change for change in changes if change.action not in LOSSES]
    in_full = [_block(change) for change in losses]
    if sum(map(len, in_full)) > room // 2:
        in_full = [head(change) for change in losses]
    for text_of in (_block, _titled, head):
        lines = [*in_full, *map(text_of, others)]
        if sum(map(len, lines)) + len(lines) <= room:
            return "\n".join(lines)
    return _cut_off(in_full, changes, room)


def _cut_off(losses: Sequence[str], changes: Sequence[Change], room: int) -> str:
    lines: list[str] = []
    for number, line in enumerate([*losses, *(head(change) for change in changes[len(losses) :])]):
        if sum(map(len, lines)) + len(lines) + len(line) > room:
            rest = changes[number:]
            lines.append(f"# {len(rest)} changes left out here, the log of the job has them: {counts(rest)}")
            break
        lines.append(line)
    return "\n".join(lines)


def _block(change: Change) -> str:
    attributes = [f"    {name}: {values(attribute, _LONGEST_VALUES)}" for name, attribute in shown_attributes(change)]
    return "\n".join([_titled(change), *attributes])


def _titled(change: Change) -> str:
    reason = why(change)
    return head(change) + (f"  # {reason}" if reason else "")


def _cut_lines(lines: Sequence[str], room: int) -> str:
    kept: list[str] = []
    for number, line in enumerate(lines):
        if sum(map(len, kept)) + len(kept) + len(line) > room:
            return "\n".join([*kept, f"- and {len(lines) - number} more"])
        kept.append(line)
    return "\n".join(kept)


def _verdict(code: ExitCode) -> str:
    meanings = {
        ExitCode.OK: "Done",
        ExitCode.CHANGES_PENDING: "Changes pending",
        ExitCode.UNHEALTHY: "Stopped: a region is unhealthy",
    }
    return meanings.get(code, code.name.replace("_", " ").capitalize())


def _fenced(text: str, language: str = "") -> str:
    """Return `text` as a code block, with a fence that is longer than any run of backticks in the text."""
    longest = max((len(run) for run in _runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _runs(text: str) -> Iterable[str]:
    return re.findall(r"`+", text)


def _code(text: str) -> str:
    """Return `text` so that it can stand between two backticks: its backticks become quotes."""
    return printable(text).replace("`", "'")


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n\n"


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")[:_LONGEST_CELL]
