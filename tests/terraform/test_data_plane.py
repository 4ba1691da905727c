"""The data plane of a local region and the plan of the production modules have the same names and attributes.

Both data planes are created from `data-plane.yaml`: by `mjctl.local.data_plane`, and by the modules `match_store`,
`events`, `identity` and `keys`. `LOCAL_DIFFERS` lists each deliberate difference with its reason. The test fails for an
attribute that only `mjctl.local.data_plane` or only a module sets, and for a listed difference that no longer exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from terraform_cli import TERRAFORM_DIR

from mjctl.local import data_plane
from mjctl.sandbox.emulators import Emulators
from tools.plan_model import UNKNOWN, Plan, Resource

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]

DEFINITION = TERRAFORM_DIR / "modules" / "data_plane" / "data-plane.yaml"
PROD, LOCAL = "arena-prod", "arena-local"
MODULES = ("match_store", "events", "identity", "keys")

_EMULATED = "the emulated AWS does not offer the attribute, or the attribute has no effect there"
_NO_KEY_OF_ITS_OWN = "the files of a local region are private to its user; only fields are sealed, with the key `data`"
_NO_REPLICAS = "a local region has no replicas in other regions"
_NO_STRANGERS = "only programs that have the region's key reach the emulated Cognito"
_ONE_CALLER = "only programs that have the region's key reach the emulated AWS, so it has no policies"

# Attributes that only production sets, or that have another value in production, by kind of part.
LOCAL_DIFFERS: Mapping[str, Mapping[str, str]] = {
    "table": {
        "deletion_protection_enabled": "`destroy` removes a local region with all its data",
        "point_in_time_recovery": "portable backups save a local region",
        "server_side_encryption": _NO_KEY_OF_ITS_OWN,
        "stream_enabled": _NO_REPLICAS,
        "stream_view_type": _NO_REPLICAS,
    },
    "queue": {
        "kms_master_key_id": _NO_KEY_OF_ITS_OWN,
        "max_message_size": "the provider plans the default that SQS had before August 2025; a message stays below it",
        "redrive_allow_policy": _ONE_CALLER,
    },
    "topic": {"kms_master_key_id": _NO_KEY_OF_ITS_OWN},
    "subscription": {},
    "user pool": {
        "account_recovery_setting": _NO_STRANGERS,
        "admin_create_user_config": _NO_STRANGERS,
        "deletion_protection": "`destroy` removes a local region with all its data",
        "email_configuration": "a local region sends no e-mail",
        "password_policy.password_history_size": _EMULATED,
        "password_policy.temporary_password_validity_days": "an operator makes no accounts with temporary passwords",
        "software_token_mfa_configuration": "the emulated Cognito of a local region offers only authenticator apps",
        "user_attribute_update_settings": "a local region sends no e-mail",
        "user_pool_add_ons": "threat protection is a paid service of Cognito",
        "user_pool_tier": "threat protection is a paid service of Cognito",
        "username_configuration": _EMULATED,
    },
    "app client": {
        "enable_token_revocation": "Cognito has token revocation on by default",
        "refresh_token_rotation": _EMULATED,
        "write_attributes": _NO_STRANGERS,
    },
    "group": {"description": "a description has no effect"},
    "key": {
        "deletion_window_in_days": "`destroy` removes a local region with all its data",
        "multi_region": _NO_REPLICAS,
        "policy": _ONE_CALLER,
    },
    "alias": {},
}
# Parts of the data plane that only production has.
ONLY_IN_PRODUCTION = {
    f"key {PROD}-storage": _NO_KEY_OF_ITS_OWN,
    f"alias alias/{PROD}-storage": _NO_KEY_OF_ITS_OWN,
}

# _UNSET has the values that the provider plans for an argument that the code does not set. _OF_THE_PROVIDER has the
# attributes that only the provider knows.
_UNSET = (None, "", [], {}, False, 0)
_OF_THE_PROVIDER = {
    "confirmation_timeout_in_minutes",
    "customer_master_key_spec",
    "is_enabled",
    "key_usage",
    "tags",
    "tags_all",
    "timeouts",
}
_KINDS = {
    "aws_dynamodb_table": "table",
    "aws_sqs_queue": "queue",
    "aws_sns_topic": "topic",
    "aws_sns_topic_subscription": "subscription",
    "aws_cognito_user_pool": "user pool",
    "aws_cognito_user_pool_client": "app client",
    "aws_cognito_user_group": "group",
    "aws_kms_key": "key",
    "aws_kms_alias": "alias",
}
# The queue policy allows only the topic to send messages to the queue. A local region has no queue policy, for the
# reason in _ONE_CALLER.
_NO_PART = {"aws_sqs_queue_policy"}

Parts = dict[str, dict[str, Any]]


def in_production(plans: list[Plan], definition: Mapping[str, Any]) -> Parts:
    """Read the planned parts of the primary region from the plans of foundation and region."""
    parts: Parts = {}
    for resource in _resources(plans):
        if resource.type in _NO_PART:
            continue
        kind = _KINDS[resource.type]
        values = {
            name: value
            for name in resource.after
            if name not in _OF_THE_PROVIDER and (value := resource.get(name)) is not UNKNOWN and value not in _UNSET
        }
        if kind == "queue" and resource.name == "queue":
            # The redrive policy refers to the dead-letter queue's ARN, so Terraform does not know the text of the
            # policy at plan.
            references = resource.plan.expressions(resource)["redrive_policy"]["references"]
            assert "aws_sqs_queue.dead_letter" in references
            assert "each.value.max_receive_count" in references
            values["redrive"] = {
                "to": f"{PROD}-{resource.key}-dlq",
                "max_receive_count": definition["queues"][resource.key]["max_receive_count"],
            }
        name = values.pop("name", None)
        if kind == "subscription":
            name = resource.key
        if kind == "key":
            name = f"{PROD}-{resource.key}"
        parts[f"{kind} {name}"] = _flat(_normal(values))
    return parts


def _resources(plans: list[Plan]) -> Iterator[Resource]:
    primary = next(plan.region for plan in plans if plan.name == "foundation")
    for plan in plans:
        if plan.name in ("foundation", f"region {primary}"):
            yield from (
                resource for resource in plan.resources() if len(resource.module) == 1 and resource.module[0] in MODULES
            )


def _normal(values: dict[str, Any]) -> dict[str, Any]:
    """Return planned attributes in a form that can be compared: without lists of one block, and with sorted lists."""
    values = dict(values)
    for name in ("password_policy", "token_validity_units", "ttl"):
        if name in values:
            (values[name],) = values[name]
    if "attribute" in values:
        values["attribute"] = {item["name"]: item["type"] for item in values["attribute"]}
    for index in values.pop("global_secondary_index", ()):
        values[f"index {index['name']}"] = {
            "hash_key": index["hash_key"],
            "range_key": index["range_key"],
            "projection_type": index["projection_type"],
        }
    return {name: sorted(value) if _is_list_of_text(value) else value for name, value in values.items()}


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value not in _UNSET:
            flat[prefix + name] = value
    return flat


def in_a_local_region(emulator: Emulators, region: str) -> Parts:
    """Create the data plane of a local region in the emulated AWS, and read it in the provider's terms."""
    spec = data_plane.DataPlaneSpec(DEFINITION, LOCAL, emulator.url("ministack"), region, emulator.key)
    with pytest.MonkeyPatch.context() as patch:
        # ARNs contain the AWS account, and the emulator of these tests has another account than a local region.
        patch.setattr(data_plane, "ACCOUNT_ID", emulator.account_id)
        manifest = data_plane.create(spec)
    parts: Parts = {}

    def client(service: str) -> Any:
        return emulator.client(service, region)

    for table in manifest["tables"].values():
        parts[f"table {table['name']}"] = _table(client("dynamodb"), table["name"])
    for queue in manifest["queues"].values():
        for arn in (queue["arn"], queue["dead_letter"]["arn"]):
            parts[f"queue {arn.rsplit(':', 1)[-1]}"] = _queue(client("sqs"), arn.rsplit(":", 1)[-1])
    for topic, arn in manifest["topics"].items():
        parts[f"topic {arn.rsplit(':', 1)[-1]}"] = {}
        for item in client("sns").list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
            attributes = client("sns").get_subscription_attributes(SubscriptionArn=item["SubscriptionArn"])[
                "Attributes"
            ]
            key = f"{topic}-{item['Endpoint'].rsplit(':', 1)[-1].removeprefix(f'{LOCAL}-')}"
            parts[f"subscription {key}"] = {
                "protocol": item["Protocol"],
                "raw_message_delivery": str(attributes["RawMessageDelivery"]).lower() == "true",
            }
    parts |= _identity(client("cognito-idp"), manifest["identity"])
    for alias in client("kms").list_aliases()["Aliases"]:
        if alias["AliasName"].startswith(f"alias/{LOCAL}-"):
            key = client("kms").describe_key(KeyId=alias["TargetKeyId"])["KeyMetadata"]
            rotation = client("kms").get_key_rotation_status(KeyId=key["Arn"])
            parts[f"alias {alias['AliasName']}"] = {}
            parts[f"key {alias['AliasName'].removeprefix('alias/')}"] = {
                "description": key["Description"],
                "enable_key_rotation": rotation["KeyRotationEnabled"],
            }
    return {name: _flat(values) for name, values in parts.items()}


