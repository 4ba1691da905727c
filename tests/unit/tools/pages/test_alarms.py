"""Every alarm has a runbook, and every runbook belongs to an alarm."""

from __future__ import annotations

import re

from tools.pages.__main__ import DOCS
from tools.pages.alarms import EDGE, OBSERVABILITY, alarms
from tools.pages.markdown import anchor

RUNBOOKS = (DOCS / "runbooks.md").read_text(encoding="utf-8")


def test_the_runbooks_are_those_of_the_alarms() -> None:
    headings = re.findall(r"^### (.*)$", RUNBOOKS, re.MULTILINE)
    assert sorted(headings) == sorted(alarm.name for alarm in alarms())


def test_the_description_of_an_alarm_names_the_page() -> None:
    for file in (OBSERVABILITY, EDGE):
        assert 'alarm_description   = "Runbook: docs/runbooks.md, ' in file.read_text(encoding="utf-8")


def test_every_group_of_alarms_in_the_module_is_read() -> None:
    text = OBSERVABILITY.read_text(encoding="utf-8")
    keys = len(re.findall(r"\bnamespace\s*=", text.split('resource "aws_sns_topic"')[0]))
    resources = text + EDGE.read_text(encoding="utf-8")
    # The resource with `for_each` creates the alarms of the maps.
    assert len(alarms()) == keys + resources.count('resource "aws_cloudwatch_metric_alarm"') - 1


def test_a_condition_has_statistic_threshold_and_time() -> None:
    by_name = {alarm.name: alarm for alarm in alarms()}
    assert by_name["database-cpu"].condition == "average above 80 in 5 periods of 60 s"
    assert by_name["backup-too-old"].condition == "sum below 1 in 86400 s"
    assert by_name["database-region-lag"].condition == "maximum above 5000 in 5 periods of 60 s"
    assert by_name["database-region-lag"].metric == "AWS/RDS AuroraGlobalDBReplicationLag"
    assert by_name["database-region-lag"].silent == "unchanged"
    assert by_name["no-healthy-server"].silent == "on"
    assert by_name["distribution-5xx"].metric == "AWS/CloudFront 5xxErrorRate"


def test_a_runbook_has_an_effect_and_steps() -> None:
    for section in re.split(r"^### ", RUNBOOKS, flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0]
        assert "**Effect.**" in section, name
        assert "\n1. " in section, name
        assert anchor(name), name
