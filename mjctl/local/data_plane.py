"""Creates the data plane of a local region (tables, queues, topics, identity, keys) in the region's emulated AWS.

`create` creates missing parts, corrects different settings and keeps parts that match the definition, so `create` can
be repeated at any time. The result of `create`, the manifest of names, URLs, ARNs and ids, contains no secret and is
published in `run/data-plane.json`. `differences` changes nothing, and reports the differences that `create` would
repair.
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

# The emulated AWS has a fixed account id, which does not depend on the key that signs a request.
ACCOUNT_ID = "000000000000"

_REPAIR_READ_SECONDS = 30.0
_COMPARE_READ_SECONDS = 10.0


@dataclass(frozen=True)
class DataPlaneSpec:
    """Describes the data plane to create.

    Attributes:
        definition: The path of data-plane.yaml.
        prefix: `PROJECT-ENVIRONMENT`, with which the name of every table, queue, topic and key begins.
        endpoint: The address of the emulated AWS.
        region: The name of the region.
        key: The access key of the emulated AWS.
        ca_file: The certificate of the authority that issued the certificate of an `https` endpoint; None for an `http`
            endpoint.
        published: The manifest of the last `create`, or {} before the first `create`. A KMS key in `published` stays
            the key of the region's data, even if the key has lost its alias. A dead-letter queue in `published` keeps
            its name.
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
    """Describes a part of the data plane that does not match the definition.

    Attributes:
        part: The kind and the name of the part, e.g. `table arena-local-matches`.
        state: What is wrong, e.g. `is missing`.
        repair: The effect of a deploy, e.g. `creates it again, empty`.
        new_id: True if the repair gives the part another id.
    """

    part: str
    state: str
    repair: str
    new_id: bool = False

    def __str__(self) -> str:
        return f"{self.part} {self.state}: a deploy {self.repair}"


def create(spec: DataPlaneSpec) -> dict[str, Any]:
    """Make the emulated AWS match the definition and return the manifest.

    Raises:
        botocore.exceptions.ClientError: the emulated AWS refused a request.
        botocore.exceptions.BotoCoreError: the emulated AWS did not answer.
    """
    return _Walk(spec, repair=True).run()


def differences(spec: DataPlaneSpec) -> tuple[Difference, ...]:
    """Return the differences between the emulated AWS and the definition, without a change of the emulated AWS.

    Raises:
        botocore.exceptions.ClientError: the emulated AWS refused a request.
        botocore.exceptions.BotoCoreError: the emulated AWS did not answer.
    """
    walk = _Walk(spec, repair=False)
    walk.run()
    return tuple(walk.differences)


