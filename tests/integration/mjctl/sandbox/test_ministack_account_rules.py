"""Tests the rules for a whole account: which of them ministack keeps, and that each correction is still needed.

A probe returns True if the emulator behaves as AWS does. The probe must return False for ministack without corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(120)]

REGION, OTHER_REGION = "us-east-1", "eu-west-1"
Client = Callable[..., Any]
probe = Probes[Client]()


@probe("cognito-deletion-protection")
def _pool(client: Client) -> bool:
    cognito = client("cognito-idp")
    pool = cognito.create_user_pool(DeletionProtection="ACTIVE", PoolName="p")["UserPool"]["Id"]
    if error_code(lambda: cognito.delete_user_pool(UserPoolId=pool)) != "InvalidParameterException":
        return False
    cognito.update_user_pool(DeletionProtection="INACTIVE", UserPoolId=pool)
    return not error_code(lambda: cognito.delete_user_pool(UserPoolId=pool))


@probe("cache-default-user")
def _user_group(client: Client) -> bool:
    cache = client("elasticache")
    own = {"AccessString": "on ~* +@all", "NoPasswordRequired": True}
    cache.create_user(Engine="redis", UserId="reader", UserName="reader", **own)

    def creation(name: str, engine: str, *users: str) -> str:
        return error_code(lambda: cache.create_user_group(UserGroupId=name, Engine=engine, UserIds=list(users)))

    return [
        creation("a", "redis", "reader"),
        creation("b", "redis", "default", "missing"),
        creation("c", "redis", "default", "reader"),
        creation("d", "valkey", "reader"),
    ] == ["DefaultUserRequired", "UserNotFound", "", ""]


@probe("cognito-password-policy")
def _password_policy(client: Client) -> bool:
    cognito = client("cognito-idp")
    pool = cognito.create_user_pool(
        PoolName="simple", Policies={"PasswordPolicy": {"MinimumLength": 10, "RequireNumbers": True}}
    )["UserPool"]["Id"]
    app = cognito.create_user_pool_client(UserPoolId=pool, ClientName="c")["UserPoolClient"]["ClientId"]

    def sign_up(name: str, password: str) -> str:
        return error_code(lambda: cognito.sign_up(ClientId=app, Username=name, Password=password))

    policy = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]["Policies"]["PasswordPolicy"]
    return (
        policy.get("RequireSymbols") is False
        and sign_up("ada", "abcdefghij") == "InvalidPasswordException"
        and sign_up("ada", "abcdefghi1") == ""
    )


@probe("iam-linked-roles")
def _linked_role(client: Client) -> bool:
    iam = client("iam")
    first = iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")["Role"]
    again = error_code(lambda: iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com"))
    read = iam.get_role(RoleName="AWSServiceRoleForECS")["Role"] if first["RoleName"].endswith("ECS") else {}
    return again == "InvalidInput" and read.get("Arn") == first["Arn"]


@probe("kms-pending-replica")
def _pending_replica(client: Client) -> bool:
    kms = client("kms")
    key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    kms.replicate_key(KeyId=key, ReplicaRegion=OTHER_REGION)
    client("kms", OTHER_REGION).schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    return error_code(lambda: kms.replicate_key(KeyId=key, ReplicaRegion=OTHER_REGION)) == "AlreadyExistsException"


@probe("secret-name-pending")
def _secret_name(client: Client) -> bool:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="pending", SecretString="a")
    secrets.delete_secret(SecretId="pending", RecoveryWindowInDays=7)
    return error_code(lambda: secrets.create_secret(Name="pending", SecretString="a")) == "InvalidRequestException"


@probe("sns-email-pending")
def _email(client: Client) -> bool:
    sns = client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    pending = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")["SubscriptionArn"]
    arn = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="two@example.com", ReturnSubscriptionArn=True)[
        "SubscriptionArn"
    ]
    listed = {s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]}
    state = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"] if arn.startswith("arn:") else {}
    return (
        pending == "pending confirmation"
        and listed == {"PendingConfirmation"}
        and state.get("PendingConfirmation") == "true"
    )


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    with Emulators(tmp_path_factory.mktemp("rules"), names=["ministack"], corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, lambda service, region=REGION: running.client(service, region), corrected=corrected)


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.ministack_account_rules") == set(probe)


class TestRulesThatMinistackKeeps:
    """Tests the rules of AWS that need no correction, so that a new release of ministack cannot drop them silently."""

    def test_an_account_has_one_provider_for_an_address(self, emulators: tuple[bool, Emulators]) -> None:
        iam = emulators[1].client("iam", REGION)
        provider = {"Url": "https://token.example.com", "ClientIDList": ["a"]}
        assert error_code(lambda: iam.create_open_id_connect_provider(**provider)) == ""
        second = emulators[1].client("iam", OTHER_REGION)
        assert error_code(lambda: second.create_open_id_connect_provider(**provider)) == "EntityAlreadyExists"

    def test_a_protected_table_stays(self, emulators: tuple[bool, Emulators]) -> None:
        dynamodb = emulators[1].client("dynamodb", REGION)
        dynamodb.create_table(
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            TableName="protected",
        )
        assert error_code(lambda: dynamodb.delete_table(TableName="protected")) == "ValidationException"

    def test_a_protected_cluster_stays(self, emulators: tuple[bool, Emulators]) -> None:
        rds = emulators[1].client("rds", REGION)
        rds.create_db_cluster(
            DBClusterIdentifier="protected",
            DeletionProtection=True,
            Engine="aurora-postgresql",
            EngineVersion="16.8",
            MasterUsername="game",
            MasterUserPassword="not-a-secret",
        )
        deletion = {"DBClusterIdentifier": "protected", "SkipFinalSnapshot": True}
        assert error_code(lambda: rds.delete_db_cluster(**deletion)) == "InvalidParameterCombination"

    def test_a_key_pending_deletion_is_not_used(self, emulators: tuple[bool, Emulators]) -> None:
        kms = emulators[1].client("kms", REGION)
        key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
        cipher = kms.encrypt(KeyId=key, Plaintext=b"a")["CiphertextBlob"]
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        assert error_code(lambda: kms.encrypt(KeyId=key, Plaintext=b"a")) == "KMSInvalidStateException"
        assert error_code(lambda: kms.decrypt(CiphertextBlob=cipher)) == "KMSInvalidStateException"
        assert (
            error_code(lambda: kms.replicate_key(KeyId=key, ReplicaRegion=OTHER_REGION)) == "KMSInvalidStateException"
        )

    def test_a_primary_key_waits_for_its_replicas(self, emulators: tuple[bool, Emulators]) -> None:
        kms = emulators[1].client("kms", REGION)
        key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
        kms.replicate_key(KeyId=key, ReplicaRegion=OTHER_REGION)
        assert kms.schedule_key_deletion(KeyId=key)["KeyState"] == "PendingReplicaDeletion"

    def test_the_name_of_a_bucket_is_taken_in_all_regions(self, emulators: tuple[bool, Emulators]) -> None:
        configuration = {"LocationConstraint": OTHER_REGION}
        own = emulators[1].client("s3", OTHER_REGION)
        assert error_code(lambda: own.create_bucket(Bucket="global", CreateBucketConfiguration=configuration)) == ""
        second = emulators[1].client("s3", REGION)
        assert error_code(lambda: second.create_bucket(Bucket="global")) == "BucketAlreadyOwnedByYou"
