"""Makes the emulated IAM decide on every signed call in a stage with the evaluator of mjctl.sandbox.policies.

ministack, an emulator of AWS, resolves credentials, checks signatures and finds the policies. This module replaces
ministack's decision, and corrects the names of actions and resources. The module also adds checks for iam:PassRole, for
the use of KMS keys by AWS services, and for the tags of a new table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import iam

from mjctl.sandbox.correction import ministack_correction, wrap
from mjctl.sandbox.policies import (
    AccessDecision,
    ApplicablePolicies,
    Call,
    Caller,
    CallerKind,
    Policy,
    decide,
)
from mjctl.sandbox.stage.iam_calls import (
    SignedCall,
    condition_keys,
    further_checks,
    iam_action,
    iam_resource,
    parameters_of,
)
from mjctl.sandbox.stage.iam_records import (
    caller_of,
    customer_key,
    granted,
    key_arn,
    merged,
    parsed,
    policies_of,
    resource_policy,
)

Handler = Callable[..., Any]

_EVERYTHING = Policy.parse({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}, "everything")

# The signed call of the current request. ministack passes only a part of the call to the functions that decide.
_call: ContextVar[SignedCall | None] = ContextVar("call", default=None)


Observer = Callable[[Caller, str, str, bool, str], None]
_observers: list[Observer] = []


def observe(observer: Observer) -> None:
    """Call `observer` after each later decision of `role_decision` and `service_decision`.

    Args:
        observer: Gets the caller, the action, the resource, whether the call is allowed, and the reason.
    """
    _observers.append(observer)


def _reported(call: Call, decision: AccessDecision) -> AccessDecision:
    for observer in _observers:
        observer(call.caller, call.action, call.resource, decision.allowed, decision.reason)
    return decision


def role_decision(role_arn: str, action: str, resource: str, keys: Mapping[str, Any]) -> AccessDecision:
    """Decide whether an AWS service may make a call with a role, e.g. whether Lambda may read a function's queue."""
    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    policy, owner = resource_policy(resource)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    call = Call(Caller.of(role_arn), action, resource, keys)
    is_key = action.startswith("kms:")
    policies = ApplicablePolicies(
        identity=policies_of(iam_evaluator._gather_role_policies(name, account)),
        boundary=merged(limits[0]) if limits else None,
        resource=policy,
        owner=owner,
        resource_decides=is_key,
        granted=is_key and granted(call),
    )
    return _reported(call, decide(call, policies))


def service_decision(
    service: str, action: str, resource: str, source: str, keys: Mapping[str, Any] | None = None
) -> AccessDecision:
    """Decide by the policy of a resource whether an AWS service may make a call without a role.

    Args:
        service: The name of the service, e.g. `sns.amazonaws.com`.
        action: The action of IAM.
        resource: The ARN of the resource.
        source: The ARN of the resource that causes the call, e.g. of an SNS topic.
        keys: The condition keys besides `aws:SourceArn`, `aws:SourceAccount` and `aws:SecureTransport`.
    """
    policy, _ = resource_policy(resource)
    known = {"aws:SourceArn": source, "aws:SourceAccount": get_account_id(), "aws:SecureTransport": "true"}
    call = Call(Caller.of(service), action, resource, {**known, **(keys or {})})
    return _reported(call, decide(call, ApplicablePolicies(resource=policy)))


def _call_of(context: Any, caller: Caller | None = None) -> Call:
    """Return the call that ministack's context describes."""
    known = {**context.principal_keys, **context.service_context}
    tags = {f"aws:RequestTag/{name}": value for name, value in context.request_tags.items()}
    keys = {
        "aws:RequestedRegion": context.region,
        "aws:SourceIp": context.source_ip,
        "aws:SecureTransport": str(context.secure_transport).lower(),
        "aws:ResourceAccount": iam_evaluator._account_from_arn(context.resource_arn) or context.principal_account,
        **({"aws:TagKeys": list(context.tag_keys)} if context.tag_keys else {}),
        **tags,
        **known,
    }
    return Call(caller or caller_of(context.principal_arn), context.action, context.resource_arn, keys)


