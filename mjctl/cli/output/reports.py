"""Reports for pull requests (Markdown) and for CI (JUnit)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mjctl.cli.output.markdown import summary
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.errors import PermissionDeniedError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.models.check import CheckResult
    from mjctl.models.release import Release


def write_reports(
    command: str,
    environment: str,
    code: ExitCode,
    results: Sequence[UnitResult],
    release: Release | None,
    summary_file: Path | None,
    junit: Path | None,
) -> None:
    """Write what was asked for; neither file holds a secret.

    Raises:
        PermissionDeniedError: a file cannot be written.
    """
    if summary_file is not None:
        write_report(summary_file, summary(command, environment, code, results, release))
    if junit is not None:
        write_report(junit, deploy_junit(command, environment, results))


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


def deploy_junit(command: str, environment: str, results: Sequence[UnitResult]) -> str:
    """One suite a region; its cases are the steps that it took: the command itself, the policy that its plan must keep,
    the health gate, the rollback."""

    def steps(result: UnitResult) -> Iterable[tuple[str, float, str, str]]:
        error = str(result.error.what) if result.error else ""
        gate = result.verdict.seconds if result.verdict else 0.0
        if result.outcome in (UnitOutcome.NOT_STARTED, UnitOutcome.NOT_DEPLOYED):
            stopped = result.outcome is UnitOutcome.NOT_STARTED
            yield command, 0.0, "skipped", "an earlier region stopped the rollout" if stopped else "not deployed"
            return
        yield command, max(0.0, result.seconds - gate), "failure" if error else "", error
        if result.changes:
            lost = "\n".join(map(str, result.violations))
            yield "policy keeps-data", 0.0, "failure" if lost else "", lost
        if result.verdict is not None:
            yield "health gate", gate, "" if result.verdict.healthy else "failure", str(result.verdict)
        if result.outcome is UnitOutcome.ROLLED_BACK and result.refused:
            yield "rollback", 0.0, "", f"back to {result.revision}"

    suites = [(f"{environment}/{result.unit}", list(steps(result))) for result in results]
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
