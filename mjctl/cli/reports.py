"""Reports for pull requests (Markdown) and for CI (JUnit)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from mjctl.models.deployment import Change, Hidden, Outcome, RegionResult
from mjctl.models.errors import PermissionDeniedError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.deploy_run import Run
    from mjctl.models.check import CheckResult
    from mjctl.models.release import Release

# GitHub refuses a comment of 65,536 characters and more.
MAX_CHARACTERS = 65_000
_LONGEST_VALUE = 200
_LONGEST_ERROR = 4_000
_SIGN = {"create": "+", "update": "~", "replace": "±", "delete": "-", "read": "<"}


def write_reports(
    run: Run,
    code: ExitCode,
    results: Sequence[RegionResult],
    release: Release | None,
    summary_file: Path | None,
    junit: Path | None,
) -> None:
    """Write what was asked for; neither file holds a secret.

    Raises:
        PermissionDeniedError: a file cannot be written.
    """
    if summary_file is not None:
        write_report(summary_file, summary(run.command, run.environment.name, code, results, release))
    if junit is not None:
        write_report(junit, deploy_junit(run.command, run.environment.name, results))


def begin_reports(*paths: Path | None) -> None:
    """Make the files before anything is changed: one that cannot be written must not spoil a deploy that went well.

    Raises:
        PermissionDeniedError: a file cannot be written.
    """
    for path in paths:
        if path is not None:
            write_report(path, "")


def write_report(path: Path, text: str) -> None:
    """Raises: PermissionDeniedError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PermissionDeniedError(
            f"the report cannot be written: {error.strerror}", where=str(path), hint="name another file"
        ) from None


def summary(
    command: str,
    environment: str,
    code: ExitCode,
    results: Sequence[RegionResult],
    release: Release | None,
) -> str:
    """Markdown of fewer than MAX_CHARACTERS: a table of the regions, then each region's errors and changes, folded."""
    head = [f"## mjctl {command}: `{environment}`", ""]
    if release is not None:
        commit = f", commit `{release.commit}`" if release.commit else ""
        head += [f"Revision `{release.revision}`{commit}.", ""]
    head += [f"**{_verdict(code)}** (exit code {int(code)})", ""]
    head += [
        "| region | result | add | change | remove | seconds | runs | health |",
        "|---|---|--:|--:|--:|--:|---|---|",
    ]
    head += [_row(result) for result in results]
    head += [""]
    sections = [section for result in results for section in _sections(result)]
    return _bounded("\n".join(head) + "\n", sections)


def deploy_junit(command: str, environment: str, results: Sequence[RegionResult]) -> str:
    """One suite a region; its cases are the steps that it took: the command itself, the policy that its plan must keep,
    the health gate, the rollback."""

    def steps(result: RegionResult) -> Iterable[tuple[str, float, str, str]]:
        error = str(result.error.what) if result.error else ""
        gate = result.verdict.seconds if result.verdict else 0.0
        if result.outcome in (Outcome.NOT_STARTED, Outcome.NOT_DEPLOYED):
            stopped = result.outcome is Outcome.NOT_STARTED
            yield command, 0.0, "skipped", "an earlier region stopped the rollout" if stopped else "not deployed"
            return
        yield command, max(0.0, result.seconds - gate), "failure" if error else "", error
        if result.changes:
            lost = "\n".join(map(str, result.violations))
            yield "policy keeps-data", 0.0, "failure" if lost else "", lost
        if result.verdict is not None:
            yield "health gate", gate, "" if result.verdict.healthy else "failure", str(result.verdict)
        if result.outcome is Outcome.ROLLED_BACK and result.refused:
            yield "rollback", 0.0, "", f"back to {result.revision}"

    suites = [(f"{environment}/{result.region}", list(steps(result))) for result in results]
    return _junit(f"mjctl {command}", suites)


def health_junit(environment: str, results: Sequence[CheckResult], command: str = "health") -> str:
    """One suite a region, one case a check; a warning is no failure, its text is in the case's output."""
    words = {"fail": "failure", "skip": "skipped"}
    regions = dict.fromkeys(one.region for one in results)
    suites = [
        (
            f"{environment}/{region}",
            [
                (one.name, one.duration_seconds, words.get(one.status, ""), _said(one))
                for one in results
                if one.region == region
            ],
        )
        for region in regions
    ]
    return _junit(f"mjctl {command}", suites)