def _table(dynamodb: Any, name: str) -> dict[str, Any]:
    table = dynamodb.describe_table(TableName=name)["Table"]
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    values: dict[str, Any] = {
        **_keys(table["KeySchema"]),
        "attribute": {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]},
        "billing_mode": table["BillingModeSummary"]["BillingMode"],
        "ttl": {"attribute_name": ttl["AttributeName"], "enabled": ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING")},
        "stream_enabled": table.get("StreamSpecification", {}).get("StreamEnabled"),
    }
    for index in table.get("GlobalSecondaryIndexes", ()):
        projection = {"projection_type": index["Projection"]["ProjectionType"]}
        values[f"index {index['IndexName']}"] = {**_keys(index["KeySchema"]), **projection}
    return values


def _keys(schema: list[dict[str, str]]) -> dict[str, str]:
    names = {"HASH": "hash_key", "RANGE": "range_key"}
    return {names[item["KeyType"]]: item["AttributeName"] for item in schema}


def _queue(sqs: Any, name: str) -> dict[str, Any]:
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    values: dict[str, Any] = {
        "delay_seconds": int(attributes["DelaySeconds"]),
        "message_retention_seconds": int(attributes["MessageRetentionPeriod"]),
        "receive_wait_time_seconds": int(attributes["ReceiveMessageWaitTimeSeconds"]),
        "visibility_timeout_seconds": int(attributes["VisibilityTimeout"]),
        "fifo_queue": attributes.get("FifoQueue") == "true",
    }
    if "RedrivePolicy" in attributes:
        policy = json.loads(attributes["RedrivePolicy"])
        values["redrive"] = {
            "to": policy["deadLetterTargetArn"].rsplit(":", 1)[-1],
            "max_receive_count": int(policy["maxReceiveCount"]),
        }
    return values


