"""Decides on the state of an alarm by the values of its metric, as CloudWatch does.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

# CloudWatch looks at more periods than the alarm has, so that late values still count. AWS's document shows five
# periods for an alarm on three periods, and says that the number depends on the length of the period.
_EXTRA_PERIODS = 2
_LONGEST_PERIOD_WITH_EXTRA = 300
_WORDS = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}


@dataclass(frozen=True)
class Verdict:
    """Holds the state of an alarm and the reason for the state.

    Attributes:
        state: `OK`, `ALARM` or `INSUFFICIENT_DATA`.
        reason: A sentence about the values.
    """

    state: str
    reason: str


def periods_to_read(alarm: Mapping[str, Any]) -> int:
    """Return the number of periods at which CloudWatch looks to decide on an alarm."""
    extra = _EXTRA_PERIODS if period_of(alarm) <= _LONGEST_PERIOD_WITH_EXTRA else 0
    return int(alarm["EvaluationPeriods"]) + extra


def period_of(alarm: Mapping[str, Any]) -> int:
    """Return the period of an alarm in seconds. An alarm on a query has the period of the query."""
    periods = [alarm.get("Period"), *(query.get("Period") for query in alarm.get("Metrics") or [])]
    periods += [(query.get("MetricStat") or {}).get("Period") for query in alarm.get("Metrics") or []]
    return int(next((period for period in periods if period), 60))


def decide(alarm: Mapping[str, Any], values: Sequence[float | None]) -> Verdict:
    """Return the state of an alarm.

    Args:
        alarm: The alarm as `DescribeAlarms` describes it, with its present state.
        values: The value of each period of `periods_to_read`, the newest last; None for a period without data.
    """
    wanted = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or wanted)
    treatment = alarm.get("TreatMissingData") or "missing"
    known = [value for value in values if value is not None][-wanted:]
    breaching = [value for value in known if _breaches(alarm, value)]
    missing = wanted - len(known)
    state = OK
    if not known:
        states = {"breaching": ALARM, "notBreaching": OK, "ignore": str(alarm["StateValue"])}
        state = states.get(treatment, INSUFFICIENT)
    elif len(breaching) >= needed or (treatment == "breaching" and len(breaching) + missing >= needed):
        state = ALARM
    elif missing and len(breaching) == len(known):
        state = {"missing": ALARM, "ignore": str(alarm["StateValue"])}.get(treatment, OK)
    return Verdict(state, _reason(alarm, known, breaching, missing, treatment, state))


def _breaches(alarm: Mapping[str, Any], value: float) -> bool:
    threshold = float(alarm["Threshold"])
    match alarm["ComparisonOperator"]:
        case "GreaterThanThreshold":
            return value > threshold
        case "GreaterThanOrEqualToThreshold":
            return value >= threshold
        case "LessThanThreshold":
            return value < threshold
        case "LessThanOrEqualToThreshold":
            return value <= threshold
    raise ValueError(f"the stage does not support the comparison {alarm['ComparisonOperator']}")


def _reason(
    alarm: Mapping[str, Any],
    known: Sequence[float],
    breaching: Sequence[float],
    missing: int,
    treatment: str,
    state: str,
) -> str:
    count = int(alarm["EvaluationPeriods"])
    periods = f"{count} period{'s' if count != 1 else ''}"
    if state == INSUFFICIENT:
        return f"Insufficient Data: no datapoints were received for {periods}."
    words = _WORDS[alarm["ComparisonOperator"]]
    parts = []
    if known:
        shown = breaching if state == ALARM and breaching else known
        texts = ", ".join(f"{value:.6g}" for value in shown)
        negation = "" if shown is breaching else "not "
        verb = "was" if len(shown) == 1 else "were"
        parts.append(
            f"{len(shown)} datapoint{'s' if len(shown) != 1 else ''} [{texts}] {verb} {negation}{words} the threshold "
            f"({float(alarm['Threshold'])})"
        )
    else:
        parts.append(f"no datapoints were received for {periods}")
    if missing and treatment in ("breaching", "notBreaching"):
        kind = "Breaching" if treatment == "breaching" else "NonBreaching"
        parts.append(f"{missing} missing datapoint{'s were' if missing != 1 else ' was'} treated as [{kind}]")
    return f"Threshold Crossed: {' and '.join(parts)}."


def notification(
    alarm: Mapping[str, Any], verdict: Verdict, *, account: str, region: str, at: float
) -> tuple[str, dict[str, Any]]:
    """Return the subject and the message that CloudWatch publishes to an SNS topic about a new state.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    changed = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    trigger: dict[str, Any] = {
        "Period": period_of(alarm),
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData") or "missing",
    }
    if alarm.get("Metrics"):
        trigger["Metrics"] = alarm["Metrics"]
    else:
        dimensions = [{"value": item["Value"], "name": item["Name"]} for item in alarm.get("Dimensions") or []]
        trigger |= {
            "MetricName": alarm.get("MetricName"),
            "Namespace": alarm.get("Namespace"),
            "StatisticType": "Statistic",
            "Statistic": str(alarm.get("Statistic")).upper(),
            "Dimensions": dimensions,
        }
    message = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": account,
        "NewStateValue": verdict.state,
        "NewStateReason": verdict.reason,
        "StateChangeTime": changed,
        "Region": region,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": alarm["StateValue"],
        "OKActions": alarm.get("OKActions") or [],
        "AlarmActions": alarm.get("AlarmActions") or [],
        "InsufficientDataActions": alarm.get("InsufficientDataActions") or [],
        "Trigger": trigger,
    }
    # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html limits a subject to 100 characters.
    return f'{verdict.state}: "{alarm["AlarmName"]}" in {region}'[:100], message
