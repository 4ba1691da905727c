"""Tests that the state of an alarm follows from its values and its missing values as in AWS's document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mjctl.sandbox.stage.alarm_rules import Verdict, decide, notification, period_of, periods_to_read

_VALUES = {"-": None, "0": 0.0, "X": 9.0}


def alarm(**changes: Any) -> dict[str, Any]:
    return {
        "AlarmName": "arena-prod-server-5xx",
        "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:arena-prod-server-5xx",
        "ComparisonOperator": "GreaterThanThreshold",
        "Dimensions": [{"Name": "LoadBalancer", "Value": "app/game/1"}],
        "EvaluationPeriods": 3,
        "MetricName": "HTTPCode_Target_5XX_Count",
        "Namespace": "AWS/ApplicationELB",
        "Period": 60,
        "StateValue": "kept",
        "Statistic": "Sum",
        "Threshold": 5.0,
        **changes,
    }


# The tables of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: the values
# of five periods, and the state if missing data is treated as missing, ignore, breaching and notBreaching.
THREE_OF_THREE = [
    ("0 - X - X", "OK OK OK OK"),
    ("- - - - 0", "OK OK OK OK"),
    ("- - - - -", "INSUFFICIENT_DATA kept ALARM OK"),
    ("0 X X - X", "ALARM ALARM ALARM ALARM"),
    ("- - X - -", "ALARM kept ALARM OK"),
]
TWO_OF_THREE = [
    ("0 - X - X", "ALARM ALARM ALARM ALARM"),
    ("0 0 X 0 X", "ALARM ALARM ALARM ALARM"),
    ("0 - X - -", "OK OK ALARM OK"),
    ("- - - - 0", "OK OK ALARM OK"),
    ("- - - X -", "ALARM kept ALARM OK"),
]


@pytest.mark.parametrize(
    ("needed", "values", "states"),
    [(3, *row) for row in THREE_OF_THREE] + [(2, *row) for row in TWO_OF_THREE],
)
def test_missing_data_is_treated_as_in_the_tables_of_aws(needed: int, values: str, states: str) -> None:
    seen = [
        decide(
            alarm(DatapointsToAlarm=needed, TreatMissingData=treatment), [_VALUES[mark] for mark in values.split()]
        ).state
        for treatment in ("missing", "ignore", "breaching", "notBreaching")
    ]
    assert seen == states.split()


@pytest.mark.parametrize(
    ("comparison", "states"),
    [
        ("GreaterThanThreshold", ["OK", "OK", "ALARM"]),
        ("GreaterThanOrEqualToThreshold", ["OK", "ALARM", "ALARM"]),
        ("LessThanThreshold", ["ALARM", "OK", "OK"]),
        ("LessThanOrEqualToThreshold", ["ALARM", "ALARM", "OK"]),
    ],
)
def test_a_value_is_compared_with_the_threshold(comparison: str, states: list[str]) -> None:
    described = alarm(ComparisonOperator=comparison, EvaluationPeriods=1)
    assert [decide(described, [value]).state for value in (4.0, 5.0, 6.0)] == states


def test_a_comparison_with_a_band_is_refused() -> None:
    with pytest.raises(ValueError, match="GreaterThanUpperThreshold"):
        decide(alarm(ComparisonOperator="GreaterThanUpperThreshold"), [1.0, 1.0, 1.0])


def test_an_alarm_reads_more_periods_than_it_has() -> None:
    assert periods_to_read(alarm()) == 5
    assert periods_to_read(alarm(Period=86_400, EvaluationPeriods=1)) == 1


def test_the_period_of_a_query_is_the_period_of_the_alarm() -> None:
    assert period_of(alarm(Period=None, Metrics=[{"Id": "q", "Expression": "SELECT …", "Period": 300}])) == 300
    assert period_of(alarm(Period=None, Metrics=[{"Id": "q", "MetricStat": {"Period": 120}}])) == 120


def test_the_reason_names_the_values_and_the_missing_values() -> None:
    assert decide(alarm(EvaluationPeriods=1), [9.0]).reason == (
        "Threshold Crossed: 1 datapoint [9] was greater than the threshold (5.0)."
    )
    assert decide(alarm(TreatMissingData="breaching"), [None] * 5).reason == (
        "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as "
        "[Breaching]."
    )
    assert decide(alarm(), [1.0, 1.0, 9.0]).reason == (
        "Threshold Crossed: 3 datapoints [1, 1, 9] were not greater than the threshold (5.0)."
    )


def test_the_notification_has_the_fields_of_aws() -> None:
    described = alarm(AlarmActions=["arn:aws:sns:eu-west-1:123456789012:alarms"])
    verdict = Verdict("ALARM", "Threshold Crossed")
    subject, message = notification(described, verdict, account="123456789012", region="eu-west-1", at=0.0)
    assert subject == 'ALARM: "arena-prod-server-5xx" in eu-west-1'
    assert json.loads(json.dumps(message)) == message
    assert message["NewStateValue"] == "ALARM"
    assert message["OldStateValue"] == "kept"
    assert message["StateChangeTime"] == "1970-01-01T00:00:00.000+0000"
    assert message["Trigger"]["Statistic"] == "SUM"
    assert message["Trigger"]["Dimensions"] == [{"value": "app/game/1", "name": "LoadBalancer"}]
