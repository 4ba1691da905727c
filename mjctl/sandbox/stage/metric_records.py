"""Measures load balancers, firewalls, ECS services, queues and backup jobs once a minute for CloudWatch's metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from mjctl.sandbox.stage import balancer_records
from mjctl.sandbox.stage.containers import TASK_LABEL
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.metric_book import Differences, MetricName
from mjctl.sandbox.stage.process_usage import ProcessUsage
from mjctl.sandbox.stage.target_table import DRAINING, HEALTHY, INITIAL, UNUSED

Dimensions = tuple[tuple[str, str], ...]
Record = Mapping[str, Any]

_INSIGHTS = ("enabled", "enhanced")
_UNITS_PER_CPU = 1024


class MetricRecords:
    """Records values from ministack's records and from the state of the stage's processes."""

    def __init__(self, context: StageContext, acl_metric: Callable[[str], str | None]) -> None:
        """Create the object without a measurement.

        Args:
            context: The objects that all parts of the stage share.
            acl_metric: A function that returns the metric name of a web ACL, by its ARN; None for an unknown web ACL.
        """
        self._context = context
        self._acl_metric = acl_metric
        self._differences = Differences()
        self._usage = ProcessUsage()
        self._looked_at = time.time()

    def measure(self) -> None:
        """Record the values of the last minute."""
        self._load_balancers()
        self._firewalls()
        self._services()
        self._queues()
        self._backups()

    def _record(
        self, region: str, namespace: str, name: str, dimensions: Dimensions, value: float, unit: str = "Count"
    ) -> None:
        self._context.metrics.record(MetricName(region, namespace, name, dimensions, unit), value)

    def _load_balancers(self) -> None:
        """Record the metrics of load balancers. AWS publishes most of them only if their value is not 0.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
        """
        from ministack.core.responses import request_scope

        report = self._context.traffic.latest()
        for _, region, record in balancer_records.load_balancers():
            name = str(record["LoadBalancerArn"]).split(":loadbalancer/")[-1]
            dimensions: Dimensions = (("LoadBalancer", name),)
            for metric, total in report.balancers.get(name, {}).items():
                value = self._since_last(("balancer", name, metric), total)
                if metric == "ActiveConnectionCount":
                    value = float(total)
                if value:
                    self._record(region, "AWS/ApplicationELB", metric, dimensions, value)
        for account, region, record in balancer_records.target_groups():
            group = str(record["TargetGroupArn"])
            with request_scope(account, region):
                users = [str(user["LoadBalancerArn"]) for user in balancer_records.users(group)]
            for user in users:
                dimensions = (
                    ("LoadBalancer", user.split(":loadbalancer/")[-1]),
                    ("TargetGroup", group.rsplit(":", 1)[-1]),
                )
                self._hosts(region, group, dimensions)
                for metric, total in report.pools.get(group, {}).items():
                    if value := self._since_last(("pool", user, group, metric), total):
                        self._record(region, "AWS/ApplicationELB", metric, dimensions, value)

    def _hosts(self, region: str, group: str, dimensions: Dimensions) -> None:
        """Record the numbers of healthy and of unhealthy targets, if targets are registered."""
        states = [state.state for state in self._context.targets.of_group(group).values()]
        registered = [state for state in states if state not in (DRAINING, UNUSED)]
        if registered:
            healthy = registered.count(HEALTHY)
            waiting = registered.count(INITIAL)
            self._record(region, "AWS/ApplicationELB", "HealthyHostCount", dimensions, healthy)
            unhealthy = len(registered) - healthy - waiting
            self._record(region, "AWS/ApplicationELB", "UnHealthyHostCount", dimensions, unhealthy)

    def _firewalls(self) -> None:
        """Record the requests that regional web ACLs have allowed and blocked.

        https://docs.aws.amazon.com/waf/latest/developerguide/waf-metrics.html
        """
        for arn, rules in self._context.traffic.latest().firewalls.items():
            metric = self._acl_metric(arn)
            if metric is None:
                continue
            region = arn.split(":")[3]
            dimensions = (("Region", region), ("Rule", "ALL"), ("WebACL", metric))
            for name, total in rules.get("ALL", {}).items():
                if value := self._since_last((arn, name), total):
                    self._record(region, "AWS/WAFV2", name, dimensions, value)

    def _services(self) -> None:
        """Record the tasks of ECS services, and their use of the CPU and memory that the tasks have reserved.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
        """
        from ministack.services import ecs

        processes: dict[str, list[int]] = {}
        for container in self._context.engine.running():
            if container.is_task and container.pid:
                processes.setdefault(container.labels[TASK_LABEL], []).append(container.pid)
        for (account, region, _), service in ecs._services.all_items():
            if service.get("status") != "ACTIVE":
                continue
            cluster = service["clusterArn"].rsplit("/", 1)[-1]
            dimensions = (("ClusterName", cluster), ("ServiceName", str(service["serviceName"])))
            group = f"service:{service['serviceName']}"
            tasks = [
                task
                for (owner, home, _), task in ecs._tasks.all_items()
                if (owner, home) == (account, region)
                and task.get("group") == group
                and task["clusterArn"] == service["clusterArn"]
                and task["lastStatus"] == "RUNNING"
            ]
            for task in tasks:
                self._task(region, dimensions, task, processes.get(task["taskArn"], []))
            if _has_insights(ecs._clusters.get_scoped(account, region, cluster) or {}):
                for name, value in (("RunningTaskCount", len(tasks)), ("DesiredTaskCount", service["desiredCount"])):
                    self._record(region, "ECS/ContainerInsights", name, dimensions, value)

    def _task(self, region: str, dimensions: Dimensions, task: Record, processes: list[int]) -> None:
        used = self._usage.measure(task["taskArn"], processes)
        cpu, memory = int(task.get("cpu") or 0), int(task.get("memory") or 0)
        if used is None or not cpu or not memory:
            return
        percent = 100 * used.cpus / (cpu / _UNITS_PER_CPU)
        self._record(region, "AWS/ECS", "CPUUtilization", dimensions, percent, "Percent")
        percent = 100 * used.memory_bytes / (memory * 2**20)
        self._record(region, "AWS/ECS", "MemoryUtilization", dimensions, percent, "Percent")

    def _queues(self) -> None:
        """Record the messages of all SQS queues.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
        """
        from ministack.core.responses import request_scope
        from ministack.services import sqs

        for (account, region, _), queue in sqs._queues.all_items():
            with request_scope(account, region):
                sqs._refresh_counts(queue)
            attributes = queue["attributes"]
            name = str(attributes.get("QueueArn") or queue.get("name")).rsplit(":", 1)[-1]
            dimensions = (("QueueName", name),)
            visible = int(attributes["ApproximateNumberOfMessages"])
            hidden = int(attributes["ApproximateNumberOfMessagesNotVisible"])
            self._record(region, "AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions, visible)
            self._record(region, "AWS/SQS", "ApproximateNumberOfMessagesNotVisible", dimensions, hidden)
            sent = [float(message["sent_at"]) for message in list(queue["messages"]) if message.get("sent_at")]
            if sent:
                age = time.time() - min(sent)
                self._record(region, "AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, age, "Seconds")

    def _backups(self) -> None:
        """Record the jobs of AWS Backup that have completed or failed. The backups of the stage contain no data.

        https://docs.aws.amazon.com/aws-backup/latest/devguide/cloudwatch.html
        """
        from ministack.services import backup

        since, self._looked_at = self._looked_at, time.time()
        for (_, region, _), job in backup._jobs.all_items():
            name = {"COMPLETED": "NumberOfBackupJobsCompleted", "FAILED": "NumberOfBackupJobsFailed"}.get(job["State"])
            if name and since < float(job.get("CompletionDate") or 0) <= self._looked_at:
                dimensions = (("BackupVaultName", str(job.get("BackupVaultName"))),)
                self._record(region, "AWS/Backup", name, dimensions, 1)

    def _since_last(self, key: tuple[str, ...], total: float) -> float:
        return self._differences.since_last(key, total)


def _has_insights(cluster: Record) -> bool:
    """Return whether Container Insights is on for a cluster, because AWS publishes its metrics only then.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/deploy-container-insights-ECS-cluster.html
    """
    settings = {item["name"]: item["value"] for item in cluster.get("settings") or []}
    return settings.get("containerInsights") in _INSIGHTS