def _said(one: CheckResult) -> str:
    return f"{one.severity}: {one.summary}" if one.status == "fail" else one.summary


def _junit(name: str, suites: Sequence[tuple[str, Sequence[tuple[str, float, str, str]]]]) -> str:
    """`suites`: (name, [(case, seconds, "", "failure" or "skipped", text)])."""
    root = ET.Element("testsuites", name=name)
    for suite_name, cases in suites:
        suite = ET.SubElement(
            root,
            "testsuite",
            name=suite_name,
            tests=str(len(cases)),
            failures=str(sum(kind == "failure" for _, _, kind, _ in cases)),
            skipped=str(sum(kind == "skipped" for _, _, kind, _ in cases)),
            errors="0",
            time=f"{sum(seconds for _, seconds, _, _ in cases):.3f}",
        )
        for case_name, seconds, kind, text in cases:
            case = ET.SubElement(suite, "testcase", classname=suite_name, name=case_name, time=f"{seconds:.3f}")
            clean = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
            if kind:
                ET.SubElement(case, kind, message=clean.split("\n", 1)[0]).text = clean
            elif clean:
                ET.SubElement(case, "system-out").text = clean
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _verdict(code: ExitCode) -> str:
    meanings = {
        ExitCode.OK: "Done",
        ExitCode.CHANGES_PENDING: "Changes pending",
        ExitCode.UNHEALTHY: "Stopped: a region is unhealthy",
    }
    return meanings.get(code, code.name.replace("_", " ").capitalize())


def _row(result: RegionResult) -> str:
    refused = f" (refused `{result.refused}`)" if result.refused else ""
    runs = f"`{result.revision}`" if result.revision else ""
    outcome = str(result.outcome).replace("_", " ")
    if result.waits_for:
        outcome += f" for {', '.join(result.waits_for)}"
    health = _cell(str(result.verdict)) if result.verdict else ""
    return (
        f"| {result.region} | {outcome} | {result.add} | {result.change} | {result.remove} "
        f"| {result.seconds:.1f} | {runs}{refused} | {health} |"
    )


def _sections(result: RegionResult) -> Iterable[str]:
    if result.error is not None:
        text = result.error.what[:_LONGEST_ERROR]
        hint = f"\nnext: {result.error.hint}" if result.error.hint else ""
        yield f"### {result.region}: error\n\n{_fenced(text + hint)}\n"
    if result.violations:
        lines = "\n".join(f"- `{one.address}` {one.what}" for one in result.violations)
        yield f"### {result.region}: data would be lost\n\n{lines}\n"
    if result.changes:
        blocks = [_block(one) for one in result.changes]
        count = len(result.changes)
        yield _folded(f"{result.region}: {count} change{'s' if count != 1 else ''}", _fenced("\n".join(blocks), "diff"))
    if result.ignored:
        names = "\n".join(f"- `{one.address}` {one.action}" for one in result.ignored)
        yield _folded(f"{result.region}: {len(result.ignored)} overlooked", names)


def _block(change: Change) -> str:
    why = f"  # {change.reason.replace('_', ' ')}" if change.reason else ""
    lines = [f"{_SIGN.get(change.action, '?')} {change.address}{why}"]
    for one in change.attributes:
        lines.append(f"    {one.path}: {_value(one.before)} -> {_value(one.after)}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    text = str(value) if isinstance(value, Hidden) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"


def _fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in _runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _runs(text: str) -> Iterable[str]:
    import re

    return re.findall(r"`+", text)


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:300]


def _bounded(head: str, sections: Sequence[str], limit: int = MAX_CHARACTERS) -> str:
    """`head` and as many sections as fit; one that does not is named, so that nobody takes its absence for nothing."""
    text, left_out = head[:limit], 0
    reserve = 200
    for section in sections:
        if len(text) + len(section) + reserve < limit:
            text += f"\n{section}"
        else:
            left_out += 1
    if left_out:
        text += f"\n_{left_out} section(s) left out, too long for a comment: the job's log has them._\n"
    return text
