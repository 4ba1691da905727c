"""Decides without AWS, by the rules that AWS documents, whether IAM policies allow a call.

AWS documents the order of the rules:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

This module ignores service control policies, resource control policies, VPC endpoint policies and access control
lists, because the stacks do not use them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

from mjctl.sandbox.policy_conditions import (
    Keys,
    PolicyError,
    UnresolvedVariableError,
    conditions_met,
    matches,
    matches_arn,
    values_of,
)

_ACCOUNT = re.compile(r"(?:arn:aws[a-z-]*:iam::)?(\d{12})(?::root)?")
# Only a policy of version 2012-10-17 has policy variables. AWS treats a policy without a version as version 2008-10-17.
_VERSION_WITH_VARIABLES = "2012-10-17"


class CallerKind(StrEnum):
    """Lists the kinds of callers.

    The value of a kind is a value of the condition key aws:PrincipalType, if AWS has a value.
    """

    ROOT = "Account"
    USER = "User"
    ROLE = "AssumedRole"
    FEDERATED = "FederatedUser"
    SERVICE = "Service"
    ANONYMOUS = "Anonymous"


@dataclass(frozen=True)
class Caller:
    """Identifies the user, role, service or other principal that calls AWS.

    Attributes:
        kind: The kind of the caller.
        arn: The ARN of the account's root user, of a user, of a role's session or of an identity provider. For an AWS
            service, its name, e.g. `sns.amazonaws.com`.
        account: The caller's account, or an empty text for a service.
        role_arn: The ARN of the role of a role's session, or an empty text for other callers.
    """

    kind: CallerKind
    arn: str
    account: str = ""
    role_arn: str = ""

    @staticmethod
    def of(arn: str, *, role_arn: str = "") -> Caller:
        """Return the caller that an ARN, e.g. of an answer of GetCallerIdentity, or the name of an AWS service names.

        Args:
            arn: The ARN of the caller or the name of the service.
            role_arn: The ARN of a session's role. `role_arn` is necessary if the role has a path, because the ARN of
                the session does not contain the path.
        """
        if not arn.startswith("arn:"):
            return Caller(CallerKind.SERVICE, arn)
        partition, service, _, account, resource = arn.split(":", 5)[1:]
        if service == "sts" and resource.startswith("assumed-role/"):
            role = role_arn or f"arn:{partition}:iam::{account}:role/{resource.split('/')[1]}"
            return Caller(CallerKind.ROLE, arn, account, role)
        if resource == "root":
            return Caller(CallerKind.ROOT, arn, account)
        kinds = {"user": CallerKind.USER, "role": CallerKind.ROLE}
        kind = kinds.get(resource.split("/")[0], CallerKind.FEDERATED)
        return Caller(kind, arn, account, arn if kind is CallerKind.ROLE else "")

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """Return the condition keys that describe the caller.

        For a session, the value of aws:PrincipalArn is the ARN of the session's role:
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
        """
        if self.kind is CallerKind.SERVICE:
            return {"aws:principalisawsservice": ("true",), "aws:principalservicename": (self.arn,)}
        keys: dict[str, tuple[str, ...]] = {
            "aws:principalisawsservice": ("false",),
            "aws:principaltype": (self.kind.value,),
        }
        if self.kind is CallerKind.USER:
            keys["aws:username"] = (self.arn.rsplit("/", 1)[-1],)
        if self.account:
            keys |= {"aws:principalarn": (self.role_arn or self.arn,), "aws:principalaccount": (self.account,)}
        return keys


class _Naming(IntEnum):
    """Says how a statement of a resource-based policy names a caller.

    A higher value of `_Naming` gives the caller more rights.
    """

    NOT = 0
    ACCOUNT = 1
    """Names the account of the caller, so that the caller also needs an identity-based policy."""
    GRANTED = 2
    """Names the role or all principals. A permissions boundary and session policies can still refuse the call."""
    DIRECT = 3
    """Names the user, the session, the service or the identity provider. No other policy must allow the call."""


@dataclass(frozen=True)
class Statement:
    """Holds a statement of a policy. The field of an element that the statement does not have is None."""

    sid: str
    allows: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: Any
    not_principals: Any
    conditions: Mapping[str, Any]
    variables: bool

    def applies(self, action: str, resource: str, keys: Keys) -> bool:
        """Return whether action, resource and conditions of the statement match a call.

        `applies` ignores the principals.
        """
        try:
            return (
                self._has_action(action)
                and self._has_resource(resource, keys if self.variables else None)
                and conditions_met(self.conditions, keys, variables=self.variables)
            )
        except UnresolvedVariableError:
            return False

    def _has_action(self, action: str) -> bool:
        patterns = self.actions if self.actions is not None else self.not_actions or ()
        return any(matches(p, action, ignore_case=True) for p in patterns) == (self.actions is not None)

    def _has_resource(self, resource: str, keys: Keys | None) -> bool:
        # A trust policy has no element Resource, because its resource is always its role.
        if self.resources is None and self.not_resources is None:
            return True
        patterns = self.resources if self.resources is not None else self.not_resources or ()
        return any(matches_arn(p, resource, keys) for p in patterns) == (self.resources is not None)


@dataclass(frozen=True)
class Policy:
    """Holds a parsed policy.

    Attributes:
        name: The name of the policy, which the reasons of decisions contain.
        statements: The statements, in the order of the policy's document.
    """

    name: str
    statements: tuple[Statement, ...]

    @staticmethod
    def parse(document: str | Mapping[str, Any], name: str = "") -> Policy:
        """Parse the JSON document of a policy.

        Raises:
            PolicyError: the document is not a valid policy.
        """
        try:
            content = json.loads(document) if isinstance(document, str) else document
            listed = content["Statement"]
            variables = content.get("Version") == _VERSION_WITH_VARIABLES
            statements = listed if isinstance(listed, list) else [listed]
            return Policy(name, tuple(_statement(s, variables) for s in statements))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise PolicyError(f"{name or 'the document'} is no policy: {type(error).__name__} {error}") from error


def _statement(content: Mapping[str, Any], variables: bool) -> Statement:
    if content["Effect"] not in ("Allow", "Deny"):
        raise PolicyError(f"Effect is {content['Effect']}, and must be Allow or Deny")
    for element in ("Action", "Resource", "Principal"):
        if element in content and f"Not{element}" in content:
            raise PolicyError(f"a statement has both {element} and Not{element}")
    if "Action" not in content and "NotAction" not in content:
        raise PolicyError("a statement has neither Action nor NotAction")

    def texts(name: str) -> tuple[str, ...] | None:
        return values_of(content[name]) if name in content else None

    return Statement(
        sid=content.get("Sid", ""),
        allows=content["Effect"] == "Allow",
        actions=texts("Action"),
        not_actions=texts("NotAction"),
        resources=texts("Resource"),
        not_resources=texts("NotResource"),
        principals=content.get("Principal"),
        not_principals=content.get("NotPrincipal"),
        conditions=content.get("Condition") or {},
        variables=variables,
    )


@dataclass(frozen=True)
class ApplicablePolicies:
    """Holds the policies that apply to a call.

    Attributes:
        identity: The policies of the user, of its groups or of the role.
        boundary: The permissions boundary of the user or of the role, or None.
        session: The session policies, or None if the caller has no session policies.
        resource: The resource-based policy of the resource, e.g. the policy of a queue or of a key, or the trust policy
            of a role. None if the resource has no policy.
        owner: The account that owns the resource, or an empty text if the caller's account owns it.
        resource_decides: True if the resource-based policy must allow the call even if the caller is in the owner's
            account. A KMS key and a role have such resource-based policies.
        granted: True if a grant of a KMS key allows the call.
    """

    identity: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Sequence[Policy] | None = None
    resource: Policy | None = None
    owner: str = ""
    resource_decides: bool = False
    granted: bool = False


@dataclass(frozen=True)
class Call:
    """Describes a call of AWS.

    Attributes:
        caller: The caller.
        action: The action in IAM, e.g. `sqs:SendMessage`.
        resource: The ARN of the resource, or `*` for an action without a resource.
        keys: The condition keys of the request, by name.
    """

    caller: Caller
    action: str
    resource: str = "*"
    keys: Mapping[str, Any] = field(default_factory=dict)

    def all_keys(self) -> Keys:
        """Return the condition keys of the request, of the caller and of the current time, with names in lower case."""
        now = datetime.now(UTC)
        own = {name.lower(): values_of(value) for name, value in self.keys.items()}
        time = {"aws:currenttime": (now.isoformat(),), "aws:epochtime": (str(int(now.timestamp())),)}
        return {name: values for name, values in {**time, **self.caller.keys, **own}.items() if values}


@dataclass(frozen=True)
class AccessDecision:
    """Holds the decision of IAM on a call.

    Attributes:
        allowed: Whether AWS allows the call.
        explicit: True if a statement with the effect Deny refused the call.
        reason: The reason for the decision in words. The reason names the policy that decided.
    """

    allowed: bool
    explicit: bool
    reason: str


def decide(call: Call, policies: ApplicablePolicies) -> AccessDecision:
    """Decide whether AWS allows a call.

    Raises:
        PolicyError: a condition has an unknown operator.
    """
    return _Evaluation(call, policies).decision()


class _Evaluation:
    def __init__(self, call: Call, policies: ApplicablePolicies) -> None:
        self._call, self._policies = call, policies
        self._keys = call.all_keys()
        self._same_account = policies.owner in ("", call.caller.account)

    def decision(self) -> AccessDecision:
        if denial := self._denial():
            return denial
        naming = self._naming()
        caller = self._call.caller
        if caller.kind in (CallerKind.SERVICE, CallerKind.FEDERATED, CallerKind.ANONYMOUS):
            return self._result(naming > _Naming.ACCOUNT, "the policy of the resource")
        if self._same_account:
            if naming is _Naming.DIRECT:
                return self._result(True, "the policy of the resource, which names the caller")
            if naming is _Naming.GRANTED and self._is_within_limits():
                return self._result(True, "the policy of the resource")
        return self._by_identity(naming)

    def _by_identity(self, naming: _Naming) -> AccessDecision:
        policies = self._policies
        root = self._call.caller.kind is CallerKind.ROOT
        if not root and not self._allowing(policies.identity):
            granted = policies.granted and self._same_account and self._is_within_limits()
            return self._result(granted, "a grant of the key" if granted else "a policy of the caller")
        if policies.boundary is not None and not root and not self._allowing([policies.boundary]):
            return self._result(False, "the permissions boundary")
        if policies.session is not None and not self._allowing(policies.session):
            return self._result(False, "the session policies")
        needed = policies.resource_decides or not self._same_account
        if needed and naming is _Naming.NOT and not policies.granted:
            return self._result(False, "the policy of the resource")
        return self._result(True, "a policy of the caller")

    def _denial(self) -> AccessDecision | None:
        policies = self._policies
        layers = (*policies.identity, *([policies.boundary] if policies.boundary else []), *(policies.session or ()))
        for policy in layers:
            for statement in self._effective(policy):
                if not statement.allows:
                    return AccessDecision(False, True, f"{policy.name or 'a policy'} denies it{_sid(statement)}")
        for statement in self._effective(policies.resource) if policies.resource else ():
            if not statement.allows and self._is_named_by(statement) is not _Naming.NOT:
                return AccessDecision(False, True, f"the policy of the resource denies it{_sid(statement)}")
        return None

    def _naming(self) -> _Naming:
        resource = self._policies.resource
        if resource is None:
            return _Naming.NOT
        return max((self._is_named_by(s) for s in self._effective(resource) if s.allows), default=_Naming.NOT)

    def _is_named_by(self, statement: Statement) -> _Naming:
        caller = self._call.caller
        if statement.not_principals is not None:
            # NotPrincipal exempts a session only if the list contains the session, its role and its account:
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
            listed = {name for _, names in _principals(statement.not_principals) for name in names}
            needed = {caller.arn, caller.role_arn, *([caller.account] if caller.account else [])} - {""}
            accounts = {match[1] for name in listed if (match := _ACCOUNT.fullmatch(name))}
            return _Naming.NOT if needed <= listed | accounts else _Naming.GRANTED
        names = ((kind, name) for kind, listed in _principals(statement.principals) for name in listed)
        return max((self._named(kind, name) for kind, name in names), default=_Naming.NOT)

    def _named(self, kind: str, name: str) -> _Naming:
        caller = self._call.caller
        if name == "*" and kind in ("*", "AWS"):
            return _Naming.GRANTED
        if kind in ("Service", "Federated"):
            kinds = {"Service": CallerKind.SERVICE, "Federated": CallerKind.FEDERATED}
            return _Naming.DIRECT if caller.kind is kinds[kind] and name == caller.arn else _Naming.NOT
        if kind != "AWS" or not caller.account:
            return _Naming.NOT
        account = _ACCOUNT.fullmatch(name)
        if account is not None:
            return _Naming.ACCOUNT if account[1] == caller.account else _Naming.NOT
        if name == caller.role_arn:
            return _Naming.GRANTED
        return _Naming.DIRECT if name == caller.arn else _Naming.NOT

    def _is_within_limits(self) -> bool:
        policies = self._policies
        return (policies.boundary is None or self._allowing([policies.boundary])) and (
            policies.session is None or self._allowing(policies.session)
        )

    def _allowing(self, policies: Sequence[Policy]) -> bool:
        return any(statement.allows for policy in policies for statement in self._effective(policy))

    def _effective(self, policy: Policy) -> Iterator[Statement]:
        for statement in policy.statements:
            if statement.applies(self._call.action, self._call.resource, self._keys):
                yield statement

    def _result(self, allowed: bool, policy: str) -> AccessDecision:
        return AccessDecision(allowed, False, f"{policy} allows it" if allowed else f"{policy} does not allow it")


def _principals(element: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(element, str):
        yield "*" if element == "*" else "AWS", (element,)
    elif element is not None:
        for kind, names in element.items():
            yield kind, values_of(names)


def _sid(statement: Statement) -> str:
    return f" by the statement {statement.sid}" if statement.sid else ""
