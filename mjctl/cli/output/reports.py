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
    """Write the reports of a run that uses Terraform. The reports contain no secrets.

    Args:
        command: name of the command, such as `deploy`.
        environment: name of the environment.
        code: exit code of the run.
        results: the result of each unit.
        release: the release that was deployed or planned, or None.
        summary_file: file for the Markdown summary, or None to write no summary.
        junit: file for the JUnit report, or None to write no JUnit report.

    Raises:
        PermissionDeniedError: a file cannot be written.
    """
    if summary_file is not None:
        write_report(summary_file, summary(command, environment, code, results, release))
    if junit is not None:
        write_report(junit, deploy_junit(command, environment, results))


def begin_reports(*paths: Path | None) -> None:
    """Create the report files, or empty existing files, before the command changes anything.

    A report file that cannot be written thus ends the command before the deploy, and not after a successful deploy.

    Raises:
        PermissionDeniedError: a file cannot be written.
    """
    for path in paths:
        if path is not None:
            write_report(path, "")


def write_report(path: Path, text: str) -> None:
    """Write a report to a file.

    Raises:
        PermissionDeniedError: the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PermissionDeniedError(
            f"cannot write the report: {error.strerror}",
            where=str(path),
            hint="choose a file in a folder that you can write to",
        ) from None


def deploy_junit(command: str, environment: str, results: Sequence[UnitResult]) -> str:
    """Return the JUnit report of a run that uses Terraform.

    Each unit is a test suite. The cases of a suite are the steps of the unit: the command itself, the data-loss policy,
    the health gate and the rollback.
    """

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
    """Return the JUnit report of health checks: a suite for each region, a case for each check.

    A warning does not count as a failure. The text of a warning is in the element `system-out` of the check's case.
    """
    words = {"fail": "failure", "skip": "skipped"}
    regions = dict.fromkeys(result.region for result in results)
    suites = [
        (
            f"{environment}/{region}",
            [
                (result.name, result.duration_seconds, words.get(result.status, ""), _case_text(result))
                for result in results
                if result.region == region
            ],
        )
        for region in regions
    ]
    return _junit(f"mjctl {command}", suites)


def _case_text(result: CheckResult) -> str:
    return f"{result.severity}: {result.summary}" if result.status == "fail" else result.summary


def _junit(name: str, suites: Sequence[tuple[str, Sequence[tuple[str, float, str, str]]]]) -> str:
    """Return a JUnit report as XML.

    Args:
        suites: (name, cases) of each suite. A case is (name, seconds, kind, text), and its kind is "failure", "skipped"
            or "" for a case that passed.
    """
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
            clean = "".join(character for character in text if character.isprintable() or character in "\n\t")
            if kind:
                ET.SubElement(case, kind, message=clean.split("\n", 1)[0]).text = clean
            elif clean:
                ET.SubElement(case, "system-out").text = clean
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
