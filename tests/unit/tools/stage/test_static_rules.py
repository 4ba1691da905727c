from __future__ import annotations

from pathlib import Path

from tools.stage.static_rules import _broken

RESULTS = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite>
<testcase name="test_production_obeys_the_rule[logs_have_a_retention]" />
<testcase name="test_production_obeys_the_rule[queues_have_dead_letter_queues]"><failure message="AssertionError">
    def test_production_obeys_the_rule(name):
&gt;       assert report.broken == []
E       AssertionError: assert ['region us-east-1: aws_sqs_queue.a: no queue', 'edge: b'] == []
E         Left contains 2 more items, first extra item: 'region us-east-1: aws_sqs_queue.a: no queue'
</failure></testcase>
<testcase name="test_production_obeys_the_rule[roles_are_precise]"><error message="failed on setup">
E       terraform_cli.TerraformFailed: terraform plan in region: 1
E       Error: Invalid value
</error></testcase>
</testsuite></testsuites>
"""


def test_broken_rules_are_read_with_their_faults_and_errors(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    results.write_text(RESULTS, encoding="utf-8")
    (queues, faults), (roles, error) = _broken(results)
    assert (queues, faults) == (
        "queues_have_dead_letter_queues",
        "['region us-east-1: aws_sqs_queue.a: no queue', 'edge: b']",
    )
    assert roles == "roles_are_precise"
    assert error.endswith("Error: Invalid value")
