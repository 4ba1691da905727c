"""Checks by policies whether AWS services may call each other. ministack itself allows such calls without a check."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.iam_evaluator import EvalContext
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import apigateway, cloudwatch_logs, iam, lambda_svc, sns, sqs

from mjctl.sandbox.correction import ministack_correction, wrap
from mjctl.sandbox.stage.iam_calls import key_keys
from mjctl.sandbox.stage.iam_records import customer_key, key_arn
from mjctl.sandbox.stage.permissions import role_decision, service_decision

Handler = Callable[..., Any]

_INVOKE = "lambda:InvokeFunction"
# The actions that an event source mapping needs for a queue:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
_QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

logger = logging.getLogger("mjctl.sandbox.stage.service_calls")


def _gateway_invokes() -> None:
    def make(original: Handler) -> Handler:
        async def invoke(
            integration: dict[str, Any],
            api_id: str,
            stage: str,
            path: str,
            method: str,
            *arguments: Any,
            **options: Any,
        ) -> Any:
            account = options.get("owner_account_id") or get_account_id()
            region = options.get("owner_region") or get_region()
            with request_scope(account, region):
                function = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
                source = f"arn:aws:execute-api:{region}:{account}:{api_id}/{stage}/{method}{path}"
                decision = service_decision("apigateway.amazonaws.com", _INVOKE, function, source)
            if not decision.allowed:
                # API Gateway hides from the client that a permission is missing:
                # https://repost.aws/knowledge-center/api-gateway-http-lambda-integrations
                logger.warning("API Gateway may not invoke %s for %s: %s", function, source, decision.reason)
                return 500, {"Content-Type": "application/json"}, b'{"message":"Internal Server Error"}'
            return await original(integration, api_id, stage, path, method, *arguments, **options)

        return invoke

    wrap(apigateway, "_invoke_lambda_proxy", make)


def _topic_invokes() -> None:
    def make(original: Handler) -> Handler:
        def deliver(endpoint: str, envelope: str, topic_arn: str, *arguments: Any) -> Any:
            decision = service_decision("sns.amazonaws.com", _INVOKE, endpoint, topic_arn)
            if decision.allowed:
                return original(endpoint, envelope, topic_arn, *arguments)
            logger.warning("SNS may not invoke %s for %s: %s", endpoint, topic_arn, decision.reason)
            return None

        return deliver

    wrap(sns, "_deliver_to_lambda", make)


def _encrypted_queues() -> None:
    def make(original: Handler) -> Handler:
        def allows(queue_arn: str, service: str, source_arn: str, source_account: str) -> bool:
            if not original(queue_arn, service, source_arn, source_account):
                return False
            key = customer_key(queue_arn)
            # https://docs.aws.amazon.com/sns/latest/dg/sns-enable-encryption-for-topic-sqs-queue-subscriptions.html
            for action in ("kms:GenerateDataKey", "kms:Decrypt") if key else ():
                decision = service_decision(service, action, key, source_arn)
                if not decision.allowed:
                    logger.warning("%s may not use %s for %s: %s", service, key, queue_arn, decision.reason)
                    return False
            return True

        return allows

    wrap(sqs, "queue_policy_allows", make)


def _queue_refusal(role: str, queue: str) -> str:
    """Return an action that a function needs to read a queue but that its role does not allow, or an empty string."""
    for action in _QUEUE_ACTIONS:
        if not role_decision(role, action, queue, {}).allowed:
            return action.partition(":")[2]
    key = customer_key(queue)
    if key and not role_decision(role, "kms:Decrypt", key, key_keys("sqs:ReceiveMessage", queue, key)).allowed:
        return "kms:Decrypt"
    return ""


def _mappings() -> None:
    def make_create(original: Handler) -> Handler:
        def create(data: dict[str, Any]) -> Any:
            queue = data.get("EventSourceArn", "")
            function, _ = lambda_svc._get_func_record_for_qualifier(
                str(data.get("FunctionName", "")).rsplit(":function:", 1)[-1].split(":")[0], None
            )
            if queue.startswith("arn:aws:sqs:") and function is not None:
                action = _queue_refusal(function["config"]["Role"], queue)
                if action:
                    service = "" if ":" in action else " on SQS"
                    message = f"The provided execution role does not have permissions to call {action}{service}"
                    return lambda_svc.error_response_json("InvalidParameterValueException", message, 400)
            return original(data)

        return create

    def make_concurrency(original: Handler) -> Handler:
        def concurrency(mapping: dict[str, Any], function: Any, config: Any, queue: Any = None) -> int:
            action = _queue_refusal(config["Role"], mapping["EventSourceArn"])
            if action:
                mapping["LastProcessingResult"] = "PROBLEM: Function call failed: access denied"
                return 0
            return int(original(mapping, function, config, queue))

        return concurrency

    wrap(lambda_svc, "_create_esm", make_create)
    wrap(lambda_svc, "_sqs_esm_concurrency", make_concurrency)


def _function_roles() -> None:
    def make_create(original: Handler) -> Handler:
        def create(data: dict[str, Any]) -> Any:
            return _not_assumable(data.get("Role", "")) or original(data)

        return create

    def make_update(original: Handler) -> Handler:
        def update(name: str, data: dict[str, Any]) -> Any:
            role = data.get("Role")
            return (_not_assumable(role) if role else None) or original(name, data)

        return update

    wrap(lambda_svc, "_create_function", make_create)
    wrap(lambda_svc, "_update_config", make_update)


def _not_assumable(role_arn: str) -> Any:
    """Return AWS's error if a role exists but Lambda may not assume the role, or else None.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    role = iam._roles.get(role_arn.rsplit("/", 1)[-1])
    if role is None:
        return None
    context = EvalContext(
        principal_arn="lambda.amazonaws.com",
        principal_type="Service",
        principal_account=get_account_id(),
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=get_region(),
        service_context={"aws:sourceaccount": get_account_id()},
    )
    if iam_evaluator.evaluate_trust_policy(role["AssumeRolePolicyDocument"], "lambda.amazonaws.com", context):
        return None
    message = "The role defined for the function cannot be assumed by Lambda."
    return lambda_svc.error_response_json("InvalidParameterValueException", message, 400)


