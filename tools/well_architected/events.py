"""Defines the rules of production about queues, functions, logs and alarms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tools.cloudwatch_metrics import fault as published_fault
from tools.cloudwatch_metrics import query_fault
from tools.plan_model import UNKNOWN, Plan, Resource
from tools.well_architected.rules import Plans, Report, at_least, every, known_list, refers, regional, rule


@rule
def queues_have_dead_letter_queues(plans: Plans, report: Report) -> None:
    """Require dead-letter queues with longer retention, and a long visibility timeout [field practice]."""
    for plan in regional(plans):
        queues = plan.resources("aws_sqs_queue")
        dead = {(q.module, q.key): q for q in queues if str(q.get("name")).endswith("-dlq")}
        timeouts = {f.key: f.get("timeout") for f in plan.resources("aws_lambda_function")}
        for queue in (q for q in queues if not str(q.get("name")).endswith("-dlq")):
            origins = queue.origins("redrive_policy")
            report.expect("aws_sqs_queue.dead_letter" in origins, queue, "has no dead-letter queue")
            dead_letters = dead.get((queue.module, queue.key))
            longer = dead_letters is not None and dead_letters.get("message_retention_seconds") > queue.get(
                "message_retention_seconds"
            )
            report.expect(longer, queue, "its dead-letter queue does not keep messages longer than the queue")
            timeout = timeouts.get(queue.key, UNKNOWN)
            enough = isinstance(timeout, int) and at_least(queue.get("visibility_timeout_seconds"), 6 * timeout)
            report.expect(enough, queue, "its visibility timeout is below six times the function's timeout")


@rule
def functions_keep_failed_events_and_reserve_concurrency(plans: Plans, report: Report) -> None:
    """Require dead-letter queues, reserved concurrency and partial batch failure of functions [REL-1, REL-6]."""
    for function in every(plans, "aws_lambda_function"):
        dead_letters = refers(function, "dead_letter_config.0.target_arn", "aws_sqs_queue.dead_letter")
        report.expect(dead_letters, function, "no dead-letter queue")
        report.expect(at_least(function.get("reserved_concurrent_executions"), 1), function, "no reserved concurrency")
    for mapping in every(plans, "aws_lambda_event_source_mapping"):
        types = known_list(mapping, "function_response_types")
        report.expect(types == ["ReportBatchItemFailures"], mapping, "one bad message fails its whole batch")


@rule
def logs_have_a_retention(plans: Plans, report: Report) -> None:
    """Require a retention for every log group [SEC-4.2]."""
    for group in every(plans, "aws_cloudwatch_log_group"):
        report.expect(at_least(group.get("retention_in_days"), 1), group, "has no retention")


_RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
# A word in capitals in the heading of a runbook stands for a node, a function, a queue or a table.
_PLACEHOLDER = re.compile(r"\b[A-Z]+\b")
_ALARMED = {
    ("AWS/ApiGateway", "5xx"),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
    ("AWS/ApplicationELB", "UnHealthyHostCount"),
    ("AWS/Backup", "NumberOfBackupJobsCompleted"),
    ("AWS/DynamoDB", "ReadThrottleEvents"),
    ("AWS/DynamoDB", "WriteThrottleEvents"),
    ("AWS/ElastiCache", "Evictions"),
    ("AWS/ElastiCache", "ReplicationLag"),
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "Throttles"),
    ("AWS/RDS", "AuroraReplicaLagMaximum"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
}


@rule
def every_alarm_has_an_action(plans: Plans, report: Report) -> None:
    """Require alarms on the metrics in `_ALARMED` and on dead-letter queues, each with a usable SNS topic [REL-6]."""
    for plan in regional(plans):
        alarms = plan.resources("aws_cloudwatch_metric_alarm")
        watched = {(a.get("namespace"), a.get("metric_name")) for a in alarms}
        for namespace, metric in sorted(_ALARMED):
            report.expect((namespace, metric) in watched, plan, f"no alarm on {namespace} {metric}")
        queues = {q.get("name") for q in plan.resources("aws_sqs_queue") if str(q.get("name")).endswith("-dlq")}
        alarmed = {a.get("dimensions.QueueName") for a in alarms if a.get("threshold") == 0}
        report.expect(queues <= alarmed, plan, f"dead-letter queues without an alarm: {queues - alarmed}")
    for alarm in every(plans, "aws_cloudwatch_metric_alarm"):
        report.expect(refers(alarm, "alarm_actions", "aws_sns_topic.alarms"), alarm, "has no SNS topic as its action")
    for plan in plans:
        allowed = {
            policy.module
            for policy in plan.resources("aws_sns_topic_policy")
            if refers(policy, "arn", "aws_sns_topic.alarms") and "cloudwatch.amazonaws.com" in str(policy.get("policy"))
        }
        for alarm in plan.resources("aws_cloudwatch_metric_alarm"):
            report.expect(alarm.module in allowed, alarm, "has a topic to which CloudWatch may not publish")


@rule
def every_alarm_uses_a_metric_that_aws_publishes(plans: Plans, report: Report) -> None:
    """Require metrics that AWS or a metric filter publishes, and a runbook for each alarm [REL-6]."""
    runbooks = [re.compile(_PLACEHOLDER.sub(lambda _: r"[\w-]+", name)) for name in _headings()]
    for alarm in every(plans, "aws_cloudwatch_metric_alarm"):
        queries = alarm.blocks("metric_query")
        for index, _ in enumerate(queries):
            expression = alarm.get(f"metric_query.{index}.expression")
            fault = query_fault(expression) if isinstance(expression, str) else "the query is not known at plan"
            report.expect(fault is None, alarm, str(fault))
        if not queries:
            fault = _fault_of_metric(alarm)
            report.expect(fault is None, alarm, str(fault))
        name = str(alarm.get("alarm_description")).removeprefix("Runbook: docs/runbooks.md, ")
        report.expect(any(page.fullmatch(name) for page in runbooks), alarm, f"docs/runbooks.md has no heading {name}")


def _fault_of_metric(alarm: Resource) -> str | None:
    """Return why AWS does not publish the metric of an alarm, or None if AWS publishes the metric.

    A tag of the alarm names the dimensions, because Terraform does not know the dimensions at plan if it does not know
    all their values. A metric filter of the plan publishes the metrics of other namespaces than AWS's.
    """
    namespace, name, dimensions = (alarm.get(key) for key in ("namespace", "metric_name", "dimensions"))
    keys = alarm.get("tags.Dimensions") if dimensions is UNKNOWN else " ".join(dimensions or {})
    if not all(isinstance(part, str) for part in (namespace, name, keys)):
        return "the metric is not known at plan"
    if (namespace, name, frozenset(keys.split())) in _filtered(alarm.plan):
        return None
    return published_fault(namespace, name, keys.split())


def _filtered(plan: Plan) -> set[tuple[Any, Any, frozenset[str]]]:
    """Return namespace, name and dimensions of the metrics that the metric filters of a plan publish."""
    parts = ("namespace", "name", "dimensions")
    metrics = (
        [resource.get(f"metric_transformation.0.{part}") for part in parts]
        for resource in plan.resources("aws_cloudwatch_log_metric_filter")
    )
    return {(namespace, name, frozenset(dimensions or ())) for namespace, name, dimensions in metrics}


def _headings() -> list[str]:
    return re.findall(r"^### (.*)$", _RUNBOOKS.read_text(encoding="utf-8"), re.M)
