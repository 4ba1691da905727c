"""Tables, queues, topics, identities and keys of one region, from the one definition, in the emulated AWS.

One walk over the definition serves both purposes. `create` makes what is missing, sets what differs and adopts what
fits, so it can be repeated at any time. `differences` makes the same comparisons and changes nothing: it reports
exactly what `create` would repair. `create` publishes the result in `run/data-plane.json`: names, URLs, ARNs and ids,
no secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mjctl.local import emulated
from mjctl.local.credentials import AwsKey
from mjctl.local.data_plane_settings import (
    app_client_settings,
    covers,
    index_request,
    key_schema,
    pool_settings,
    same_attribute,
)

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# The one account of the emulated AWS, whichever key signs.
ACCOUNT_ID = "000000000000"

_READ_SECONDS = 30.0
_LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class DataPlaneSpec:
    """`definition`: path of data-plane.yaml; `prefix`: `<project>-<environment>`, before every physical name.

    `key`: what the emulated AWS asks for. `ca_file`: the authority that vouches for an `https` endpoint. `published`:
    the manifest of the last `create`, or {}. A key in it that lost its alias is still the key of the data, and a
    dead-letter queue in it keeps its name.
    """

    definition: Path
    prefix: str
    endpoint: str
    region: str
    key: AwsKey
    ca_file: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One part of the data plane that is not as defined. `new_id`: its repair gives the part another id."""

    part: str
    found: str
    repair: str
    new_id: bool = False

    def __str__(self) -> str:
        return f"{self.part} {self.found}: a deploy {self.repair}"


def create(spec: DataPlaneSpec) -> dict[str, Any]:
    """Bring the emulated AWS in line with the definition and return the manifest.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: the emulated AWS refused or did not answer.
    """
    return _Walk(spec, repair=True).run()


def differences(spec: DataPlaneSpec) -> tuple[Difference, ...]:
    """Compare the emulated AWS with the definition. Nothing is changed.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: the emulated AWS refused or did not answer.
    """
    walk = _Walk(spec, repair=False)
    walk.run()
    return tuple(walk.found)


class _Clients:
    """One client per service, made without boto3's resources and with the emulator's own settings only."""

    def __init__(self, spec: DataPlaneSpec, read_seconds: float) -> None:
        session = emulated.session(spec.key)
        retries = {"total_max_attempts": 3, "mode": "standard"}
        config = emulated.client_config(retries=retries, connect_timeout=5, read_timeout=read_seconds)

        def client(service: str) -> Any:
            return session.create_client(
                service,
                region_name=spec.region,
                endpoint_url=spec.endpoint,
                verify=spec.ca_file,
                config=config,
            )

        self.dynamodb: DynamoDBClient = client("dynamodb")
        self.sqs: SQSClient = client("sqs")
        self.sns: SNSClient = client("sns")
        self.cognito: CognitoIdentityProviderClient = client("cognito-idp")
        self.kms: KMSClient = client("kms")


