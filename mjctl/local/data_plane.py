"""Tables, queues, topics, identities and keys of one region, from the one definition, in the emulated AWS.

Every step creates what is missing and adopts what is there by its name, so it can be repeated at any time. What was
made is published in `run/data-plane.json`: names, URLs, ARNs and ids, no secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# What the emulated AWS takes for its one account, whoever signs.
ACCOUNT_ID = "000000000000"
ACCESS_KEY = "local"


@dataclass(frozen=True)
class DataPlaneSpec:
    """`definition`: path of data-plane.yaml; `prefix`: `<project>-<environment>`, before every physical name.

    `ca_file`: the authority that vouches for an `https` endpoint.
    """

    definition: Path
    prefix: str
    endpoint: str
    region: str
    ca_file: str | None = None


def create(spec: DataPlaneSpec) -> dict[str, Any]:
    """Bring the emulated AWS in line with the definition and return the manifest.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: the emulated AWS refused or did not answer.
    """
    import yaml

    definition = yaml.safe_load(spec.definition.read_text())
    clients = _Clients(spec)
    queues = {key: _queue(clients, spec, key, values) for key, values in definition["queues"].items()}
    return {
        "account_id": ACCOUNT_ID,
        "tables": {key: _table(clients.dynamodb, spec, key, values) for key, values in definition["tables"].items()},
        "queues": queues,
        "topics": {key: _topic(clients.sns, spec, key, values, queues) for key, values in definition["topics"].items()},
        "identity": _identity(clients.cognito, spec, definition["identity"]),
        "keys": {key: _key(clients.kms, spec, key, values) for key, values in definition["keys"].items()},
    }


class _Clients:
    """One client per service, made without boto3's resources and with the emulator's own settings only."""

    def __init__(self, spec: DataPlaneSpec) -> None:
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session()
        session.set_config_variable("config_file", "/dev/null")
        session.set_config_variable("credentials_file", "/dev/null")
        config = Config(retries={"total_max_attempts": 3, "mode": "standard"}, connect_timeout=5, read_timeout=30)

        def client(service: str) -> Any:
            return session.create_client(
                service,
                region_name=spec.region,
                endpoint_url=spec.endpoint,
                verify=spec.ca_file,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=ACCESS_KEY,
                config=config,
            )

        self.dynamodb: DynamoDBClient = client("dynamodb")
        self.sqs: SQSClient = client("sqs")
        self.sns: SNSClient = client("sns")
        self.cognito: CognitoIdentityProviderClient = client("cognito-idp")
        self.kms: KMSClient = client("kms")


def _table(dynamodb: DynamoDBClient, spec: DataPlaneSpec, key: str, values: Mapping[str, Any]) -> dict[str, str]:
    name = f"{spec.prefix}-{key}"
    indexes = [_index(index, columns) for index, columns in values.get("global_indexes", {}).items()]
    request: dict[str, Any] = {
        "TableName": name,
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in values["attributes"].items()
        ],
        "KeySchema": _key_schema(values),
        "BillingMode": "PAY_PER_REQUEST",
    }
    if indexes:
        request["GlobalSecondaryIndexes"] = indexes
    try:
        arn = dynamodb.create_table(**request)["TableDescription"]["TableArn"]
    except dynamodb.exceptions.ResourceInUseException:
        arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    attribute = values.get("ttl_attribute")
    if attribute:
        current = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if current.get("AttributeName") != attribute:
            wanted = {"Enabled": True, "AttributeName": attribute}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)  # type: ignore[arg-type]
    return {"name": name, "arn": arn}


def _key_schema(columns: Mapping[str, Any]) -> list[dict[str, str]]:
    schema = [{"AttributeName": columns["hash_key"], "KeyType": "HASH"}]
    if "range_key" in columns:
        schema.append({"AttributeName": columns["range_key"], "KeyType": "RANGE"})
    return schema


def _index(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": _key_schema(columns),
        "Projection": {"ProjectionType": columns["projection"]},
    }


def _queue(clients: _Clients, spec: DataPlaneSpec, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{spec.prefix}-{key}"
    retention = {"MessageRetentionPeriod": str(values["dead_letter_retention_seconds"])}
    dead_letter = _ensure_queue(clients.sqs, spec, f"{name}-dead-letter", retention)
    redrive = {"deadLetterTargetArn": dead_letter["arn"], "maxReceiveCount": values["max_receive_count"]}
    attributes = {
        "VisibilityTimeout": str(values["visibility_timeout_seconds"]),
        "MessageRetentionPeriod": str(values["retention_seconds"]),
        "ReceiveMessageWaitTimeSeconds": str(values["receive_wait_seconds"]),
        "RedrivePolicy": json.dumps(redrive),
    }
    queue = _ensure_queue(clients.sqs, spec, name, attributes)
    return {**queue, "dead_letter": dead_letter, "max_receive_count": values["max_receive_count"]}


def _ensure_queue(sqs: SQSClient, spec: DataPlaneSpec, name: str, attributes: dict[str, str]) -> dict[str, str]:
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]
    except sqs.exceptions.QueueDoesNotExist:
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
    # A queue that was made when the emulator had another port still names that port.
    return {
        "url": f"{spec.endpoint}{urlsplit(url).path}",
        "arn": f"arn:aws:sqs:{spec.region}:{ACCOUNT_ID}:{name}",
    }


def _topic(sns: SNSClient, spec: DataPlaneSpec, key: str, values: Mapping[str, Any], queues: Mapping[str, Any]) -> str:
    # CreateTopic and Subscribe return what is there already.
    arn = sns.create_topic(Name=f"{spec.prefix}-{key}")["TopicArn"]
    for subscription in values["subscriptions"]:
        raw = str(bool(subscription.get("raw_message_delivery", False))).lower()
        sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=queues[subscription["queue"]]["arn"],
            Attributes={"RawMessageDelivery": raw},
            ReturnSubscriptionArn=True,
        )
    return arn


def _identity(cognito: CognitoIdentityProviderClient, spec: DataPlaneSpec, values: Mapping[str, Any]) -> dict[str, str]:
    pool_name = f"{spec.prefix}-players"
    pools = cognito.list_user_pools(MaxResults=60)["UserPools"]
    pool_id = next((pool["Id"] for pool in pools if pool.get("Name") == pool_name), None)
    policy = values["password_policy"]
    if pool_id is None:
        created = cognito.create_user_pool(
            PoolName=pool_name,
            UsernameAttributes=values["username_attributes"],
            AutoVerifiedAttributes=values["username_attributes"],
            Policies={
                "PasswordPolicy": {
                    "MinimumLength": policy["minimum_length"],
                    "RequireLowercase": policy["lowercase"],
                    "RequireUppercase": policy["uppercase"],
                    "RequireNumbers": policy["numbers"],
                    "RequireSymbols": policy["symbols"],
                }
            },
        )
        pool_id = created["UserPool"]["Id"]
    return {
        "user_pool_id": pool_id,
        "client_id": _app_client(cognito, spec, pool_id, values),
        # What stands in the tokens. The keys to check them are served by the emulator.
        "issuer": f"https://cognito-idp.{spec.region}.amazonaws.com/{pool_id}",
        "jwks_url": f"{spec.endpoint}/{pool_id}/.well-known/jwks.json",
    }


def _app_client(
    cognito: CognitoIdentityProviderClient, spec: DataPlaneSpec, pool_id: str, values: Mapping[str, Any]
) -> str:
    name = f"{spec.prefix}-game"
    clients = cognito.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]
    found = next((client["ClientId"] for client in clients if client.get("ClientName") == name), None)
    if found is not None:
        return found
    created = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName=name,
        GenerateSecret=False,
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        PreventUserExistenceErrors="ENABLED",
        AccessTokenValidity=values["access_token_minutes"],
        IdTokenValidity=values["access_token_minutes"],
        RefreshTokenValidity=values["refresh_token_days"],
        TokenValidityUnits={"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
    )
    return created["UserPoolClient"]["ClientId"]


def _key(kms: KMSClient, spec: DataPlaneSpec, key: str, values: Mapping[str, Any]) -> str:
    """ARN of the key behind the alias `<prefix>-<key>`."""
    alias = f"alias/{spec.prefix}-{key}"
    try:
        return kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"]
    except kms.exceptions.NotFoundException:
        metadata = kms.create_key(Description=values["description"])["KeyMetadata"]
        kms.enable_key_rotation(KeyId=metadata["KeyId"])
        kms.create_alias(AliasName=alias, TargetKeyId=metadata["KeyId"])
        return metadata["Arn"]