def _log_keys() -> None:
    def make(original: Handler) -> Handler:
        def create(data: dict[str, Any]) -> Any:
            key = data.get("kmsKeyId")
            if not key:
                return original(data)
            group = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{data.get('logGroupName')}"
            keys = {"kms:EncryptionContext:aws:logs:arn": group}
            service = f"logs.{get_region()}.amazonaws.com"
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
            decision = service_decision(service, "kms:GenerateDataKey", key_arn(key), group, keys)
            if not decision.allowed:
                message = f"The specified KMS key does not exist or is not allowed to be used with Arn '{group}'"
                return cloudwatch_logs.error_response_json("InvalidParameterException", message, 400)
            return original(data)

        return create

    wrap(cloudwatch_logs, "_create_log_group", make)


CORRECTIONS = (
    ministack_correction(
        "lambda-mapping-role", "Lambda reads queues that the role of the function may not read", _mappings
    ),
    ministack_correction(
        "lambda-permission-gateway",
        "API Gateway invokes Lambda functions whose policy does not allow API Gateway",
        _gateway_invokes,
    ),
    ministack_correction(
        "lambda-permission-topic", "SNS invokes Lambda functions whose policy does not allow SNS", _topic_invokes
    ),
    ministack_correction(
        "lambda-role-trust", "Lambda uses roles whose trust policy does not allow Lambda", _function_roles
    ),
    ministack_correction(
        "logs-key-policy", "CloudWatch Logs uses KMS keys whose policy does not allow CloudWatch Logs", _log_keys
    ),
    ministack_correction(
        "sns-encrypted-queue",
        "SNS sends to encrypted queues although the policy of the KMS key does not allow SNS",
        _encrypted_queues,
    ),
)
"""Corrections that work only with ministack's setting AUTH=true, which only the stage sets."""
