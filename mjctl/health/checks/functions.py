"""Checks the Lambda functions, their event sources and dead-letter queues, and the region's alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mjctl.clients.queues import queue_depth
from mjctl.health.logs import log_command
from mjctl.health.model import AWS_CHECK_SECONDS, Check, CheckFunction, Finding, RegionContext, failed, passed, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract

# An alarm is long if it looks at the data of this time or more. The alarm `backup-too-old` is the only long alarm.
_LONG_SECONDS: Final = 86_400
# Only the checks of the functions `api` and `auth` are critical, because players wait for the answers of these
# functions. A failure of the function `persistence` is not critical, because the events can wait in a queue.
_FUNCTION_SEVERITY = {"api": Severity.CRITICAL, "auth": Severity.CRITICAL, "ops": Severity.MINOR}


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the checks of the functions, the functions' dead-letter queues and the alarms, for a region on AWS."""
    if contract.managed is None:
        return
    for purpose, name in contract.managed.functions.items():
        severity = _FUNCTION_SEVERITY.get(purpose, Severity.MAJOR)
        yield Check(f"function/{purpose}", _function(name), AWS_CHECK_SECONDS, severity)
    for purpose, queue in contract.managed.dead_letter_queues.items():
        yield Check(f"dead-letters/function-{purpose}", _dead_letters(purpose, queue), AWS_CHECK_SECONDS)
    yield Check("alarms", check_alarms, AWS_CHECK_SECONDS, Severity.MINOR)
    yield Check("alarm-topic", check_alarm_topic, AWS_CHECK_SECONDS, Severity.MINOR)


def _function(name: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        function = await context.clients.call("lambda", "get_function_configuration", FunctionName=name)
        state, update = function.get("State", "Unknown"), function.get("LastUpdateStatus", "Unknown")
        mappings = (await context.clients.call_all("lambda", "list_event_source_mappings", FunctionName=name))[
            "EventSourceMappings"
        ]
        feeds = {str(item["EventSourceArn"]).rsplit(":", 1)[-1]: item.get("State", "") for item in mappings}
        evidence = {
            "function": name,
            "state": state,
            "last_update": update,
            "package": function.get("CodeSha256"),
            "event_sources": feeds,
        }
        scope = f"--env {context.contract.environment} --region {context.contract.region}"
        deploy = f"`mjctl deploy {scope}` restores the function"
        if state not in ("Active", "Inactive"):
            reason = function.get("StateReason") or "AWS gives no reason"
            return (warned if state == "Pending" else failed)(f"{name} is {state}: {reason}", hint=deploy, **evidence)
        if update not in ("Successful", "InProgress"):
            reason = function.get("LastUpdateStatusReason") or "AWS gives no reason"
            return failed(f"the last update of {name} has the status {update}: {reason}", hint=deploy, **evidence)
        stopped = [queue for queue, mapping_state in feeds.items() if mapping_state in ("Disabled", "Disabling")]
        if stopped:
            return failed(
                f"{name} no longer reads {', '.join(stopped)}: the event source mapping is disabled",
                hint=deploy,
                **evidence,
            )
        if update == "InProgress":
            return warned(f"{name} is being updated", hint="look again in a few seconds", **evidence)
        reads = f", reads {', '.join(feeds)}" if feeds else ""
        return passed(f"{name} {state.lower()}{reads}", **evidence)

    return check


def _dead_letters(purpose: str, queue: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        url = (await context.clients.call("sqs", "get_queue_url", QueueName=queue))["QueueUrl"]
        depth = await queue_depth(context.clients, url)
        if depth.total >= context.thresholds.dead_letters_fail:
            return failed(
                f"{depth.total} invocations of the function failed after all retries",
                hint=f"`aws sqs receive-message --queue-url {url} --region {context.contract.region}` shows a failed "
                "invocation; the function's log shows why the invocation failed: "
                f"{log_command(context.contract, purpose)}",
                messages=depth.total,
            )
        return passed("empty" if depth.total == 0 else f"{depth.total} messages", messages=depth.total)

    return check


async def check_alarms(context: RegionContext) -> Finding:
    """Check that the region's alarms exist and that none of them is in the state ALARM."""
    managed = context.contract.managed
    prefix = managed.alarm_prefix if managed else ""
    answer = await context.clients.call_all(
        "cloudwatch", "describe_alarms", AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"]
    )
    states = {item["AlarmName"]: item["StateValue"] for item in answer["MetricAlarms"]}
    young = [item["AlarmName"].removeprefix(prefix) for item in answer["MetricAlarms"] if _is_young(item)]
    ringing = [name.removeprefix(prefix) for name, state in states.items() if state == "ALARM"]
    ringing = [name for name in ringing if name not in young]
    silent = sum(state == "INSUFFICIENT_DATA" for state in states.values())
    evidence = {"alarms": len(states), "ringing": ringing, "insufficient_data": silent, "young": young}
    if not states:
        return failed(
            f"no alarm named {prefix}* exists, so no operator would learn of a fault",
            hint=f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` creates the "
            "alarms",
            **evidence,
        )
    if ringing:
        return failed(
            f"{len(ringing)} of {len(states)} alarms are in the state ALARM: {', '.join(ringing)}",
            hint="the description of each alarm names its runbook: `aws cloudwatch describe-alarms --state-value ALARM "
            f"--alarm-name-prefix {prefix} --region {context.contract.region}`",
            **evidence,
        )
    return passed(
        f"{len(states)} alarms, none in the state ALARM{f', {silent} without data yet' if silent else ''}", **evidence
    )


def _is_young(alarm: Mapping[str, Any]) -> bool:
    """Return whether an alarm is on because its metric has no data yet.

    The alarm `backup-too-old` looks at 24 hours, and treats missing data as a fault. In a new region, the alarm is on
    until the first backup has finished.
    """
    seconds = int(alarm.get("Period") or 0) * int(alarm["EvaluationPeriods"])
    changed = alarm.get("AlarmConfigurationUpdatedTimestamp")
    if alarm["StateValue"] != "ALARM" or alarm.get("TreatMissingData") != "breaching" or changed is None:
        return False
    return seconds >= _LONG_SECONDS and datetime.now(UTC) - changed < timedelta(seconds=seconds)


async def check_alarm_topic(context: RegionContext) -> Finding:
    """Check that the SNS topic of the alarms has a confirmed subscriber."""
    managed = context.contract.managed
    topic = managed.alarm_topic if managed else ""
    answer = await context.clients.call_all("sns", "list_subscriptions_by_topic", TopicArn=topic)
    subscriptions: list[dict[str, str]] = answer["Subscriptions"]
    pending = [item for item in subscriptions if not item.get("SubscriptionArn", "").startswith("arn:")]
    confirmed = len(subscriptions) - len(pending)
    evidence = {"subscriptions": len(subscriptions), "pending": len(pending)}
    if not confirmed:
        return warned(
            "the alarms reach no operator: "
            + (f"{len(pending)} subscriptions are not confirmed yet" if pending else "their topic has no subscription"),
            hint="set aws.notify_emails in the environment's file, and run `mjctl deploy --env "
            f"{context.contract.environment} --region {context.contract.region}`. Each recipient must then open the "
            "link in AWS's mail, which confirms the subscription",
            **evidence,
        )
    return passed(f"{confirmed} subscriber{'s' if confirmed != 1 else ''}", **evidence)
