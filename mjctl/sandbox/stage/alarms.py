"""Evaluates the alarms of moto's CloudWatch once a minute, sets their states, and publishes changes to SNS topics."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mjctl.sandbox.stage.alarm_rules import Verdict, decide, notification, period_of, periods_to_read
from mjctl.sandbox.stage.cloudwatch_api import CloudWatchApi, query_of
from mjctl.sandbox.stage.metric_query import parse_query

Alarm = Mapping[str, Any]

_SERVICE = "cloudwatch.amazonaws.com"
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
_KEY_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
# Alarms with these prefixes belong to policies of Application Auto Scaling. target_tracking.py evaluates the policies.
_OF_POLICIES = "TargetTracking-"

logger = logging.getLogger("mjctl.sandbox.stage")


class Alarms:
    """Evaluates the alarms of some regions."""

    def __init__(self, api: CloudWatchApi, account: str) -> None:
        """Create the object. `account` is the id of the account that owns the alarms."""
        self._api = api
        self._account = account

    def evaluate(self, region: str, minute: float) -> None:
        """Evaluate all alarms of a region.

        Args:
            region: The region.
            minute: The end of the last complete minute, in seconds since 1970.

        Raises:
            OSError: moto does not answer.
        """
        alarms = [alarm for alarm in self._api.alarms(region) if not alarm["AlarmName"].startswith(_OF_POLICIES)]
        values = self._values(region, alarms, minute)
        for alarm in alarms:
            name = str(alarm["AlarmName"])
            if name not in values:
                continue
            try:
                verdict = decide(alarm, values[name])
            except ValueError as error:
                logger.warning("the alarm %s in %s was not evaluated: %s", name, region, error)
                continue
            if verdict.state != alarm["StateValue"]:
                self._change(region, alarm, verdict, minute)

    def _values(self, region: str, alarms: Iterable[Alarm], minute: float) -> dict[str, list[float | None]]:
        """Return the values of each alarm by its name, the newest value last."""
        by_start: dict[float, list[Alarm]] = {}
        for alarm in alarms:
            by_start.setdefault(minute - period_of(alarm) * periods_to_read(alarm), []).append(alarm)
        values: dict[str, list[float | None]] = {}
        for start, group in by_start.items():
            queries: dict[str, list[dict[str, Any]]] = {}
            for number, alarm in enumerate(group):
                of_alarm = self._queries(region, f"m{number}", alarm)
                if of_alarm is not None:
                    queries[str(alarm["AlarmName"])] = of_alarm
            wanted = [query for part in queries.values() for query in part]
            # moto's range contains the values at its end.
            data = self._api.data(region, start, minute - 1, wanted) if wanted else {}
            for alarm in group:
                if (parts := queries.get(str(alarm["AlarmName"]))) is not None:
                    lists = [data.get(query["Id"], {}) for query in parts]
                    values[str(alarm["AlarmName"])] = _series(alarm, lists, start)
        return values

    def _queries(self, region: str, prefix: str, alarm: Alarm) -> list[dict[str, Any]] | None:
        """Return the queries for the metrics of an alarm, or None for an alarm that the stage cannot evaluate."""
        period = period_of(alarm)
        if alarm.get("MetricName"):
            dimensions = alarm.get("Dimensions") or []
            return [
                query_of(prefix, alarm["Namespace"], alarm["MetricName"], dimensions, period, str(alarm["Statistic"]))
            ]
        query = parse_query(str((alarm.get("Metrics") or [{}])[0].get("Expression")))
        if query is None or len(alarm["Metrics"]) != 1:
            logger.warning("the stage cannot evaluate the metric math of the alarm %s", alarm["AlarmName"])
            return None
        metrics = self._api.metrics(region, query.namespace, query.metric)
        matching = [group for group in metrics if query.matches(group)]
        return [
            query_of(
                f"{prefix}x{number}",
                query.namespace,
                query.metric,
                [{"Name": name, "Value": value} for name, value in group.items()],
                period,
                query.statistic,
            )
            for number, group in enumerate(matching)
        ]

    def _change(self, region: str, alarm: Alarm, verdict: Verdict, minute: float) -> None:
        name = str(alarm["AlarmName"])
        self._api.set_state(region, name, verdict.state, verdict.reason, {"version": "1.0"})
        logger.warning("the alarm %s in %s is %s: %s", name, region, verdict.state, verdict.reason)
        if not alarm.get("ActionsEnabled", True):
            return
        actions = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(verdict.state, "InsufficientDataActions")
        for action in alarm.get(actions) or []:
            if action.startswith("arn:aws:sns:"):
                subject, message = notification(alarm, verdict, account=self._account, region=region, at=minute)
                self._publish(region, str(action), str(alarm["AlarmArn"]), subject, message)
            else:
                logger.warning("the stage has no action %s for the alarm %s", action, name)

    def _publish(self, region: str, topic: str, alarm: str, subject: str, message: Mapping[str, Any]) -> None:
        """Publish to a topic if the policies of the topic and of its KMS key allow CloudWatch to publish.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        """
        from ministack.core.responses import request_scope
        from ministack.services import sns

        from mjctl.sandbox.stage.iam_records import customer_key
        from mjctl.sandbox.stage.permissions import service_decision

        with request_scope(self._account, region):
            key = customer_key(topic)
            calls = [("sns:Publish", topic), *((action, key) for action in _KEY_ACTIONS if key)]
            for action, resource in calls:
                decision = service_decision(_SERVICE, action, resource, alarm)
                if not decision.allowed:
                    logger.warning("CloudWatch may not publish to %s: %s %s", topic, action, decision.reason)
                    return
            if sns.publish_internal(topic, json.dumps(message), subject) is None:
                logger.warning("the topic %s of the alarm %s does not exist", topic, alarm)


def _series(alarm: Alarm, lists: Iterable[Mapping[float, float]], start: float) -> list[float | None]:
    """Return the value of each period, from one metric or from all metrics that match a query."""
    period = period_of(alarm)
    query = parse_query(str((alarm.get("Metrics") or [{}])[0].get("Expression")))
    merged: list[float | None] = []
    for number in range(periods_to_read(alarm)):
        at = start + number * period
        # moto names each value by the start of its period.
        numbers = [values[moment] for values in lists for moment in values if at <= moment < at + period]
        merged.append((query.merge(numbers) if query else numbers[0]) if numbers else None)
    return merged
