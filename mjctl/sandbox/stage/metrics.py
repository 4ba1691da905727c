"""Publishes CloudWatch's metrics each minute, evaluates the alarms, and scales ECS services.

On AWS, each service publishes its own metrics. On the stage, the parts record values in `StageContext.metrics`.
"""

from __future__ import annotations

import logging
import time

from mjctl.sandbox.stage.alarms import Alarms
from mjctl.sandbox.stage.cloudwatch_api import CloudWatchApi
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.metric_events import MetricEvents
from mjctl.sandbox.stage.metric_records import MetricRecords
from mjctl.sandbox.stage.moto_client import MotoClient
from mjctl.sandbox.stage.rounds import Rounds
from mjctl.sandbox.stage.target_tracking import TargetTracking
from mjctl.sandbox.stage.web_acls import WebAcls

_MINUTE = 60.0

logger = logging.getLogger("mjctl.sandbox.stage")


class MetricPublisher:
    """Plays CloudWatch for the metrics and the alarms, as a part of the stage. Without moto, the part does nothing."""

    def __init__(self, context: StageContext) -> None:
        """Create the object without a change of ministack."""
        self._context = context
        self._rounds = Rounds("MetricPublisher", self._finish_minute)
        self._events = MetricEvents(context.metrics)
        self._next = _minute_of(time.time()) + _MINUTE
        self._acl_metrics: dict[str, str | None] = {}
        if context.moto:
            self._api = CloudWatchApi(MotoClient(context.moto, context.access_key_id))
            self._acls = WebAcls(context.moto, context.access_key_id)
            self._alarms = Alarms(self._api, context.account_id)
            self._tracking = TargetTracking(self._api, context.account_id)

    def install(self) -> None:
        """Record values for the events of ministack's services, and measure the stage each minute."""
        if self._context.moto:
            self._events.install()
            self._context.measures.append(MetricRecords(self._context, self._acl_metric).measure)

    def look(self) -> None:
        """Publish the metrics in a background thread when a minute has ended."""
        if self._context.moto and time.time() >= self._next:
            self._next = _minute_of(time.time()) + _MINUTE
            self._rounds.request()

    def close(self) -> None:
        """Wait until the running round has ended."""
        self._rounds.close()

    def _finish_minute(self) -> None:
        end = _minute_of(time.time())
        self._acl_metrics.clear()
        for measure in list(self._context.measures):
            try:
                measure()
            except Exception:
                logger.exception("a part of the stage was not measured")
        self._api.put(end - _MINUTE, self._context.metrics.take())
        for region in self._regions():
            self._alarms.evaluate(region, end)
            self._tracking.evaluate(region, end)

    @staticmethod
    def _regions() -> list[str]:
        """Return the regions that can have alarms: the regions of SNS topics, which the alarms notify, and of ECS."""
        from ministack.services import ecs, sns

        keys = [*list(sns._topics._data), *list(ecs._services._data)]
        return sorted({str(region) for _, region, _ in keys})

    def _acl_metric(self, arn: str) -> str | None:
        """Return the metric name of a web ACL, or None for an unknown web ACL."""
        if arn not in self._acl_metrics:
            documents = self._acls.of_arn(arn) or {}
            settings = documents.get("WebACL", {}).get("VisibilityConfig", {})
            self._acl_metrics[arn] = settings.get("MetricName") if settings.get("CloudWatchMetricsEnabled") else None
        return self._acl_metrics[arn]


def _minute_of(moment: float) -> float:
    return moment - moment % _MINUTE
