"""Lists the metrics that AWS publishes to CloudWatch, for the metrics that mjctl's alarms use.

An alarm on a metric that AWS does not publish never fires. The dimensions of an alarm must be one of the sets of
dimensions with which AWS publishes the metric.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from mjctl.sandbox.stage.metric_query import parse_query


class Reported(Enum):
    """Lists the times at which AWS publishes a metric."""

    ALWAYS = "each minute"
    """AWS publishes the metric in each minute in which the resource runs."""

    ON_EVENTS = "in minutes with events"
    """AWS publishes the metric only after an event, e.g. a request, or only in a special role, e.g. of a replica."""


@dataclass(frozen=True)
class PublishedMetrics:
    """Describes metrics of a service that have equal dimensions.

    Attributes:
        namespace: the namespace of the metrics.
        names: the names of the metrics.
        dimensions: the sets of dimensions with which AWS publishes each of the metrics.
        reported: the times at which AWS publishes the metrics.
        source: the address of AWS's document about the metrics.
    """

    namespace: str
    names: frozenset[str]
    dimensions: tuple[frozenset[str], ...]
    reported: Reported
    source: str


def _metrics(
    namespace: str, names: str, dimensions: Collection[str], reported: Reported, source: str
) -> PublishedMetrics:
    sets = tuple(frozenset(group.split()) for group in dimensions)
    return PublishedMetrics(
        namespace, frozenset(names.split()), sets, reported, f"https://docs.aws.amazon.com/{source}"
    )


_BALANCER = ("LoadBalancer", "LoadBalancer AvailabilityZone")
_TARGETS = (
    "LoadBalancer TargetGroup",
    "LoadBalancer TargetGroup AvailabilityZone",
)
_AURORA_SOURCE = "AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html"
_ELB_SOURCE = "elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html"

PUBLISHED = (
    _metrics(
        "AWS/ApiGateway",
        "4xx 5xx Count IntegrationLatency Latency",
        ("ApiId", "ApiId Stage", "ApiId Method Resource Stage"),
        Reported.ON_EVENTS,
        "apigateway/latest/developerguide/http-api-metrics.html",
    ),
    _metrics(
        "AWS/ApplicationELB", "ActiveConnectionCount NewConnectionCount", _BALANCER, Reported.ON_EVENTS, _ELB_SOURCE
    ),
    _metrics(
        "AWS/ApplicationELB",
        "HTTPCode_ELB_4XX_Count HTTPCode_ELB_5XX_Count HTTPCode_ELB_503_Count",
        _BALANCER,
        Reported.ON_EVENTS,
        _ELB_SOURCE,
    ),
    _metrics(
        "AWS/ApplicationELB",
        "HTTPCode_Target_2XX_Count HTTPCode_Target_3XX_Count HTTPCode_Target_4XX_Count HTTPCode_Target_5XX_Count "
        "RequestCount TargetResponseTime",
        (*_BALANCER, *_TARGETS),
        Reported.ON_EVENTS,
        _ELB_SOURCE,
    ),
    _metrics("AWS/ApplicationELB", "HealthyHostCount UnHealthyHostCount", _TARGETS, Reported.ALWAYS, _ELB_SOURCE),
    _metrics(
        "AWS/Backup",
        "NumberOfBackupJobsCompleted NumberOfBackupJobsFailed NumberOfCopyJobsCompleted NumberOfCopyJobsFailed",
        ("BackupVaultName", "ResourceType", "BackupVaultName ResourceType"),
        Reported.ON_EVENTS,
        "aws-backup/latest/devguide/cloudwatch.html",
    ),
    _metrics(
        "AWS/CloudFront",
        "4xxErrorRate 5xxErrorRate Requests TotalErrorRate",
        ("DistributionId Region",),
        Reported.ON_EVENTS,
        "AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html",
    ),
    # AWS publishes the metric ThrottledRequests only with the dimensions TableName and Operation together.
    _metrics(
        "AWS/DynamoDB",
        "ReadThrottleEvents WriteThrottleEvents",
        ("TableName", "TableName GlobalSecondaryIndexName"),
        Reported.ON_EVENTS,
        "amazondynamodb/latest/developerguide/metrics-dimensions.html",
    ),
    _metrics(
        "AWS/DynamoDB",
        "SuccessfulRequestLatency SystemErrors ThrottledRequests",
        ("TableName Operation",),
        Reported.ON_EVENTS,
        "amazondynamodb/latest/developerguide/metrics-dimensions.html",
    ),
    _metrics(
        "AWS/ECS",
        "CPUUtilization MemoryUtilization",
        ("ClusterName", "ClusterName ServiceName"),
        Reported.ALWAYS,
        "AmazonECS/latest/developerguide/available-metrics.html",
    ),
    _metrics(
        "AWS/ElastiCache",
        "CurrConnections DatabaseMemoryUsagePercentage EngineCPUUtilization Evictions",
        ("CacheClusterId", "CacheClusterId CacheNodeId"),
        Reported.ALWAYS,
        "AmazonElastiCache/latest/dg/CacheMetrics.Redis.html",
    ),
    _metrics(
        "AWS/ElastiCache",
        "ReplicationLag",
        ("CacheClusterId", "CacheClusterId CacheNodeId"),
        Reported.ON_EVENTS,
        "AmazonElastiCache/latest/dg/CacheMetrics.Redis.html",
    ),
    _metrics(
        "AWS/Lambda",
        "Duration Errors Invocations Throttles",
        ("FunctionName", "FunctionName Resource", "ExecutedVersion FunctionName Resource"),
        Reported.ON_EVENTS,
        "lambda/latest/dg/monitoring-metrics-types.html",
    ),
    # AWS's documents do not list the dimensions of the metric of a global database. AWS's laboratories for Aurora read
    # the metric in the group "DBClusterIdentifier, SourceRegion". A query of Metrics Insights reads the metric with any
    # dimensions besides DBClusterIdentifier.
    _metrics(
        "AWS/RDS",
        "AuroraGlobalDBReplicationLag",
        ("DBClusterIdentifier SourceRegion",),
        Reported.ON_EVENTS,
        _AURORA_SOURCE,
    ),
    _metrics("AWS/RDS", "AuroraReplicaLag", ("DBInstanceIdentifier",), Reported.ON_EVENTS, _AURORA_SOURCE),
    _metrics("AWS/RDS", "AuroraReplicaLagMaximum", ("DBClusterIdentifier",), Reported.ON_EVENTS, _AURORA_SOURCE),
    _metrics(
        "AWS/RDS",
        "CPUUtilization DatabaseConnections",
        ("DBClusterIdentifier", "DBClusterIdentifier Role", "DBInstanceIdentifier"),
        Reported.ALWAYS,
        _AURORA_SOURCE,
    ),
    _metrics(
        "AWS/SQS",
        "ApproximateNumberOfMessagesNotVisible ApproximateNumberOfMessagesVisible",
        ("QueueName",),
        Reported.ALWAYS,
        "AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
    ),
    _metrics(
        "AWS/SQS",
        "ApproximateAgeOfOldestMessage",
        ("QueueName",),
        Reported.ON_EVENTS,
        "AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
    ),
    _metrics(
        "AWS/WAFV2",
        "AllowedRequests BlockedRequests CountedRequests",
        ("Region Rule WebACL", "Rule WebACL"),
        Reported.ON_EVENTS,
        "waf/latest/developerguide/waf-metrics.html",
    ),
    _metrics(
        "ECS/ContainerInsights",
        "DesiredTaskCount RunningTaskCount",
        ("ClusterName ServiceName",),
        Reported.ALWAYS,
        "AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-ECS.html",
    ),
)
"""The metrics that AWS publishes."""


def published(namespace: str, name: str) -> PublishedMetrics | None:
    """Return the description of a metric, or None if the table does not list the metric."""
    return next((entry for entry in PUBLISHED if entry.namespace == namespace and name in entry.names), None)


def fault(namespace: str, name: str, dimensions: Collection[str]) -> str | None:
    """Return why AWS publishes no such metric, or None if AWS publishes the metric.

    Args:
        namespace: the namespace of the metric.
        name: the name of the metric.
        dimensions: the names of the dimensions.
    """
    entry = published(namespace, name)
    if entry is None:
        return f"tools/cloudwatch_metrics.py lists no metric {namespace} {name}"
    if frozenset(dimensions) in entry.dimensions:
        return None
    sets = " or ".join(" and ".join(sorted(group)) for group in entry.dimensions)
    return f"AWS publishes {namespace} {name} by {sets}, not by {' and '.join(sorted(dimensions)) or 'no dimension'}"


def query_fault(expression: str) -> str | None:
    """Return why no metric matches a query of Metrics Insights, or None if AWS publishes a metric that matches.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html
    """
    query = parse_query(expression)
    if query is None:
        return f"the query has an unknown form: {expression}"
    entry = published(query.namespace, query.metric)
    if entry is None:
        return f"tools/cloudwatch_metrics.py lists no metric {query.namespace} {query.metric}"
    if query.dimension is None or any(query.dimension in group for group in entry.dimensions):
        return None
    return f"AWS does not publish {query.namespace} {query.metric} by {query.dimension}"