class _Walk:
    """One pass over the definition. `found` are the differences; with `repair` each is repaired at once."""

    def __init__(self, spec: DataPlaneSpec, *, repair: bool) -> None:
        self.found: list[Difference] = []
        self._spec = spec
        self._repair = repair
        self._clients = _Clients(spec, _READ_SECONDS if repair else _LOOK_SECONDS)

    def run(self) -> dict[str, Any]:
        """Look at every part, and return the manifest; without `repair`, parts that are missing have empty ids."""
        import yaml

        definition = yaml.safe_load(self._spec.definition.read_text())
        queues = {key: self._queue(key, values) for key, values in definition["queues"].items()}
        return {
            "account_id": ACCOUNT_ID,
            "tables": {key: self._table(key, values) for key, values in definition["tables"].items()},
            "queues": queues,
            "topics": {key: self._topic(key, values, queues) for key, values in definition["topics"].items()},
            "identity": self._identity(definition["identity"]),
            "keys": {key: self._key(key, values) for key, values in definition["keys"].items()},
        }

    def _differs(self, part: str, found: str, repair: str, *, new_id: bool = False) -> bool:
        """Note a difference; whether it is to be repaired now."""
        self.found.append(Difference(part, found, repair, new_id))
        return self._repair

    def _table(self, key: str, values: Mapping[str, Any]) -> dict[str, str]:
        dynamodb, name = self._clients.dynamodb, f"{self._spec.prefix}-{key}"
        identity = {"name": name, "arn": f"arn:aws:dynamodb:{self._spec.region}:{ACCOUNT_ID}:table/{name}"}
        attributes = [{"AttributeName": column, "AttributeType": kind} for column, kind in values["attributes"].items()]
        indexes = [index_request(index, columns) for index, columns in values.get("global_indexes", {}).items()]
        try:
            table: Mapping[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
        except dynamodb.exceptions.ResourceNotFoundException:
            if not self._differs(f"table {name}", "is missing", "makes it again, empty"):
                return identity
            request: dict[str, Any] = {
                "TableName": name,
                "AttributeDefinitions": attributes,
                "KeySchema": key_schema(values),
                "BillingMode": "PAY_PER_REQUEST",
                **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
            }
            table = dynamodb.create_table(**request)["TableDescription"]
        there = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", ())}
        for index in indexes:
            missing = index["IndexName"] not in there
            if missing and self._differs(f"table {name}", f"has no index {index['IndexName']}", "makes the index"):
                # One index a call: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
                dynamodb.update_table(
                    TableName=name,
                    AttributeDefinitions=attributes,  # type: ignore[arg-type]
                    GlobalSecondaryIndexUpdates=[{"Create": index}],  # type: ignore[typeddict-item]
                )
        if attribute := values.get("ttl_attribute"):
            self._time_to_live(name, attribute)
        return identity

    def _time_to_live(self, name: str, attribute: str) -> None:
        dynamodb = self._clients.dynamodb
        current = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        on = current.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and current.get("AttributeName") == attribute
        if not on and self._differs(f"table {name}", f"does not expire items by {attribute}", "turns TTL on"):
            wanted = {"Enabled": True, "AttributeName": attribute}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)  # type: ignore[arg-type]

    def _queue(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
        name = f"{self._spec.prefix}-{key}"
        retention = {"MessageRetentionPeriod": str(values["dead_letter_retention_seconds"])}
        dead_letter = self._ensure_queue(self._dead_letter_name(key, name), retention)
        redrive = {"deadLetterTargetArn": dead_letter["arn"], "maxReceiveCount": values["max_receive_count"]}
        attributes = {
            "VisibilityTimeout": str(values["visibility_timeout_seconds"]),
            "MessageRetentionPeriod": str(values["retention_seconds"]),
            "ReceiveMessageWaitTimeSeconds": str(values["receive_wait_seconds"]),
            "RedrivePolicy": json.dumps(redrive),
        }
        queue = self._ensure_queue(name, attributes)
        return {**queue, "dead_letter": dead_letter, "max_receive_count": values["max_receive_count"]}

    def _dead_letter_name(self, key: str, name: str) -> str:
        """Return the name of a queue's dead-letter queue: `<name>-dlq`, as terraform/modules/events names it.

        Earlier versions named it `<name>-dead-letter` in a local region. Such a region keeps that name until it is
        destroyed: SQS cannot rename a queue, and a message that is sent to another queue gets another id, by which
        `queue peek` would not find why it failed.
        """
        current, earlier = f"{name}-dlq", f"{name}-dead-letter"
        published = self._spec.published.get("queues", {}).get(key, {}).get("dead_letter", {}).get("arn", "")
        if published.rsplit(":", 1)[-1] == current:
            return current
        return earlier if published.endswith(f":{earlier}") or self._queue_url(earlier) is not None else current

    def _queue_url(self, name: str) -> str | None:
        sqs = self._clients.sqs
        try:
            return sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except sqs.exceptions.QueueDoesNotExist:
            return None

    def _ensure_queue(self, name: str, attributes: dict[str, str]) -> dict[str, str]:
        sqs = self._clients.sqs
        url = self._queue_url(name)
        if url is None:
            url = f"{self._spec.endpoint}/{ACCOUNT_ID}/{name}"
            if self._differs(f"queue {name}", "is missing", "makes it again, empty"):
                url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
        else:
            current = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for attribute, wanted in attributes.items():
                found = current.get(attribute)  # type: ignore[call-overload]
                if same_attribute(found, wanted):
                    continue
                if self._differs(f"queue {name}", f"has {attribute} {found or 'unset'}", f"sets it to {wanted}"):
                    sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: wanted})  # type: ignore[dict-item]
        # A queue that was made when the emulator had another port still names that port.
        return {
            "url": f"{self._spec.endpoint}{urlsplit(url).path}",
            "arn": f"arn:aws:sqs:{self._spec.region}:{ACCOUNT_ID}:{name}",
        }

    def _topic(self, key: str, values: Mapping[str, Any], queues: Mapping[str, Any]) -> str:
        sns, name = self._clients.sns, f"{self._spec.prefix}-{key}"
        arn = f"arn:aws:sns:{self._spec.region}:{ACCOUNT_ID}:{name}"
        try:
            sns.get_topic_attributes(TopicArn=arn)
        except sns.exceptions.NotFoundException:
            if not self._differs(f"topic {name}", "is missing", "makes it again, with its subscriptions"):
                return arn
            sns.create_topic(Name=name)
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        there = {item.get("Endpoint"): item["SubscriptionArn"] for page in pages for item in page["Subscriptions"]}
        for subscription in values["subscriptions"]:
            queue = queues[subscription["queue"]]["arn"]
            raw = str(bool(subscription.get("raw_message_delivery", False))).lower()
            self._subscription(name, arn, queue, raw, there.get(queue))
        return arn

    def _subscription(self, name: str, topic: str, queue: str, raw: str, subscription: str | None) -> None:
        sns, target = self._clients.sns, queue.rsplit(":", 1)[-1]
        if subscription is None:
            if self._differs(f"topic {name}", f"does not feed {target}", "subscribes the queue again"):
                sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": raw})
            return
        current = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        found = str(current.get("RawMessageDelivery", "false")).lower()
        if found != raw and self._differs(
            f"subscription of {target} to {name}", f"has RawMessageDelivery {found}", f"sets it to {raw}"
        ):
            # Subscribe returns a subscription that exists as it is: only this call changes its attributes.
            # https://docs.aws.amazon.com/sns/latest/api/API_SetSubscriptionAttributes.html
            sns.set_subscription_attributes(
                SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue=raw
            )

    def _identity(self, values: Mapping[str, Any]) -> dict[str, str]:
        cognito, pool_name = self._clients.cognito, f"{self._spec.prefix}-players"
        settings = pool_settings(values)
        pool_id = next((pool["Id"] for pool in self._pools() if pool.get("Name") == pool_name), "")
        if not pool_id:
            lost = "makes a new one; the players' accounts are lost, and players sign up again"
            if not self._differs(f"user pool {pool_name}", "is missing", lost, new_id=True):
                return {}
            created = cognito.create_user_pool(
                PoolName=pool_name, UsernameAttributes=values["username_attributes"], **settings
            )
            pool_id = created["UserPool"]["Id"]
        pool: Mapping[str, Any] = cognito.describe_user_pool(UserPoolId=pool_id)["UserPool"]
        if not covers(pool, settings) and self._differs(
            f"user pool {pool_name}", "has other rules for passwords", "sets them as defined"
        ):
            # It resets what is not named, so everything that the definition sets is named.
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPool.html
            cognito.update_user_pool(UserPoolId=pool_id, **settings)
        self._group(pool_id, values["internal_group"])
        return {
            "user_pool_id": pool_id,
            "client_id": self._app_client(pool_id, values),
            # What stands in the tokens. The keys to check them are served by the emulator.
            "issuer": f"https://cognito-idp.{self._spec.region}.amazonaws.com/{pool_id}",
            "jwks_url": f"{self._spec.endpoint}/{pool_id}/.well-known/jwks.json",
        }

    def _group(self, pool_id: str, name: str) -> None:
        pages = self._clients.cognito.get_paginator("list_groups").paginate(UserPoolId=pool_id)
        there = {group.get("GroupName") for page in pages for group in page["Groups"]}
        if name not in there and self._differs(f"group {name} of the user pool", "is missing", "makes it"):
            self._clients.cognito.create_group(UserPoolId=pool_id, GroupName=name)

    def _pools(self) -> Iterator[Mapping[str, Any]]:
        for page in self._clients.cognito.get_paginator("list_user_pools").paginate(PaginationConfig={"PageSize": 60}):
            yield from page["UserPools"]

    def _app_client(self, pool_id: str, values: Mapping[str, Any]) -> str:
        cognito, name = self._clients.cognito, f"{self._spec.prefix}-game"
        settings = app_client_settings(values)
        pages = cognito.get_paginator("list_user_pool_clients").paginate(
            UserPoolId=pool_id, PaginationConfig={"PageSize": 60}
        )
        clients = [client for page in pages for client in page["UserPoolClients"]]
        found = next((client["ClientId"] for client in clients if client.get("ClientName") == name), None)
        if found is None:
            lost = "makes a new one; players log in again"
            if not self._differs(f"app client {name}", "is missing", lost, new_id=True):
                return ""
            created = cognito.create_user_pool_client(
                UserPoolId=pool_id, ClientName=name, GenerateSecret=False, **settings
            )
            return created["UserPoolClient"]["ClientId"]
        current = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=found)["UserPoolClient"]
        if not covers(current, settings) and self._differs(
            f"app client {name}", "has other settings", "sets them as defined"
        ):
            # As with the pool, what is not named is reset.
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPoolClient.html
            cognito.update_user_pool_client(UserPoolId=pool_id, ClientId=found, ClientName=name, **settings)
        return found

    def _key(self, key: str, values: Mapping[str, Any]) -> str:
        """ARN of the key: the one that was made earlier, else the one behind the alias `<prefix>-<key>`."""
        kms, name = self._clients.kms, f"{self._spec.prefix}-{key}"
        alias = f"alias/{name}"
        behind_alias = self._described_key(alias)
        found = self._described_key(self._spec.published.get("keys", {}).get(key)) or behind_alias
        if found is None:
            lost = (
                "makes a new key for new data; the old key's material cannot be recovered, so backups and sealed "
                "fields that were encrypted with it can no longer be read"
            )
            if not self._differs(f"KMS key {name}", "is gone", lost, new_id=True):
                return ""
            found = kms.create_key(Description=values["description"])["KeyMetadata"]
        arn = str(found["Arn"])
        self._usable(name, arn, str(found.get("KeyState", "Enabled")))
        if behind_alias is None or behind_alias["Arn"] != arn:
            # A key that was just made has no alias either, and is reported once.
            is_new = any(item.part == f"KMS key {name}" and item.new_id for item in self.found)
            if is_new or self._differs(f"KMS key {name}", f"is not behind {alias}", "sets the alias again"):
                if behind_alias is not None:
                    kms.update_alias(AliasName=alias, TargetKeyId=arn)
                else:
                    kms.create_alias(AliasName=alias, TargetKeyId=arn)
        return arn

    def _usable(self, name: str, arn: str, state: str) -> None:
        """The key can be used, and is rotated. A key whose deletion is scheduled is still whole."""
        kms = self._clients.kms
        if state != "Enabled" and self._differs(f"KMS key {name}", f"is {state}", "enables it again"):
            # https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html leaves the key disabled.
            if state == "PendingDeletion":
                kms.cancel_key_deletion(KeyId=arn)
            kms.enable_key(KeyId=arn)
        if state != "Enabled" and not self._repair:
            # AWS answers for the rotation of an enabled key only.
            return
        rotated = kms.get_key_rotation_status(KeyId=arn).get("KeyRotationEnabled")
        if not rotated and self._differs(f"KMS key {name}", "is never rotated", "turns rotation on"):
            kms.enable_key_rotation(KeyId=arn)

    def _described_key(self, key_id: str | None) -> Mapping[str, Any] | None:
        if not key_id:
            return None
        kms = self._clients.kms
        try:
            return kms.describe_key(KeyId=key_id)["KeyMetadata"]
        except kms.exceptions.NotFoundException:
            return None