def _result(decision: AccessDecision, context: Any) -> Any:
    word = "Allow" if decision.allowed else "Deny" if decision.explicit else "ImplicitDeny"
    return iam_evaluator.EvalResult(word, context.principal_arn, "", decision.reason)


def _decisions() -> None:
    """Replace the functions of ministack that decide by policies."""

    def make_evaluate(_: Handler) -> Handler:
        def evaluate(context: Any, policies: Any, *limits: Any) -> Any:
            # ministack does not pass the policies to combine_resource_policy, which decides again with the policy of
            # the resource.
            context.applicable = (policies, limits)
            call = _call_of(context)
            layers = [merged(layer) for layer in limits]
            identity = policies_of(policies)
            for layer in layers[1:]:
                if not (decision := decide(call, ApplicablePolicies([layer]))).allowed:
                    return _result(decision, context)
            return _result(decide(call, ApplicablePolicies(identity, layers[0] if layers else None)), context)

        return evaluate

    def make_combine(_: Handler) -> Handler:
        def combine(
            identity: Any, context: Any, policy: Any, owner: str | None, required: bool = False, **_: Any
        ) -> Any:
            if getattr(context, "applicable", None) is None:
                return identity
            policies, layers = context.applicable
            call = _call_of(context)
            # ministack passes the permissions boundary and the session policies in one list, the boundary first, and
            # does not say which policy is the boundary.
            boundary, session = _split(call.caller, layers)
            resource = parsed(policy) if policy else None
            decision = decide(
                call,
                ApplicablePolicies(
                    identity=policies_of(policies),
                    boundary=boundary,
                    session=session,
                    resource=resource,
                    owner=owner or "",
                    resource_decides=required,
                    granted=required and granted(call),
                ),
            )
            result = _result(decision, context)
            if decision.explicit and identity.decision != "Deny":
                result.resource_policy_arn = context.resource_arn
            return result

        return combine

    def make_resource(_: Handler) -> Handler:
        def evaluate(document: Any, context: Any, service: str | None = None, **_options: Any) -> Any:
            caller = Caller.of(service) if service else _principal(context)
            call = _call_of(context, caller)
            if service:
                # AWS services call each other over TLS.
                call = Call(caller, call.action, call.resource, {**call.keys, "aws:SecureTransport": "true"})
            policies = ApplicablePolicies(
                [_EVERYTHING], resource=parsed(document) if document else None, resource_decides=True
            )
            return _result(decide(call, policies), context)

        return evaluate

    def make_trust(_: Handler) -> Handler:
        def allows(document: Any, caller_arn: str, context: Any = None) -> bool:
            context = context or iam_evaluator.EvalContext(
                principal_arn=caller_arn,
                principal_type="",
                principal_account=iam_evaluator._account_from_arn(caller_arn) or "",
                action="sts:AssumeRole",
                resource_arn="*",
                region="",
            )
            federated = context.action in ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML")
            account = context.principal_account
            caller = Caller(CallerKind.FEDERATED, caller_arn, account) if federated else caller_of(caller_arn)
            policies = ApplicablePolicies([_EVERYTHING], resource=parsed(document), resource_decides=True)
            return decide(_call_of(context, caller), policies).allowed

        return allows

    wrap(iam_evaluator, "evaluate", make_evaluate)
    wrap(iam_evaluator, "combine_resource_policy", make_combine)
    wrap(iam_evaluator, "evaluate_resource_policy", make_resource)
    wrap(iam_evaluator, "evaluate_trust_policy", make_trust)


def _principal(context: Any) -> Caller:
    if context.principal_arn.startswith("arn:"):
        return caller_of(context.principal_arn)
    return Caller(CallerKind.ANONYMOUS, "*")


