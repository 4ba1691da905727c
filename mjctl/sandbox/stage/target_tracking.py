"""Scales ECS services by the target tracking policies of moto's Application Auto Scaling.

https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking.html
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mjctl.sandbox.stage.cloudwatch_api import CloudWatchApi, query_of

Policy = Mapping[str, Any]

_PERIOD = 60
# A policy scales out after three minutes above the target, and in after 15 minutes below 90 percent of the target. AWS
# creates two alarms with these numbers of minutes for a policy:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-autoscaling-targettracking.html
_MINUTES_OUT = 3
_MINUTES_IN = 15
_LOW = 0.9
_DEFAULT_COOLDOWN = 300.0
_PREDEFINED = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}

logger = logging.getLogger("mjctl.sandbox.stage")


@dataclass(frozen=True)
class ScalingVote:
    """Holds the number of tasks that a policy wants.

    Attributes:
        tasks: The number of tasks.
        cooldown: The seconds since the last scaling activity after which the policy may act.
    """

    tasks: int
    cooldown: float


def vote(policy: Policy, values: Sequence[float | None], running: int) -> ScalingVote | None:
    """Return how many tasks a policy wants, or None if the policy wants no change.

    Args:
        policy: The field `TargetTrackingScalingPolicyConfiguration` of the policy.
        values: The value of the metric in each of the last 15 minutes, the newest last; None for missing data.
        running: The present number of tasks.
    """
    target = float(policy["TargetValue"])
    newest = values[-_MINUTES_OUT:]
    if None not in newest and all(value > target for value in newest if value is not None):
        wanted = math.ceil(running * float(newest[-1] or 0) / target)
        return ScalingVote(max(wanted, running + 1), float(policy.get("ScaleOutCooldown", _DEFAULT_COOLDOWN)))
    low = [value for value in values[-_MINUTES_IN:] if value is not None and value < _LOW * target]
    if len(low) == _MINUTES_IN and not policy.get("DisableScaleIn"):
        wanted = math.ceil(running * low[-1] / target)
        return ScalingVote(min(wanted, running), float(policy.get("ScaleInCooldown", _DEFAULT_COOLDOWN)))
    return None


def combined(votes: Sequence[ScalingVote | None], running: int) -> ScalingVote | None:
    """Return the vote that counts: the largest number of tasks. Policies reduce the tasks only if all agree."""
    out = [item for item in votes if item is not None and item.tasks > running]
    if out:
        return max(out, key=lambda item: item.tasks)
    present = [item for item in votes if item is not None]
    if votes and len(present) == len(votes):
        chosen = max(present, key=lambda item: item.tasks)
        return chosen if chosen.tasks < running else None
    return None


class TargetTracking:
    """Changes the desired number of tasks of ECS services."""

    def __init__(self, api: CloudWatchApi, account: str) -> None:
        """Create the object. `account` is the id of the account that owns the services."""
        self._api = api
        self._account = account
        self._scaled_at: dict[tuple[str, str], float] = {}

    def evaluate(self, region: str, minute: float) -> None:
        """Evaluate the policies of all scalable ECS services of a region.

        Args:
            region: The region.
            minute: The end of the last complete minute, in seconds since 1970.

        Raises:
            OSError: moto does not answer.
        """
        targets = self._call(region, "DescribeScalableTargets")["ScalableTargets"]
        policies = self._call(region, "DescribeScalingPolicies")["ScalingPolicies"] if targets else []
        for target in targets:
            own = [
                policy["TargetTrackingScalingPolicyConfiguration"]
                for policy in policies
                if policy["ResourceId"] == target["ResourceId"] and policy["PolicyType"] == "TargetTrackingScaling"
            ]
            self._scale(region, target, own, minute)

    def _call(self, region: str, operation: str) -> dict[str, Any]:
        return self._api.request("application-autoscaling", region, operation, ServiceNamespace="ecs")

    def _scale(self, region: str, target: Mapping[str, Any], policies: Sequence[Policy], minute: float) -> None:
        from ministack.core.responses import request_scope
        from ministack.services import ecs

        resource = str(target["ResourceId"])
        _, cluster, name = resource.split("/")
        service = ecs._services.get_scoped(self._account, region, f"{cluster}/{name}")
        if service is None or service.get("status") != "ACTIVE":
            return
        running = int(service["desiredCount"])
        votes = [vote(policy, self._values(region, policy, cluster, name, minute), running) for policy in policies]
        chosen = combined(votes, running)
        least, most = int(target["MinCapacity"]), int(target["MaxCapacity"])
        wanted = min(max(chosen.tasks if chosen else running, least), most)
        cooldown = chosen.cooldown if chosen else 0.0
        last = self._scaled_at.get((region, resource), float("-inf"))
        if wanted == running or time.monotonic() - last < cooldown:
            return
        self._scaled_at[region, resource] = time.monotonic()
        logger.warning("autoscaling changes the tasks of %s in %s from %d to %d", resource, region, running, wanted)
        with request_scope(self._account, region):
            ecs._update_service({"cluster": cluster, "service": name, "desiredCount": wanted})

    def _values(self, region: str, policy: Policy, cluster: str, name: str, minute: float) -> list[float | None]:
        start = minute - _MINUTES_IN * _PERIOD
        query = _query(policy, cluster, name)
        if query is None:
            return [None] * _MINUTES_IN
        values = self._api.data(region, start, minute - 1, [query]).get("tracked", {})
        return [values.get(start + number * _PERIOD) for number in range(_MINUTES_IN)]


def _query(policy: Policy, cluster: str, name: str) -> dict[str, Any] | None:
    """Return the query for the metric of a policy, or None for a metric that the stage does not know."""
    custom = policy.get("CustomizedMetricSpecification")
    if custom and custom.get("MetricName"):
        dimensions = custom.get("Dimensions") or []
        return query_of("tracked", custom["Namespace"], custom["MetricName"], dimensions, _PERIOD, custom["Statistic"])
    kind = (policy.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
    if kind not in _PREDEFINED:
        return None
    dimensions = [{"Name": "ClusterName", "Value": cluster}, {"Name": "ServiceName", "Value": name}]
    return query_of("tracked", "AWS/ECS", _PREDEFINED[kind], dimensions, _PERIOD, "Average")
