"""Generates docs/alarms.md from the alarms that the Terraform code defines.

The module reads the subset of HCL that `terraform/modules/observability/main.tf` and `terraform/stacks/edge/main.tf`
use. A test compares the headings of docs/runbooks.md, which is written by hand, with the alarms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.pages.markdown import anchor, head, table

_ROOT = Path(__file__).parents[2]
OBSERVABILITY = _ROOT / "terraform" / "modules" / "observability" / "main.tf"
EDGE = _ROOT / "terraform" / "stacks" / "edge" / "main.tf"
_INTRODUCTION = """
CloudWatch alarms of an environment on AWS. Each region has the alarms of the module `observability`, and the stack
`edge` has `distribution-5xx`. The name of an alarm is `PROJECT-ENVIRONMENT-` and the name in this table. Words in
capitals stand for a node, a function, a queue or a table. All alarms go to the SNS topic `PROJECT-ENVIRONMENT-alarms`,
and from there to the addresses in `aws.notify_emails`. `mjctl health` fails the check `alarms` while an alarm is on.

[Runbooks](runbooks.md) has the steps for each alarm. A local region has no alarms: `mjctl health` checks the same
parts.
"""
_ALARM = re.compile(
    r'(?:"(?P<quoted>[^"]+)"|(?P<bare>[\w-]+))\s*=>?\s*\{\s*namespace\s*=\s*"(?P<rest>.*?)\}\s*$', re.M | re.S
)
_RESOURCE = re.compile(r'^resource "aws_cloudwatch_metric_alarm" "\w+" \{\n(?P<body>.*?)^\}', re.M | re.S)
# A query of CloudWatch Metrics Insights in the source of an alarm.
_QUERY = re.compile(r'SELECT (?P<statistic>\w+)\((?P<metric>\w+)\) FROM \\"(?P<namespace>[\w/]+)\\"')
_STATISTICS = {"AVG": "Average", "MAX": "Maximum", "MIN": "Minimum", "SUM": "Sum"}
_DEFAULTS = {"statistic": "Average", "threshold": "0", "period": "60", "evaluations": "2"}
# Argument of an alarm's resource -> the name of the equal setting in the maps of terraform/modules/observability.
_NAMES = {
    "comparison_operator": "comparison",
    "evaluation_periods": "evaluations",
    "metric_name": "metric",
    "treat_missing_data": "missing",
}
_ABOVE, _BELOW = "GreaterThanThreshold", "LessThanThreshold"
# First word of an alarm's name -> the placeholder that the page prints instead of a node, function, queue or table.
_PLACEHOLDERS = {
    "cache": "NODE",
    "dead": "QUEUE",
    "function": "NAME",
    "queue": "QUEUE",
    "state": "NODE",
    "table": "TABLE",
}


@dataclass(frozen=True)
class Alarm:
    """Describes one alarm, or a group of alarms with equal conditions, for example one alarm for each queue.

    Attributes:
        name: the alarm's name without the prefix of the environment; a word in capitals is a placeholder, for example
            QUEUE.
        metric: namespace and name of the metric.
        condition: the condition under which the alarm is in the state ALARM, in words.
        silent: the state of the alarm if all data is missing: `on`, `off`, or `unchanged`.
    """

    name: str
    metric: str
    condition: str
    silent: str


def page() -> str:
    """Return the whole page."""
    rows = [
        (
            f"[`{alarm.name}`](runbooks.md#{anchor(alarm.name)})",
            f"`{alarm.metric}`",
            alarm.condition,
            alarm.silent,
        )
        for alarm in alarms()
    ]
    return "\n".join([head("Alarms", _INTRODUCTION), table(("alarm", "metric", "on when", "without data"), rows)])


def alarms() -> list[Alarm]:
    """Return the alarms of the region stack and the edge stack, by name."""
    all_alarms = [*_of_regions(), *_of_resources(OBSERVABILITY), *_of_resources(EDGE)]
    return sorted(all_alarms, key=lambda alarm: alarm.name)


def _of_regions() -> Iterator[Alarm]:
    source = OBSERVABILITY.read_text(encoding="utf-8").replace("${var.name}", "PROJECT-ENVIRONMENT")
    for match in _ALARM.finditer(source):
        values = dict(re.findall(r'(\w+)\s*=\s*"?([^",}\n]+)"?', f'namespace = "{match["rest"]}'))
        yield _alarm(_name(match["quoted"] or match["bare"]), values)


def _of_resources(file: Path) -> Iterator[Alarm]:
    """Yield the alarms that are not in the maps of terraform/modules/observability."""
    for match in _RESOURCE.finditer(file.read_text(encoding="utf-8")):
        if "for_each" in match["body"]:
            continue
        body: dict[str, str] = dict(re.findall(r'^ {2,4}(\w+)\s*= "?(.*?)"?$', match["body"], re.M))
        values = {_NAMES.get(name, name): value for name, value in body.items()}
        if query := _QUERY.search(match["body"]):
            values |= query.groupdict() | {"statistic": _STATISTICS[query["statistic"]]}
        yield _alarm(re.sub(r"^\$\{[\w.]+\}-", "", body["alarm_name"]), values)


def _name(key: str) -> str:
    return re.sub(r"\$\{\w+\}", _PLACEHOLDERS.get(key.split("-", maxsplit=1)[0], ""), key)


def _alarm(name: str, values: dict[str, str]) -> Alarm:
    chosen = {key: values.get(key, default).strip() for key, default in _DEFAULTS.items()}
    side = "below" if values.get("comparison", _ABOVE) == _BELOW else "above"
    threshold = "the smallest number of tasks" if "minimum_tasks" in chosen["threshold"] else chosen["threshold"]
    count = int(chosen["evaluations"])
    periods = f"in {count} periods of {chosen['period']} s" if count > 1 else f"in {chosen['period']} s"
    return Alarm(
        name=name,
        metric=f"{values['namespace']} {values['metric']}",
        condition=f"{chosen['statistic'].lower()} {side} {threshold} {periods}",
        silent={"breaching": "on", "ignore": "unchanged"}.get(values.get("missing", ""), "off"),
    )