def _identity(cognito: Any, identity: Mapping[str, str]) -> Parts:
    pool_id = identity["user_pool_id"]
    pool = cognito.describe_user_pool(UserPoolId=pool_id)["UserPool"]
    policy = pool["Policies"]["PasswordPolicy"]
    client = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=identity["client_id"])["UserPoolClient"]
    units = client["TokenValidityUnits"]
    groups = cognito.list_groups(UserPoolId=pool_id)["Groups"]
    return {
        f"user pool {pool['Name']}": {
            "auto_verified_attributes": sorted(pool["AutoVerifiedAttributes"]),
            "username_attributes": sorted(pool["UsernameAttributes"]),
            "mfa_configuration": pool["MfaConfiguration"],
            "password_policy": {
                "minimum_length": policy["MinimumLength"],
                "require_lowercase": policy["RequireLowercase"],
                "require_numbers": policy["RequireNumbers"],
                "require_symbols": policy["RequireSymbols"],
                "require_uppercase": policy["RequireUppercase"],
            },
        },
        f"app client {client['ClientName']}": {
            "access_token_validity": client["AccessTokenValidity"],
            "explicit_auth_flows": sorted(client["ExplicitAuthFlows"]),
            "generate_secret": "ClientSecret" in client,
            "id_token_validity": client["IdTokenValidity"],
            "prevent_user_existence_errors": client["PreventUserExistenceErrors"],
            "refresh_token_validity": client["RefreshTokenValidity"],
            "token_validity_units": {
                "access_token": units["AccessToken"],
                "id_token": units["IdToken"],
                "refresh_token": units["RefreshToken"],
            },
        },
        **{f"group {group['GroupName']}": {} for group in groups},
    }


