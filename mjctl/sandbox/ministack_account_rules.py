"""Corrections of ministack's rules for accounts and users: protection, names in use, passwords, and mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import unescape

from ministack.core.responses import get_account_id, new_uuid
from ministack.services import cognito, elasticache, iam, kms, secretsmanager, ses, sns

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]

_EMAIL_PROTOCOLS = ("email", "email-json")
_SNS_SENDER = "no-reply@sns.amazonaws.com"

# Maps a service to the end of its service-linked role's name, if the end is not the capitalized name of the service:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
_LINKED_ROLES = {
    "autoscaling": "AutoScaling",
    "backup": "Backup",
    "ecs": "ECS",
    "ecs.application-autoscaling": "ApplicationAutoScaling_ECSService",
    "eks": "AmazonEKS",
    "elasticache": "ElastiCache",
    "elasticloadbalancing": "ElasticLoadBalancing",
    "globalaccelerator": "GlobalAccelerator",
    "ops.apigateway": "APIGateway",
    "rds": "RDS",
    "replication.dynamodb": "DynamoDBReplication",
    "replication.ecr": "ECRReplication",
    "shield": "AWSShield",
    "wafv2": "WAFV2Logging",
}

_LEFT_OUT = {
    "MinimumLength": 8,
    "RequireLowercase": False,
    "RequireNumbers": False,
    "RequireSymbols": False,
    "RequireUppercase": False,
    "TemporaryPasswordValidityDays": 7,
}


def _protected_pools() -> None:
    def make(original: Handler) -> Handler:
        def delete(data: dict[str, Any]) -> Any:
            pool, _ = cognito._resolve_pool(data.get("UserPoolId"))
            if pool and pool.get("DeletionProtection") == "ACTIVE":
                # https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-deletion-protection.html
                message = (
                    "The user pool cannot be deleted because deletion protection is activated. Deletion protection "
                    "must be inactivated first."
                )
                return cognito.error_response_json("InvalidParameterException", message, 400)
            return original(data)

        return delete

    wrap(cognito, "_delete_user_pool", make)


def _password_policies() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            given = (data.get("Policies") or {}).get("PasswordPolicy")
            if given is None:
                return original(data)
            # None of the requirements is required, so a policy that leaves out a requirement does not have it:
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_PasswordPolicyType.html
            return original({**data, "Policies": {**data["Policies"], "PasswordPolicy": {**_LEFT_OUT, **given}}})

        return handle

    for name in ("_create_user_pool", "_update_user_pool"):
        wrap(cognito, name, make)


def _user_groups() -> None:
    def make(original: Handler) -> Handler:
        def create(parameters: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateUserGroup.html
            identifiers: list[str] = []
            while identifier := elasticache._p(parameters, f"UserIds.member.{len(identifiers) + 1}"):
                identifiers.append(identifier)
            # ElastiCache creates the user with the id `default` in each account.
            names = {identifier: "default" for identifier in identifiers if identifier == "default"}
            for identifier in identifiers:
                if identifier not in names and identifier not in elasticache._users:
                    return elasticache._error("UserNotFound", f"User {identifier} not found.", 404)
                names.setdefault(identifier, (elasticache._users.get(identifier) or {}).get("UserName", ""))
            engine = (elasticache._p(parameters, "Engine") or "redis").lower()
            if engine == "redis" and "default" not in names.values():
                text = "You must add default user to a user group."
                return elasticache._error("DefaultUserRequired", text, 400)
            return original(parameters)

        return create

    wrap(elasticache, "_create_user_group", make)


def _pending_secrets() -> None:
    def make(original: Handler) -> Handler:
        def create(data: dict[str, Any]) -> Any:
            secret = secretsmanager._secrets.get(data.get("Name"))
            if secret and secret.get("DeletedDate"):
                # https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html
                message = (
                    "You can't create this secret because a secret with this name is already scheduled for deletion."
                )
                return secretsmanager.error_response_json("InvalidRequestException", message, 400)
            return original(data)

        return create

    wrap(secretsmanager, "_create_secret", make)


def _pending_replicas() -> None:
    def make(original: Handler) -> Handler:
        def replicate(data: dict[str, Any]) -> Any:
            key = kms._resolve_key(data.get("KeyId", ""))
            region = data.get("ReplicaRegion")
            if key and region and key.get("MultiRegion"):
                replica = kms._keys.get_scoped(get_account_id(), region, key["KeyId"])
                if replica is not None and replica is not key:
                    # The region still contains a replica key that is in the waiting period before its deletion:
                    # https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-delete.html
                    message = f"Key {key['KeyId']} already exists in region {region}"
                    return kms.error_response_json("AlreadyExistsException", message, 400)
            return original(data)

        return replicate

    wrap(kms, "_replicate_key", make)


def _linked_roles() -> None:
    def make(original: Handler) -> Handler:
        def create(parameters: dict[str, Any]) -> Any:
            service = iam._p(parameters, "AWSServiceName")
            prefix = service.removesuffix(".amazonaws.com")
            given = f"AWSServiceRoleFor{prefix.split('.')[0].capitalize()}"
            name = f"AWSServiceRoleFor{_LINKED_ROLES.get(prefix, prefix.split('.')[0].capitalize())}"
            if name in iam._roles:
                # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceLinkedRole.html
                message = f"Service role name {name} has been taken in this account, please try a different suffix."
                return iam._error(400, "InvalidInput", message, ns="iam")
            answer = original(parameters)
            if answer[0] != 200 or name == given:
                return answer
            role = iam._roles.pop(given)
            role.update(RoleName=name, Arn=role["Arn"].replace(given, name))
            iam._roles[name] = role
            return answer[0], answer[1], answer[2].replace(given.encode(), name.encode())

        return create

    wrap(iam, "_create_service_linked_role", make)


def _email_subscriptions() -> None:
    def make_subscribe(original: Handler) -> Handler:
        def subscribe(parameters: dict[str, Any]) -> Any:
            protocol, address = sns._p(parameters, "Protocol"), sns._p(parameters, "Endpoint")
            topic = sns._topic_by_arn_any_scope(sns._normalize_arn(sns._p(parameters, "TopicArn")))
            before = [s["arn"] for s in topic["subscriptions"]] if topic else []
            status, headers, body = original(parameters)
            if protocol not in _EMAIL_PROTOCOLS or status != 200 or topic is None:
                return status, headers, body
            for subscription in topic["subscriptions"]:
                if subscription["arn"] not in before:
                    _ask_for_confirmation(topic["arn"], subscription)
                    sns._refresh_subscription_counts(topic)
            subscription = next(
                s for s in topic["subscriptions"] if (s["protocol"], s["endpoint"]) == (protocol, address)
            )
            if not subscription["confirmed"] and sns._p(parameters, "ReturnSubscriptionArn") != "true":
                body = body.replace(subscription["arn"].encode(), b"pending confirmation")
            return status, headers, body

        return subscribe

    def make_list(original: Handler) -> Handler:
        def listed(parameters: dict[str, Any]) -> Any:
            status, headers, body = original(parameters)
            for topic in sns._topics.values():
                for subscription in topic["subscriptions"]:
                    if not subscription.get("confirmed"):
                        arn = f"<SubscriptionArn>{subscription['arn']}</SubscriptionArn>".encode()
                        body = body.replace(arn, b"<SubscriptionArn>PendingConfirmation</SubscriptionArn>")
            return status, headers, body

        return listed

    def make_fan_out(original: Handler) -> Handler:
        def fan_out(
            topic_arn: str,
            msg_id: str,
            message: str,
            subject: str,
            message_structure: str = "",
            message_attributes: dict[str, Any] | None = None,
            **options: Any,
        ) -> Any:
            topic = sns._topic_by_arn_any_scope(topic_arn) or {"subscriptions": []}
            for subscription in topic["subscriptions"]:
                if subscription["protocol"] in _EMAIL_PROTOCOLS and subscription.get("confirmed"):
                    text = sns._resolve_message_for_protocol(message, message_structure, subscription["protocol"])
                    if sns._matches_filter_policy(subscription, message_attributes or {}, text):
                        _send(subscription["endpoint"], subject or "AWS Notification Message", text)
            return original(topic_arn, msg_id, message, subject, message_structure, message_attributes, **options)

        return fan_out

    wrap(sns, "_subscribe", make_subscribe)
    wrap(sns, "_list_subscriptions", make_list)
    wrap(sns, "_list_subscriptions_by_topic", make_list)
    wrap(sns, "_fanout", make_fan_out)


def _ask_for_confirmation(topic: str, subscription: dict[str, Any]) -> None:
    """Make a subscription pending, and send a mail with the link by which an operator confirms the subscription.

    https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.confirm.html
    """
    token = new_uuid()
    subscription.update(confirmed=False, token=token)
    subscription["attributes"].update(PendingConfirmation="true", ConfirmationWasAuthenticated="false")
    region = topic.split(":")[3]
    link = f"https://sns.{region}.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"
    text = f"You have chosen to subscribe to the topic: {topic}\n\nTo confirm this subscription, visit: {link}\n"
    _send(subscription["endpoint"], "AWS Notification - Subscription Confirmation", text)


def _send(address: str, subject: str, text: str) -> None:
    ses.send_internal_email(_SNS_SENDER, [unescape(address)], subject, body_text=text, type_name="SnsNotification")


CORRECTIONS = (
    ministack_correction(
        "cache-default-user",
        "ElastiCache creates a user group of Redis without a default user, and with users that do not exist",
        _user_groups,
    ),
    ministack_correction(
        "cognito-deletion-protection", "Cognito deletes a user pool that has deletion protection", _protected_pools
    ),
    ministack_correction(
        "cognito-password-policy",
        "Cognito demands each kind of characters that a password policy does not name",
        _password_policies,
    ),
    ministack_correction(
        "iam-linked-roles",
        "IAM names service-linked roles wrongly, and answers the second creation of a role with another error than AWS",
        _linked_roles,
    ),
    ministack_correction(
        "kms-pending-replica",
        "KMS creates a replica key again while the first replica key is in the waiting period before its deletion",
        _pending_replicas,
    ),
    ministack_correction(
        "secret-name-pending",
        "Secrets Manager answers the creation of a secret that is scheduled for deletion with another error than AWS",
        _pending_secrets,
    ),
    ministack_correction(
        "sns-email-pending",
        "SNS confirms subscriptions by e-mail at once, and sends no mail",
        _email_subscriptions,
    ),
)
