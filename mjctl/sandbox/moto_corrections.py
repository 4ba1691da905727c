"""Corrections of moto for differences from AWS that the Terraform provider notices.

The docstring of `ministack_corrections` explains the rules for corrections.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.cloudwatch.models import CloudWatchBackend
from moto.ecr.models import ECRBackend, Image, ecr_backends
from moto.wafv2.exceptions import WAFv2ClientError
from moto.wafv2.models import WAFV2Backend

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


def _image_digest() -> None:
    def create_digest(self: Any) -> None:
        # https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
        self._image_digest = f"sha256:{hashlib.sha256(self.image_manifest.encode()).hexdigest()}"

    image: Any = Image
    image._create_digest = create_digest


def _image_replication() -> None:
    backend: Any = ECRBackend
    put_image = backend.put_image

    def put_and_replicate(self: Any, repository_name: str, *arguments: Any, **options: Any) -> Any:
        image = put_image(self, repository_name, *arguments, **options)
        for account, region in _destinations(self.replication_config, repository_name):
            _copy(image, repository_name, ecr_backends[account][region])
        return image

    backend.put_image = put_and_replicate


def _destinations(configuration: Any, repository: str) -> Iterator[tuple[str, str]]:
    """Yield the account and the region of each registry to which ECR replicates an image that is pushed now.

    ECR does not replicate images that were pushed before the rule existed, and does not replicate copies again:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html
    """
    for rule in configuration.get("rules") or []:
        prefixes = [entry["filter"] for entry in rule.get("repositoryFilters") or []]
        if not prefixes or any(repository.startswith(prefix) for prefix in prefixes):
            for destination in rule["destinations"]:
                yield destination["registryId"], destination["region"]


def _copy(image: Any, repository: str, registry: Any) -> None:
    """Copy an image to another registry. ECR creates the repository there with default settings."""
    if repository not in registry.repositories:
        registry.create_repository(repository, None, None, None, None, [])
    images = registry.repositories[repository].images
    kept = next((other for other in images if other.get_image_digest() == image.get_image_digest()), None)
    if kept is None:
        kept = Image(
            registry.account_id,
            image.image_tag,
            image.image_manifest,
            repository,
            image.image_manifest_media_type,
            image.get_image_digest(),
        )
        images.append(kept)
    for tag in image.image_tags:
        if tag not in kept.image_tags:
            kept.update_tag(tag)


class WafAssociatedItemError(WAFv2ClientError):
    """Means that a web ACL or an IP set is in use, so WAF does not delete it."""

    def __init__(self) -> None:
        super().__init__(
            "WAFAssociatedItemException",
            "AWS WAF could not perform the operation because your resource is being used by another resource or is "
            "associated with another resource.",
        )


def _waf_in_use() -> None:
    backend: Any = WAFV2Backend
    delete_web_acl, delete_ip_set = backend.delete_web_acl, backend.delete_ip_set

    def delete_acl(self: Any, name: str, scope: str, _id: str, lock_token: str) -> None:
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_DeleteWebACL.html
        if any(arn.endswith(f"/webacl/{name}/{_id}") and acl.associated_resources for arn, acl in self.wacls.items()):
            raise WafAssociatedItemError
        delete_web_acl(self, name, scope, _id, lock_token)

    def delete_set(self: Any, name: str, scope: str, _id: str, lock_token: str) -> None:
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_DeleteIPSet.html
        suffix = f"/ipset/{name}/{_id}"
        users = [*self.wacls.values(), *self.rule_groups.values()]
        if any(f'{suffix}"' in json.dumps(user.to_dict(), default=str) for user in users):
            raise WafAssociatedItemError
        delete_ip_set(self, name, scope, _id, lock_token)

    backend.delete_web_acl, backend.delete_ip_set = delete_acl, delete_set


def _alarm_states() -> None:
    """Let a new alarm begin without a state, and let a changed alarm keep its state.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    backend: Any = CloudWatchBackend
    put = backend.put_metric_alarm
    kept = ("state_reason", "state_reason_data", "state_updated_timestamp", "state_value", "history")

    def put_metric_alarm(self: Any, name: str, *arguments: Any, **options: Any) -> Any:
        before = self.alarms.get(name)
        alarm = put(self, name, *arguments, **options)
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
        else:
            for attribute in kept:
                setattr(alarm, attribute, getattr(before, attribute))
        return alarm

    backend.put_metric_alarm = put_metric_alarm


_VERSION = "5.2.5"

CORRECTIONS = (
    Correction(
        "alarm-states",
        "moto",
        _VERSION,
        "CloudWatch begins a new alarm in the state OK, and gives a changed alarm the state OK",
        _alarm_states,
    ),
    Correction(
        "ecr-image-digest",
        "moto",
        _VERSION,
        "ECR computes an image's digest from its layers instead of its manifest",
        _image_digest,
    ),
    Correction(
        "ecr-replication", "moto", _VERSION, "ECR does not replicate images to other regions", _image_replication
    ),
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
    Correction("waf-in-use", "moto", _VERSION, "WAF deletes IP sets and web ACLs that are in use", _waf_in_use),
)