def differences(production: Parts, local: Parts) -> tuple[list[str], set[tuple[str, str]]]:
    """Compare the parts of production with the parts of a local region.

    Returns:
        The differences without a listed reason, and the listed differences that exist.
    """
    local = {name.replace(LOCAL, PROD): values for name, values in local.items()}
    unexplained, seen = [], set()
    for name in sorted(production.keys() | local.keys()):
        if name not in local and name in ONLY_IN_PRODUCTION:
            seen.add(("part", name))
            continue
        if name not in local or name not in production:
            unexplained.append(f"only {'production' if name in production else 'a local region'} has {name}")
            continue
        kind = next(kind for kind in LOCAL_DIFFERS if name.startswith(f"{kind} "))
        planned, existing = production[name], local[name]
        for attribute in sorted(planned.keys() | existing.keys()):
            value = existing.get(attribute)
            value = value.replace(LOCAL, PROD) if isinstance(value, str) else value
            if value == planned.get(attribute):
                continue
            if attribute in LOCAL_DIFFERS[kind]:
                seen.add((kind, attribute))
            else:
                unexplained.append(f"{name}: {attribute} is {planned.get(attribute)} in production, locally {value}")
    return unexplained, seen


@pytest.fixture(scope="module")
def both(prod_plans: list[Plan], emulator: Emulators) -> tuple[Parts, Parts]:
    definition = yaml.safe_load(DEFINITION.read_text())
    region = next(plan.region for plan in prod_plans if plan.name == "foundation")
    return in_production(prod_plans, definition), in_a_local_region(emulator, region)


def test_names_and_attributes_are_the_same(both: tuple[Parts, Parts]) -> None:
    unexplained, _ = differences(*both)
    assert unexplained == []


def test_every_listed_difference_exists(both: tuple[Parts, Parts]) -> None:
    _, seen = differences(*both)
    listed = {(kind, attribute) for kind, attributes in LOCAL_DIFFERS.items() for attribute in attributes}
    assert listed | {("part", name) for name in ONLY_IN_PRODUCTION} == seen


def test_every_part_of_the_definition_is_compared(both: tuple[Parts, Parts]) -> None:
    definition = yaml.safe_load(DEFINITION.read_text())
    expected = {
        *(f"table {PROD}-{key}" for key in definition["tables"]),
        *(f"queue {PROD}-{key}{suffix}" for key in definition["queues"] for suffix in ("", "-dlq")),
        *(f"topic {PROD}-{key}" for key in definition["topics"]),
        *(f"key {PROD}-{key}" for key in definition["keys"]),
        f"user pool {PROD}-players",
        f"app client {PROD}-game",
        f"group {definition['identity']['internal_group']}",
    }
    assert expected <= both[0].keys()


def test_a_different_name_or_value_is_reported(both: tuple[Parts, Parts]) -> None:
    production, local = both
    renamed = {name.replace("-dlq", "-dead-letter"): values for name, values in local.items()}
    assert any("dead-letter" in line for line in differences(production, renamed)[0])
    queue = f"queue {LOCAL}-persistence"
    changed = {**local, queue: {**local[queue], "redrive.max_receive_count": 4}}
    assert differences(production, changed)[0] == [
        f"queue {PROD}-persistence: redrive.max_receive_count is 5 in production, locally 4"
    ]
