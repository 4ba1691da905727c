"""Tests that `differences` reports every changed or deleted part of the data plane, and that `create` repairs every
such part."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from mjctl.local import data_plane
from mjctl.local.data_plane import DataPlaneSpec, Difference
from tests.integration.conftest import DEFINITION, EmulatedAws


@dataclasses.dataclass
class Plane:
    """Holds a new data plane in the emulated AWS that all tests of the session share."""

    spec: DataPlaneSpec
    manifest: dict[str, Any]

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=self.spec.region, endpoint_url=self.spec.endpoint)

    @property
    def known(self) -> DataPlaneSpec:
        return dataclasses.replace(self.spec, published=self.manifest)

    def shown(self, differences: tuple[Difference, ...]) -> list[str]:
        return [str(item).replace(f"{self.spec.prefix}-", "") for item in differences]

    def found(self) -> tuple[Difference, ...]:
        return data_plane.differences(self.known)


@pytest.fixture
def plane(aws: EmulatedAws) -> Plane:
    spec = DataPlaneSpec(DEFINITION, f"game-{secrets.token_hex(4)}", aws.endpoint, aws.region, aws.key)
    return Plane(spec, data_plane.create(spec))


def _table_gone(plane: Plane) -> None:
    plane.client("dynamodb").delete_table(TableName=plane.manifest["tables"]["matches"]["name"])


def _index_gone(plane: Plane) -> None:
    plane.client("dynamodb").update_table(
        TableName=plane.manifest["tables"]["matches"]["name"],
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by_state"}}],
    )


def _ttl_off(plane: Plane) -> None:
    plane.client("dynamodb").update_time_to_live(
        TableName=plane.manifest["tables"]["players"]["name"],
        TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"},
    )


def _queue_gone(plane: Plane) -> None:
    plane.client("sqs").delete_queue(QueueUrl=plane.manifest["queues"]["persistence"]["url"])


def _set(attribute: str, value: str, queue: str = "persistence") -> Callable[[Plane], None]:
    def fault(plane: Plane) -> None:
        sqs = plane.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{plane.spec.prefix}-{queue}")["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: value})

    return fault


def _topic_gone(plane: Plane) -> None:
    plane.client("sns").delete_topic(TopicArn=plane.manifest["topics"]["events"])


def _subscription(plane: Plane) -> str:
    topic = plane.manifest["topics"]["events"]
    (subscription,) = plane.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    return str(subscription["SubscriptionArn"])


def _unsubscribed(plane: Plane) -> None:
    plane.client("sns").unsubscribe(SubscriptionArn=_subscription(plane))


def _not_raw(plane: Plane) -> None:
    plane.client("sns").set_subscription_attributes(
        SubscriptionArn=_subscription(plane), AttributeName="RawMessageDelivery", AttributeValue="false"
    )


def _pool_gone(plane: Plane) -> None:
    plane.client("cognito-idp").delete_user_pool(UserPoolId=plane.manifest["identity"]["user_pool_id"])


def _weak_passwords(plane: Plane) -> None:
    plane.client("cognito-idp").update_user_pool(
        UserPoolId=plane.manifest["identity"]["user_pool_id"],
        Policies={"PasswordPolicy": {"MinimumLength": 6}},
    )


def _app_client_gone(plane: Plane) -> None:
    identity = plane.manifest["identity"]
    plane.client("cognito-idp").delete_user_pool_client(
        UserPoolId=identity["user_pool_id"], ClientId=identity["client_id"]
    )


def _long_tokens(plane: Plane) -> None:
    identity = plane.manifest["identity"]
    plane.client("cognito-idp").update_user_pool_client(
        UserPoolId=identity["user_pool_id"], ClientId=identity["client_id"], AccessTokenValidity=24
    )


def _key_disabled(plane: Plane) -> None:
    plane.client("kms").disable_key(KeyId=plane.manifest["keys"]["data"])


def _key_to_be_deleted(plane: Plane) -> None:
    plane.client("kms").schedule_key_deletion(KeyId=plane.manifest["keys"]["data"], PendingWindowInDays=7)


def _key_never_rotated(plane: Plane) -> None:
    plane.client("kms").disable_key_rotation(KeyId=plane.manifest["keys"]["data"])


def _alias_gone(plane: Plane) -> None:
    plane.client("kms").delete_alias(AliasName=f"alias/{plane.spec.prefix}-data")


def _alias_elsewhere(plane: Plane) -> None:
    kms = plane.client("kms")
    other = kms.create_key(Description="another key")["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName=f"alias/{plane.spec.prefix}-data", TargetKeyId=other)


# Each group has faults that do not hide each other, so that a single comparison finds all faults of the group.
FAULTS: tuple[dict[Callable[[Plane], None], str], ...] = (
    {
        _queue_gone: "queue persistence is missing: a deploy creates it again, empty",
        _set("MessageRetentionPeriod", "60", "persistence-dlq"): (
            "queue persistence-dlq has MessageRetentionPeriod 60: a deploy sets it to 1209600"
        ),
        _table_gone: "table matches is missing: a deploy creates it again, empty",
        _ttl_off: "table players does not expire items by expires_at: a deploy turns TTL on",
        _topic_gone: "topic events is missing: a deploy creates it again, with its subscriptions",
        _weak_passwords: "user pool players has other rules for passwords: a deploy sets the defined rules",
        _key_disabled: "KMS key data is Disabled: a deploy enables it again",
    },
    {
        _set("VisibilityTimeout", "7"): "queue persistence has VisibilityTimeout 7: a deploy sets it to 60",
        _index_gone: "table matches has no index by_state: a deploy creates the index",
        _unsubscribed: "topic events does not deliver to persistence: a deploy subscribes the queue again",
        _long_tokens: "app client game has other settings: a deploy sets the defined settings",
        _key_never_rotated: "KMS key data is never rotated: a deploy turns rotation on",
        _alias_gone: "KMS key data does not have alias/data: a deploy sets the alias again",
    },
    {
        _not_raw: "subscription of persistence to events has RawMessageDelivery false: a deploy sets it to true",
        _alias_elsewhere: "KMS key data does not have alias/data: a deploy sets the alias again",
    },
    {_key_to_be_deleted: "KMS key data is PendingDeletion: a deploy enables it again"},
)


def test_a_data_plane_that_matches_its_definition_has_no_difference(plane: Plane) -> None:
    assert plane.found() == ()
    assert data_plane.create(plane.known) == plane.manifest


@pytest.mark.parametrize("faults", FAULTS)
def test_changes_are_reported_and_repaired_without_a_new_id(
    plane: Plane, faults: dict[Callable[[Plane], None], str]
) -> None:
    for fault in faults:
        fault(plane)
    differences = plane.found()
    assert sorted(plane.shown(differences)) == sorted(faults.values())
    assert not any(item.new_id for item in differences)
    assert data_plane.create(plane.known) == plane.manifest
    assert plane.found() == ()


@pytest.mark.parametrize(
    ("fault", "part", "lost", "field"),
    [
        (_pool_gone, "user pool", "the players' accounts are lost", "user_pool_id"),
        (_app_client_gone, "app client", "players must log in again", "client_id"),
    ],
)
def test_a_lost_identity_is_replaced_and_the_loss_is_reported(
    plane: Plane, fault: Callable[[Plane], None], part: str, lost: str, field: str
) -> None:
    fault(plane)
    (difference,) = plane.found()
    assert (difference.part.startswith(part), difference.state, difference.new_id) == (True, "is missing", True)
    assert lost in difference.repair
    repaired = data_plane.create(plane.known)
    assert repaired["identity"][field] not in ("", plane.manifest["identity"][field])
    assert plane.found() == ()


def test_a_lost_key_is_replaced_and_the_loss_is_reported(plane: Plane, aws: EmulatedAws) -> None:
    """Test a published key that the emulator has never had, because no API deletes a key at once."""
    kms = plane.client("kms")
    kms.delete_alias(AliasName=f"alias/{plane.spec.prefix}-data")
    lost = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    spec = dataclasses.replace(plane.spec, published={"keys": {"data": lost}})
    (difference,) = data_plane.differences(spec)
    assert difference.new_id
    assert "backups and sealed fields that were encrypted with it can no longer be read" in difference.repair
    new_key = data_plane.create(spec)["keys"]["data"]
    assert new_key not in (lost, plane.manifest["keys"]["data"])
    assert data_plane.differences(dataclasses.replace(spec, published={"keys": {"data": new_key}})) == ()


def test_a_changed_definition_is_a_difference(plane: Plane, tmp_path: Path) -> None:
    changed = tmp_path / "data-plane.yaml"
    changed.write_text(
        DEFINITION.read_text().replace("visibility_timeout_seconds: 60", "visibility_timeout_seconds: 90")
    )
    differences = data_plane.differences(dataclasses.replace(plane.known, definition=changed))
    assert [(item.state, item.repair) for item in differences] == [("has VisibilityTimeout 60", "sets it to 90")]


def test_a_region_of_an_earlier_version_keeps_its_dead_letter_queue_and_its_messages(aws: EmulatedAws) -> None:
    spec = DataPlaneSpec(DEFINITION, f"game-{secrets.token_hex(4)}", aws.endpoint, aws.region, aws.key)
    sqs = boto3.client("sqs", region_name=spec.region, endpoint_url=spec.endpoint)
    earlier = sqs.create_queue(QueueName=f"{spec.prefix}-persistence-dead-letter")["QueueUrl"]
    sqs.send_message(QueueUrl=earlier, MessageBody="dead before the upgrade")

    # Before the first `create`, mjctl has not published names yet, so `create` takes the name of the existing
    # dead-letter queue.
    for _ in range(2):
        manifest = data_plane.create(spec)
        assert manifest["queues"]["persistence"]["dead_letter"]["arn"].endswith("-persistence-dead-letter")
        assert data_plane.differences(spec) == ()
        queue = manifest["queues"]["persistence"]["url"]
        redrive = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]
        assert f"{spec.prefix}-persistence-dead-letter" in redrive["RedrivePolicy"]
        spec = dataclasses.replace(spec, published=manifest)
    (message,) = sqs.receive_message(QueueUrl=earlier)["Messages"]
    assert message["Body"] == "dead before the upgrade"

    # mjctl keeps a published name of a queue, because Terraform has read the name: another name would change the
    # contract during an apply.
    sqs.delete_queue(QueueUrl=earlier)
    (difference,) = data_plane.differences(spec)
    assert (difference.part, difference.new_id) == (f"queue {spec.prefix}-persistence-dead-letter", False)
    assert data_plane.create(spec) == manifest


def test_a_new_region_has_the_production_name_of_the_dead_letter_queue(plane: Plane) -> None:
    arn = plane.manifest["queues"]["persistence"]["dead_letter"]["arn"]
    assert arn.rsplit(":", 1)[-1] == f"{plane.spec.prefix}-persistence-dlq"