def _split(caller: Caller, layers: Sequence[Any]) -> tuple[Policy | None, list[Policy] | None]:
    store, name = iam._users, caller.arn.rsplit("/", 1)[-1]
    if caller.kind is CallerKind.ROLE:
        store, name = iam._roles, caller.role_arn.rsplit("/", 1)[-1]
    entity = store.get_scoped(caller.account, None, name) or {}
    has_boundary = bool(entity.get("PermissionsBoundary")) and bool(layers)
    sessions = layers[1:] if has_boundary else layers
    boundary = merged(layers[0]) if has_boundary else None
    return boundary, policies_of(sessions[0]) if sessions else None


def _names() -> None:
    """Correct the actions and resources that ministack finds for a call."""

    def make_action(original: Handler) -> Handler:
        def action(service: str, method: str, path: str, headers: Any, body: bytes, query: Any) -> str | None:
            name = original(service, method, path, headers, body, query)
            if service == "lambda":
                # ministack finds no action for calls on event source mappings, and a wrong action for calls on the
                # concurrency of a function.
                operation = iam_actions._match_rest_action(service, method, path, query)
                name = f"lambda:{operation}" if operation else name
            return iam_action(name) if name else None

        return action

    def make_resource(original: Handler) -> Handler:
        def resource(
            service: str, method: str, path: str, headers: Any, body: bytes, query: Any, region: str, account: str
        ) -> str:
            known = original(service, method, path, headers, body, query, region, account)
            call = SignedCall(service, path, parameters_of(body, query), region, account)
            _call.set(call)
            action = iam_actions.extract_iam_action(service, method, path, headers, body, query) or ""
            name = iam_resource(action, call, known, key_arn)
            if action.startswith("iam:") and ":role/" in name and (role := iam._roles.get(name.rsplit("/", 1)[-1])):
                return str(role["Arn"])
            return name

        return resource

    iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]
    wrap(iam_actions, "extract_iam_action", make_action)
    wrap(iam_actions, "extract_resource_arn", make_resource)


def _further_checks() -> None:
    """Check what AWS checks beside the action of an allowed call, and add condition keys to each call.

    `further_checks` lists these checks: iam:PassRole, the use of KMS keys, and the tags of a new table.
    """

    def make(original: Handler) -> Handler:
        def enforce(
            access_key: str,
            action: str,
            service: str,
            region: str,
            resource_arn: str = "*",
            service_context: Any = None,
        ) -> Any:
            call = _call.get() or SignedCall(service, region=region, account=get_account_id())
            context = {**condition_keys(action, call), **(service_context or {})}
            denied = original(access_key, action, service, region, resource_arn, context)
            if denied:
                return denied
            for check in further_checks(action, resource_arn, call, customer_key):
                # Call the wrapped function instead of `original`, so that the log of calls contains this check too.
                denied = iam_evaluator.enforce(
                    access_key, check.action, check.action.partition(":")[0], region, check.resource, dict(check.keys)
                )
                if isinstance(denied, iam_evaluator.EvalResult):
                    return iam_evaluator.AuthError("AccessDenied", denial_message(denied, check.action, check.resource))
                if denied:
                    return denied
            return None

        return enforce

    wrap(iam_evaluator, "enforce", make)


def denial_message(denied: Any, action: str, resource: str) -> str:
    """Return the error message of AWS for an action that IAM refuses."""
    return str(iam_actions.identity_denial_message(action, denied.principal_arn, resource, denied.decision == "Deny"))


CORRECTIONS = (
    ministack_correction(
        "iam-decision",
        "IAM supports no policy variables and no grants of KMS keys, lets a wildcard match colons of an ARN, and uses "
        "the ARN of a session as aws:PrincipalArn",
        _decisions,
    ),
    ministack_correction(
        "iam-names",
        "For batch calls, event source mappings, log groups, tasks, health checks and KMS aliases, IAM checks other "
        "names of actions or resources than AWS",
        _names,
    ),
    ministack_correction(
        "iam-further-checks",
        "IAM checks neither iam:PassRole nor the permissions to use the KMS key of an encrypted resource and to tag a "
        "new table",
        _further_checks,
    ),
)
"""Corrections that work only with ministack's setting AUTH=true, which only the stage sets."""
