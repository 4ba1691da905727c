"""Counts the events of Lambda, API Gateway, CloudFront and CloudWatch Logs for CloudWatch's metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import log_filters
from mjctl.sandbox.stage.metric_book import MetricBook, MetricName

Handler = Callable[..., Any]

# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html
_CLOUDFRONT_REGION = "us-east-1"
_NOT_SUPPORTED = "the metric filter %s of %s adds no values: %s"

logger = logging.getLogger("mjctl.sandbox.stage")


class MetricEvents:
    """Records a value for each event, at the time of the event."""

    def __init__(self, book: MetricBook) -> None:
        self._book = book
        self._predicates: dict[str, log_filters.Predicate | None] = {}

    def install(self) -> None:
        """Replace functions of ministack by functions that also record values."""
        from ministack.services import apigateway, cloudfront, cloudwatch_logs, lambda_svc

        wrap(lambda_svc, "_execute_function_dispatch", self._counting_invocations)
        wrap(lambda_svc, "_acquire_execution_slot", self._counting_throttles)
        wrap(apigateway, "_handle_execute_in_scope", self._counting_requests)
        wrap(cloudfront, "handle_viewer_request", self._counting_viewers)
        wrap(cloudwatch_logs, "_put_log_events", self._filtering)

    def _counting_invocations(self, original: Handler) -> Handler:
        """Record the metrics of one invocation.

        https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
        """

        def dispatch(function: Any, config: Mapping[str, Any], event: Any, request: str, started: float) -> Any:
            began = time.monotonic()
            result: Any = {"error": True}
            try:
                result = original(function, config, event, request, started)
            finally:
                failed = isinstance(result, dict) and bool(result.get("error"))
                self._lambda(config, "Invocations", 1)
                self._lambda(config, "Errors", int(failed))
                self._lambda(config, "Duration", (time.monotonic() - began) * 1000, "Milliseconds")
            return result

        return dispatch

    def _counting_throttles(self, original: Handler) -> Handler:
        def acquire(function: Any, config: Mapping[str, Any]) -> Any:
            slot, limit = original(function, config)
            if slot is None:
                self._lambda(config, "Throttles", 1)
            return slot, limit

        return acquire

    def _lambda(self, config: Mapping[str, Any], name: str, value: float, unit: str = "Count") -> None:
        region = str(config.get("FunctionArn", "")).split(":")[3:4]
        dimensions = (("FunctionName", str(config.get("FunctionName"))),)
        if region:
            self._book.record(MetricName(region[0], "AWS/Lambda", name, dimensions, unit), value)

    def _counting_requests(self, original: Handler) -> Handler:
        """Record the metrics of one request to an HTTP API.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
        """

        async def handle(api: str, stage: str, path: str, method: str, *rest: Any, **options: Any) -> Any:
            from ministack.core.responses import get_region

            region, began = get_region(), time.monotonic()
            answer = await original(api, stage, path, method, *rest, **options)
            status = int(answer[0])
            values = {
                "Count": (1.0, "Count"),
                "4xx": (float(400 <= status < 500), "Count"),
                "5xx": (float(status >= 500), "Count"),
                "Latency": ((time.monotonic() - began) * 1000, "Milliseconds"),
            }
            for dimensions in ((("ApiId", api),), (("ApiId", api), ("Stage", stage))):
                for name, (value, unit) in values.items():
                    self._book.record(MetricName(region, "AWS/ApiGateway", name, dimensions, unit), value)
            return answer

        return handle

    def _counting_viewers(self, original: Handler) -> Handler:
        """Record the metrics of one request to a CloudFront distribution. Its rates are percentages of the requests."""

        async def handle(distribution: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
            answer = await original(distribution, *arguments, **options)
            status = int(answer[0])
            dimensions = (("DistributionId", str(distribution.get("Id"))), ("Region", "Global"))
            values = {
                "Requests": (1.0, "None"),
                "4xxErrorRate": (100.0 * (400 <= status < 500), "Percent"),
                "5xxErrorRate": (100.0 * (status >= 500), "Percent"),
            }
            for name, (value, unit) in values.items():
                metric = MetricName(_CLOUDFRONT_REGION, "AWS/CloudFront", name, dimensions, unit)
                self._book.record(metric, value)
            return answer

        return handle

    def _filtering(self, original: Handler) -> Handler:
        """Record the values that the metric filters of a log group find in new lines of the group."""

        def put(data: Mapping[str, Any]) -> Any:
            answer = original(data)
            if answer[0] == 200:
                self._apply_filters(str(data.get("logGroupName")), data.get("logEvents") or [])
            return answer

        return put

    def _apply_filters(self, group: str, events: list[Mapping[str, Any]]) -> None:
        from ministack.core.responses import get_region
        from ministack.services import cloudwatch_logs

        filters = [record for key, record in cloudwatch_logs._metric_filters.items() if key[0] == group]
        if not filters:
            return
        lines = [log_filters.parsed(str(event.get("message", ""))) for event in events]
        for record in filters:
            matches = self._predicate(group, record)
            for line in lines:
                if matches is None or line is None or not matches(line):
                    continue
                for transformation in record.get("metricTransformations") or []:
                    value = log_filters.value_of(transformation, line)
                    if value is not None:
                        self._book.record(_metric_of(get_region(), transformation), value)

    def _predicate(self, group: str, record: Mapping[str, Any]) -> log_filters.Predicate | None:
        pattern = str(record.get("filterPattern", ""))
        if pattern not in self._predicates:
            try:
                self._predicates[pattern] = log_filters.predicate(pattern)
            except log_filters.PatternError as error:
                logger.warning(_NOT_SUPPORTED, record.get("filterName"), group, error)
                self._predicates[pattern] = None
        return self._predicates[pattern]


def _metric_of(region: str, transformation: Mapping[str, Any]) -> MetricName:
    """Return the metric of a transformation.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_MetricTransformation.html
    """
    namespace, name = str(transformation["metricNamespace"]), str(transformation["metricName"])
    return MetricName(region, namespace, name, unit=str(transformation.get("unit") or "None"))
