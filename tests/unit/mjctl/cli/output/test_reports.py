from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mjctl.cli.output.documents import document
from mjctl.cli.output.documents.observe import health_fields
from mjctl.cli.output.documents.run import unit_entries
from mjctl.cli.output.json_document import json_ready, json_text
from mjctl.cli.output.markdown import summary
from mjctl.cli.output.reports import deploy_junit, health_junit, write_report
from mjctl.health.model import HealthReport
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.deployment import AttributeChange, Change, GateVerdict, Hidden, UnitOutcome, UnitResult, Violation
from mjctl.models.errors import PermissionDeniedError, TerraformError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace
from tests.documents import read_document

PROJECT = Workspace.discover(Path(__file__)).project_dir
MASK = Hidden.SENSITIVE
CHANGE = Change("x.y", "update", attributes=(AttributeChange("password", MASK, MASK), AttributeChange("n", 1, "`2`")))
RESULTS = [
    UnitResult(
        "us-east-1",
        UnitOutcome.ROLLED_BACK,
        change=1,
        changes=(CHANGE,),
        seconds=12.3,
        revision="good",
        refused="bad",
        verdict=GateVerdict(False, 2, 5.0, ("login: refused | really",)),
    ),
    UnitResult("eu-west-1", UnitOutcome.NOT_STARTED, revision="good"),
    UnitResult("ap-south-1", UnitOutcome.FAILED, error=TerraformError("broken <here>\nand ``` there", hint="mend it")),
]


def test_junit_has_a_suite_for_each_region_and_a_case_for_each_step() -> None:
    root = ET.fromstring(deploy_junit("deploy", "prod", RESULTS))  # noqa: S314 - our own text
    suites = {suite.get("name"): suite for suite in root}
    assert [case.get("name") for case in suites["prod/us-east-1"]] == [
        "deploy",
        "policy keeps-data",
        "health gate",
        "rollback",
    ]
    assert suites["prod/us-east-1"].find("testcase[@name='health gate']/failure") is not None
    assert suites["prod/eu-west-1"].get("skipped") == "1"
    assert "broken <here>" in (suites["prod/ap-south-1"].findtext("testcase/failure") or "")


def test_a_plan_that_loses_data_is_a_failed_case_that_names_the_resource() -> None:
    change = Change("module.database.aws_rds_cluster.this", "replace")
    lost = (Violation("keeps-data", change.address, "replace: its rows would be lost"),)
    results = [UnitResult("us-east-1", UnitOutcome.PLANNED, changes=(change,), violations=lost)]
    root = ET.fromstring(deploy_junit("plan", "prod", results))  # noqa: S314 - our own text
    failure = root.find("testsuite/testcase[@name='policy keeps-data']/failure")
    assert failure is not None
    assert failure.text == "module.database.aws_rds_cluster.this: replace: its rows would be lost"
    assert "### us-east-1: data would be lost" in summary("plan", "prod", ExitCode.OK, results, None)


def test_the_junit_report_of_health_counts_failures_and_skipped_checks() -> None:
    checks = [
        CheckResult("login", "us-east-1", CheckStatus.FAIL, "refused\x1b[0m", duration_seconds=0.5),
        CheckResult("redis", "us-east-1", CheckStatus.WARN, "slow"),
        CheckResult("cdn", "eu-west-1", CheckStatus.SKIP, "none here"),
    ]
    root = ET.fromstring(health_junit("prod", checks))  # noqa: S314 - our own text
    first, second = root
    assert (first.get("tests"), first.get("failures"), second.get("skipped")) == ("2", "1", "1")
    failure = first.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "major: refused[0m"


def test_the_error_names_the_report_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="cannot write the report") as caught:
        write_report(tmp_path / "no" / "file", "x")
    assert str(tmp_path / "no" / "file") in str(caught.value)


def test_every_outcome_fits_the_published_document() -> None:
    results = [UnitResult("us-east-1", outcome) for outcome in UnitOutcome]
    entries = unit_entries([*results, *RESULTS], {})
    text = json_text(document("deploy", "local", entries, {"exit_code": int(ExitCode.OK)}))
    assert len(read_document(text)["regions"]) == len(UnitOutcome) + len(RESULTS)


def test_a_change_in_the_document_has_its_values_and_no_secret() -> None:
    change = Change(
        "x.y",
        "replace",
        "cannot_update",
        "aws_x",
        (
            AttributeChange("password", MASK, MASK),
            AttributeChange("n", 1, 2),
            AttributeChange("id", "a", Hidden.UNKNOWN),
            AttributeChange("all", Hidden.SEVERAL, Hidden.UNKNOWN),
            AttributeChange("text", "(sensitive)", None),
        ),
        ("n",),
    )
    result = UnitResult("us-east-1", UnitOutcome.PLANNED, changes=(change, Change("z", "forget")))
    (entry,) = unit_entries([result], {})
    region = json_ready(entry)
    assert region["forget"] == 1
    attributes = {attribute["path"]: attribute for attribute in region["changes"][0]["attributes"]}
    assert attributes["n"] == {
        "path": "n",
        "before": 1,
        "after": 2,
        "sensitive": False,
        "before_hidden": False,
        "known_after_apply": False,
    }
    assert (attributes["password"]["before"], attributes["password"]["after"], attributes["password"]["sensitive"]) == (
        None,
        None,
        True,
    )
    assert (attributes["id"]["before"], attributes["id"]["after"], attributes["id"]["known_after_apply"]) == (
        "a",
        None,
        True,
    )
    assert (attributes["all"]["before"], attributes["all"]["before_hidden"]) == (None, True)
    assert (attributes["text"]["before"], attributes["text"]["sensitive"]) == ("(sensitive)", False)
    assert region["changes"][0]["forced_by"] == ["n"]
    assert region["changes"][0]["resource_type"] == "aws_x"


def test_health_fits_the_published_document() -> None:
    check = CheckResult("login", "us-east-1", CheckStatus.PASS, "ok", evidence={"ms": 1})
    fields = health_fields(HealthReport("local", "now", 1.0, (check,)))
    read_document(json_text(document("health", "local", fields.pop("regions"), fields)))