class _Clients:
    """Holds a client for each AWS service. The clients ignore the shell's AWS settings."""

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
    """Compares each part of the definition with the emulated AWS. With `repair`, `run` repairs each difference."""

    def __init__(self, spec: DataPlaneSpec, *, repair: bool) -> None:
        self.differences: list[Difference] = []
        self._spec = spec
        self._repair = repair
        self._clients = _Clients(spec, _REPAIR_READ_SECONDS if repair else _COMPARE_READ_SECONDS)

    def run(self) -> dict[str, Any]:
        """Compare every part and return the manifest.

        Without `repair`, a missing user pool, app client or KMS key has no id in the manifest.
        """
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

    def _differs(self, part: str, state: str, repair: str, *, new_id: bool = False) -> bool:
        """Record a difference, and return whether the caller must repair it now."""
        self.differences.append(Difference(part, state, repair, new_id))
        return self._repair

    def _table(self, key: str, values: Mapping[str, Any]) -> dict[str, str]:
        dynamodb, name = self._clients.dynamodb, f"{self._spec.prefix}-{key}"
        identity = {"name": name, "arn": f"arn:aws:dynamodb:{self._spec.region}:{ACCOUNT_ID}:table/{name}"}
        attributes = [{"AttributeName": column, "AttributeType": kind} for column, kind in values["attributes"].items()]
        indexes = [index_request(index, columns) for index, columns in values.get("global_indexes", {}).items()]
        try:
            table: Mapping[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
        except dynamodb.exceptions.ResourceNotFoundException:
            if not self._differs(f"table {name}", "is missing", "creates it again, empty"):
                return identity
            request: dict[str, Any] = {
                "TableName": name,
                "AttributeDefinitions": attributes,
                "KeySchema": key_schema(values),
                "BillingMode": "PAY_PER_REQUEST",
                **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
            }
            table = dynamodb.create_table(**request)["TableDescription"]
        existing = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", ())}
        for index in indexes:
            missing = index["IndexName"] not in existing
            if missing and self._differs(f"table {name}", f"has no index {index['IndexName']}", "creates the index"):
                # DynamoDB's UpdateTable creates only one index in a call:
                # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
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

        Earlier versions of mjctl named the dead-letter queue of a local region `<name>-dead-letter`. A region that an
        earlier version deployed keeps the name `<name>-dead-letter` until the region is destroyed, because SQS cannot
        rename a queue. A message that mjctl moved to a new queue would get another id, with which `queue peek` could
        not find the reason of the message's failure.
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
            if self._differs(f"queue {name}", "is missing", "creates it again, empty"):
                url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
        else:
            current = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for attribute, wanted in attributes.items():
                actual = current.get(attribute)  # type: ignore[call-overload]
                if same_attribute(actual, wanted):
                    continue
                if self._differs(f"queue {name}", f"has {attribute} {actual or 'unset'}", f"sets it to {wanted}"):
                    sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: wanted})  # type: ignore[dict-item]
        # Take only the path of the queue's URL, because the URL has the port that the emulator had when it created the
        # queue.
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
            if not self._differs(f"topic {name}", "is missing", "creates it again, with its subscriptions"):
                return arn
            sns.create_topic(Name=name)
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        existing = {item.get("Endpoint"): item["SubscriptionArn"] for page in pages for item in page["Subscriptions"]}
        for subscription in values["subscriptions"]:
            queue = queues[subscription["queue"]]["arn"]
            raw = str(bool(subscription.get("raw_message_delivery", False))).lower()
            self._subscription(name, arn, queue, raw, existing.get(queue))
        return arn

    def _subscription(self, name: str, topic: str, queue: str, raw: str, subscription: str | None) -> None:
        sns, target = self._clients.sns, queue.rsplit(":", 1)[-1]
        if subscription is None:
            if self._differs(f"topic {name}", f"does not deliver to {target}", "subscribes the queue again"):
                sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": raw})
            return
        current = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        actual = str(current.get("RawMessageDelivery", "false")).lower()
        if actual != raw and self._differs(
            f"subscription of {target} to {name}", f"has RawMessageDelivery {actual}", f"sets it to {raw}"
        ):
            # SNS's Subscribe does not change the attributes of an existing subscription, but SetSubscriptionAttributes
            # does: https://docs.aws.amazon.com/sns/latest/api/API_SetSubscriptionAttributes.html
            sns.set_subscription_attributes(
                SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue=raw
            )

    def _identity(self, values: Mapping[str, Any]) -> dict[str, str]:
        cognito, pool_name = self._clients.cognito, f"{self._spec.prefix}-players"
        settings = pool_settings(values)
        pool_id = next((pool["Id"] for pool in self._pools() if pool.get("Name") == pool_name), "")
        if not pool_id:
            repair = "creates a new pool; the players' accounts are lost, and players must sign up again"
            if not self._differs(f"user pool {pool_name}", "is missing", repair, new_id=True):
                return {}
            created = cognito.create_user_pool(
                PoolName=pool_name, UsernameAttributes=values["username_attributes"], **settings
            )
            pool_id = created["UserPool"]["Id"]
        pool: Mapping[str, Any] = cognito.describe_user_pool(UserPoolId=pool_id)["UserPool"]
        if not covers(pool, settings) and self._differs(
            f"user pool {pool_name}", "has other rules for passwords", "sets the defined rules"
        ):
            # UpdateUserPool resets every setting that the request omits, so the request has all defined settings.
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPool.html
            cognito.update_user_pool(UserPoolId=pool_id, **settings)
        self._group(pool_id, values["internal_group"])
        return {
            "user_pool_id": pool_id,
            "client_id": self._app_client(pool_id, values),
            # The emulator's tokens name AWS's address as the issuer, but only the emulator serves the keys that verify
            # the tokens.
            "issuer": f"https://cognito-idp.{self._spec.region}.amazonaws.com/{pool_id}",
            "jwks_url": f"{self._spec.endpoint}/{pool_id}/.well-known/jwks.json",
        }

    def _group(self, pool_id: str, name: str) -> None:
        pages = self._clients.cognito.get_paginator("list_groups").paginate(UserPoolId=pool_id)
        existing = {group.get("GroupName") for page in pages for group in page["Groups"]}
        if name not in existing and self._differs(f"group {name} of the user pool", "is missing", "creates it"):
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
        client_id = next((client["ClientId"] for client in clients if client.get("ClientName") == name), None)
        if client_id is None:
            repair = "creates a new app client; players must log in again"
            if not self._differs(f"app client {name}", "is missing", repair, new_id=True):
                return ""
            created = cognito.create_user_pool_client(
                UserPoolId=pool_id, ClientName=name, GenerateSecret=False, **settings
            )
            return created["UserPoolClient"]["ClientId"]
        current = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)["UserPoolClient"]
        if not covers(current, settings) and self._differs(
            f"app client {name}", "has other settings", "sets the defined settings"
        ):
            # UpdateUserPoolClient resets every setting that the request omits, so the request has all defined settings.
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPoolClient.html
            cognito.update_user_pool_client(UserPoolId=pool_id, ClientId=client_id, ClientName=name, **settings)
        return client_id

    def _key(self, key: str, values: Mapping[str, Any]) -> str:
        """Compare or repair the KMS key `key`, and return its ARN.

        The KMS key is that of the published manifest, or else that of the alias `alias/<prefix>-<key>`.
        """
        kms, name = self._clients.kms, f"{self._spec.prefix}-{key}"
        alias = f"alias/{name}"
        key_of_alias = self._described_key(alias)
        metadata = self._described_key(self._spec.published.get("keys", {}).get(key)) or key_of_alias
        if metadata is None:
            repair = (
                "creates a new key for new data; the old key's material cannot be recovered, so backups and sealed "
                "fields that were encrypted with it can no longer be read"
            )
            if not self._differs(f"KMS key {name}", "is missing", repair, new_id=True):
                return ""
            metadata = kms.create_key(Description=values["description"])["KeyMetadata"]
        arn = str(metadata["Arn"])
        self._make_usable(name, arn, str(metadata.get("KeyState", "Enabled")))
        if key_of_alias is None or key_of_alias["Arn"] != arn:
            # A missing KMS key was already reported as a difference, so its missing alias must not be reported as a
            # second difference.
            is_new = any(item.part == f"KMS key {name}" and item.new_id for item in self.differences)
            if is_new or self._differs(f"KMS key {name}", f"does not have {alias}", "sets the alias again"):
                if key_of_alias is not None:
                    kms.update_alias(AliasName=alias, TargetKeyId=arn)
                else:
                    kms.create_alias(AliasName=alias, TargetKeyId=arn)
        return arn

    def _make_usable(self, name: str, arn: str, state: str) -> None:
        """Enable a KMS key and its rotation.

        A KMS key whose deletion is scheduled still has its key material, and can be enabled after CancelKeyDeletion.
        """
        kms = self._clients.kms
        if state != "Enabled" and self._differs(f"KMS key {name}", f"is {state}", "enables it again"):
            # KMS leaves a key disabled after CancelKeyDeletion:
            # https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html
            if state == "PendingDeletion":
                kms.cancel_key_deletion(KeyId=arn)
            kms.enable_key(KeyId=arn)
        if state != "Enabled" and not self._repair:
            # KMS does not rotate a disabled key, so report the disabled key as one difference, and not its rotation as
            # a second difference.
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
