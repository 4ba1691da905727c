"""Tests of the Markdown summary of a command: the order of its parts, the omitted parts and its maximum length."""

from __future__ import annotations

import re

import pytest

from mjctl.cli.output.markdown import MAX_CHARACTERS, summary
from mjctl.models.deployment import AttributeChange, Change, GateVerdict, Hidden, UnitOutcome, UnitResult, Violation
from mjctl.models.errors import TerraformError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.release import Release
from tests.unit.mjctl.cli.output.test_reports import MASK, RESULTS

RELEASE = Release("game", "terraform", "config", "abc+changes")


def test_the_summary_has_regions_health_errors_and_masked_changes() -> None:
    text = summary("deploy", "prod", ExitCode.UNHEALTHY, RESULTS, RELEASE)
    assert f"Revision `{RELEASE.revision}`, commit `abc+changes`" in text
    assert "| us-east-1 | rolled back | 0 | 1 | 0 | 12.3 | `good` (refused `bad`) | unhealthy" in text
    assert "login: refused \\| really" in text
    assert "| eu-west-1 | not started |" in text
    assert "<details><summary>us-east-1: 1 update</summary>" in text
    assert f"password: {MASK} -> {MASK}" in text
    assert "````\nbroken" in text, "a fence longer than the one in the text"


def test_the_summary_says_what_a_unit_waits_for() -> None:
    waiting = UnitResult("edge", UnitOutcome.WAITING, waits_for=("us-east-1", "eu-west-1"))
    text = summary("plan", "prod", ExitCode.CHANGES_PENDING, [waiting], RELEASE)
    assert "| edge | waiting for us-east-1, eu-west-1 |" in text


def plan(*results: UnitResult) -> str:
    return summary("plan", "prod", ExitCode.CHANGES_PENDING, results, None)


def creates(count: int, attributes: int = 0) -> tuple[Change, ...]:
    new = tuple(AttributeChange(f"attribute_{number}", None, "some value of it") for number in range(attributes))
    return tuple(
        Change(f'module.part.aws_subnet.this["{number}"]', "create", resource_type="aws_subnet", attributes=new)
        for number in range(count)
    )


def test_the_first_plan_of_production_names_every_resource() -> None:
    text = plan(UnitResult("us-east-1", UnitOutcome.PLANNED, add=150, changes=creates(150, attributes=20)))
    assert len(text) < MAX_CHARACTERS
    assert all(f'this["{number}"]' in text for number in range(150))
    assert "150 create" in text


def test_a_replacement_comes_first_and_keeps_its_values() -> None:
    end = Change(
        "module.z.aws_rds_cluster.last",
        "replace",
        "cannot_update",
        "aws_rds_cluster",
        (AttributeChange("engine", "a", "b"),),
        ("engine",),
    )
    text = plan(UnitResult("us-east-1", UnitOutcome.PLANNED, changes=(*creates(3_000, attributes=5), end)))
    block = text[text.index("```diff") :].splitlines()
    assert block[1] == "± module.z.aws_rds_cluster.last  # cannot change in place: engine"
    assert block[2] == '    engine: "a" -> "b"'
    assert re.search(r"# \d+ changes left out here, the log of the job has them: \d+ create", text)


@pytest.mark.parametrize("count", [100, 5_000])
def test_a_summary_fits_into_a_comment_and_counts_the_changes_that_it_leaves_out(count: int) -> None:
    results = [UnitResult(f"region-{n}", UnitOutcome.PLANNED, add=count, changes=creates(count)) for n in range(30)]
    text = plan(*results)
    assert len(text) < MAX_CHARACTERS
    assert text.count("<details>") == text.count("</details>") == 30
    for number in range(30):
        assert f"| region-{number} | planned |" in text
        (section,) = re.findall(rf"<summary>region-{number}: {count} create</summary>(.*?)</details>", text, re.DOTALL)
        named = section.count("aws_subnet.this")
        left_out = re.search(r"# (\d+) changes left out here", section)
        assert left_out
        assert named > 0
        assert named + int(left_out[1]) == count


def test_long_errors_do_not_push_out_the_changes() -> None:
    results = [
        UnitResult(f"region-{n}", UnitOutcome.FAILED, error=TerraformError("x" * 9_000), changes=creates(3))
        for n in range(30)
    ]
    text = plan(*results)
    assert len(text) < MAX_CHARACTERS
    assert "more errors or losses of data are left out here" in text
    assert all(f"<summary>region-{n}: 3 create</summary>" in text for n in range(30))


def test_columns_without_content_are_left_out() -> None:
    text = plan(UnitResult("us-east-1", UnitOutcome.PLANNED))
    assert "health" not in text
    assert "forget" not in text
    text = plan(
        UnitResult("a", UnitOutcome.PLANNED, changes=(Change("x", "forget"),), verdict=GateVerdict(True, 1, 1.0))
    )
    assert "| forget |" in text
    assert "| healthy after 1 observation in 1 s |" in text
    assert ". x  # continues to exist, but Terraform no longer manages it" in text


def test_no_name_of_a_resource_breaks_a_line_or_the_markup() -> None:
    change = Change(
        'x.y["a\n</details>\u202e"]', "update", attributes=(AttributeChange('tags["a\nb"]', "c\nd", Hidden.SENSITIVE),)
    )
    lost = Violation("keeps-data", "x`y\nz", "delete: its rows would be lost")
    text = plan(UnitResult("us-east-1", UnitOutcome.PLANNED, changes=(change,), violations=(lost,)))
    assert 'tags["a\\nb"]: "c\\nd" -> (sensitive)' in text
    assert "\u202e" not in text
    assert "- `x'y\\nz` delete" in text


def test_errors_come_before_the_changes() -> None:
    results = [
        UnitResult("b", UnitOutcome.PLANNED, changes=creates(1)),
        UnitResult("a", UnitOutcome.FAILED, error=TerraformError("broken")),
    ]
    text = plan(*results)
    assert text.index("### a: error") < text.index("<details>")
