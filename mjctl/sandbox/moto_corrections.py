"""Corrections of moto for differences from AWS that the Terraform provider notices.

The docstring of `ministack_corrections` explains the rules for corrections.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

from mjctl.sandbox.correction import Correction

scaling_tags: dict[str, dict[str, str]] = defaultdict(dict)


def _scaling_target_tags() -> None:
    responses: Any = ApplicationAutoScalingResponse
    register = responses.register_scalable_target

    def register_scalable_target(self: Any) -> Any:
        answer = register(self)
        arn = json.loads(answer).get("ScalableTargetARN")
        scaling_tags[arn].update(self._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": scaling_tags[self._get_param("ResourceARN")]})

    def tag_resource(self: Any) -> str:
        scaling_tags[self._get_param("ResourceARN")].update(self._get_param("Tags") or {})
        return "{}"

    def untag_resource(self: Any) -> str:
        for key in self._get_param("TagKeys") or []:
            scaling_tags[self._get_param("ResourceARN")].pop(key, None)
        return "{}"

    responses.register_scalable_target = register_scalable_target
    responses.list_tags_for_resource = list_tags_for_resource
    responses.tag_resource = tag_resource
    responses.untag_resource = untag_resource


def _services_elsewhere() -> None:
    backend: Any = ApplicationAutoscalingBackend
    backend._ecs_service_exists_for_target = lambda _self, _resource_id: True


_VERSION = "5.2.5"

CORRECTIONS = (
    Correction(
        "scaling-target-tags", "moto", _VERSION, "Application Auto Scaling does not store tags", _scaling_target_tags
    ),
    Correction(
        "services-elsewhere",
        "moto",
        _VERSION,
        "Application Auto Scaling requires the ECS service in moto, but the service is in ministack",
        _services_elsewhere,
    ),
)
