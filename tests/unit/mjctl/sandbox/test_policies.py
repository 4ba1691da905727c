"""Tests the evaluation of IAM policies. Each test checks a rule from AWS's documents about this evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.sandbox.policies import ApplicablePolicies, Call, Caller, CallerKind, Policy, decide
from mjctl.sandbox.policy_conditions import PolicyError

ACCOUNT, OTHER = "123456789012", "210987654321"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:events"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/game"
SESSION = Caller.of(f"arn:aws:sts::{ACCOUNT}:assumed-role/game/task")
USER = Caller.of(f"arn:aws:iam::{ACCOUNT}:user/ops/jane")
ROOT = Caller.of(f"arn:aws:iam::{ACCOUNT}:root")
STRANGER = Caller.of(f"arn:aws:sts::{OTHER}:assumed-role/game/task")
SNS = Caller.of("sns.amazonaws.com")
ANONYMOUS = Caller(CallerKind.ANONYMOUS, "*")

PAGE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
LOGIC = PAGE + "reference_policies_evaluation-logic_policy-eval-basics.html"
RESOURCE = PAGE + "reference_policies_evaluation-logic_policy-eval-denyallow.html"
BOUNDARY = PAGE + "access_policies_boundaries.html"
SESSIONS = PAGE + "access_policies.html#policies_session"
CROSS = PAGE + "reference_policies_evaluation-logic-cross-account.html"
PRINCIPAL = PAGE + "reference_policies_elements_principal.html"
NOT_ACTION = PAGE + "reference_policies_elements_notaction.html"
KMS = "https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html"
GRANTS = "https://docs.aws.amazon.com/kms/latest/developerguide/grants.html"
TRUST = PAGE + "id_roles_terms-and-concepts.html"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "sqs:SendMessage", "Resource": QUEUE, **elements}


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> Policy:
    return Policy.parse({"Version": version, "Statement": list(statements)}, "test")


def named(principal: Any, effect: str = "Allow", **elements: Any) -> Policy:
    return policy(statement(effect, Principal=principal, **elements))


ALLOW, DENY = policy(statement()), policy(statement("Deny"))
NOTHING = policy(statement(Action="sqs:ListQueues"))
DELEGATED = named({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})

CASES: list[tuple[str, str, Caller, ApplicablePolicies, bool]] = [
    (LOGIC, "no policy is a denial", SESSION, ApplicablePolicies(), False),
    (LOGIC, "an allow is enough", SESSION, ApplicablePolicies([ALLOW]), True),
    (LOGIC, "a deny wins over an allow", SESSION, ApplicablePolicies([ALLOW, DENY]), False),
    (LOGIC, "the root user needs no policy", ROOT, ApplicablePolicies(), True),
    (
        LOGIC,
        "a policy of the resource denies the root user",
        ROOT,
        ApplicablePolicies(resource=named("*", "Deny")),
        False,
    ),
    (
        RESOURCE,
        "the policy of the resource names the role",
        SESSION,
        ApplicablePolicies(resource=named({"AWS": ROLE})),
        True,
    ),
    (
        RESOURCE,
        "the policy of the resource names the session",
        SESSION,
        ApplicablePolicies(boundary=NOTHING, resource=named({"AWS": SESSION.arn})),
        True,
    ),
    (
        RESOURCE,
        "the boundary limits a role that the resource names",
        SESSION,
        ApplicablePolicies(boundary=NOTHING, resource=named({"AWS": ROLE})),
        False,
    ),
    (
        RESOURCE,
        "the boundary does not limit a user that the resource names",
        USER,
        ApplicablePolicies(boundary=NOTHING, resource=named({"AWS": USER.arn})),
        True,
    ),
    (
        RESOURCE,
        "the session policy limits a role that the resource names",
        SESSION,
        ApplicablePolicies(session=[NOTHING], resource=named({"AWS": ROLE})),
        False,
    ),
    (RESOURCE, "the account alone gives nothing", SESSION, ApplicablePolicies(resource=DELEGATED), False),
    (RESOURCE, "another role is named", SESSION, ApplicablePolicies(resource=named({"AWS": ROLE + "2"})), False),
    (RESOURCE, "a deny of the resource wins", SESSION, ApplicablePolicies([ALLOW], resource=named("*", "Deny")), False),
    (BOUNDARY, "the boundary gives nothing", SESSION, ApplicablePolicies(boundary=ALLOW), False),
    (BOUNDARY, "the boundary and the policy allow", SESSION, ApplicablePolicies([ALLOW], boundary=ALLOW), True),
    (BOUNDARY, "the boundary does not allow", SESSION, ApplicablePolicies([ALLOW], boundary=NOTHING), False),
    (BOUNDARY, "the boundary denies", SESSION, ApplicablePolicies([ALLOW], boundary=DENY), False),
    (SESSIONS, "the session policy does not allow", SESSION, ApplicablePolicies([ALLOW], session=[NOTHING]), False),
    (SESSIONS, "the session policy gives nothing", SESSION, ApplicablePolicies(session=[ALLOW]), False),
    (
        SESSIONS,
        "one of the session policies allows",
        SESSION,
        ApplicablePolicies([ALLOW], session=[NOTHING, ALLOW]),
        True,
    ),
    (CROSS, "a stranger needs both policies", STRANGER, ApplicablePolicies([ALLOW], owner=ACCOUNT), False),
    (
        CROSS,
        "the policy of the resource is not enough",
        STRANGER,
        ApplicablePolicies(owner=ACCOUNT, resource=named({"AWS": OTHER})),
        False,
    ),
    (
        CROSS,
        "both policies allow",
        STRANGER,
        ApplicablePolicies([ALLOW], owner=ACCOUNT, resource=named({"AWS": OTHER})),
        True,
    ),
    (PRINCIPAL, "a service is named", SNS, ApplicablePolicies(resource=named({"Service": "sns.amazonaws.com"})), True),
    (
        PRINCIPAL,
        "another service is named",
        SNS,
        ApplicablePolicies(resource=named({"Service": "s3.amazonaws.com"})),
        False,
    ),
    (PRINCIPAL, "a service has no identity policy", SNS, ApplicablePolicies([ALLOW]), False),
    (PRINCIPAL, "everybody includes services", SNS, ApplicablePolicies(resource=named("*")), True),
    (
        PRINCIPAL,
        "everybody includes anonymous callers",
        ANONYMOUS,
        ApplicablePolicies(resource=named({"AWS": "*"})),
        True,
    ),
    (
        PRINCIPAL,
        "an account id is the account",
        SESSION,
        ApplicablePolicies([ALLOW], resource=named({"AWS": ACCOUNT})),
        True,
    ),
    (
        PRINCIPAL,
        "a service is no role",
        SESSION,
        ApplicablePolicies(resource=named({"Service": "sns.amazonaws.com"})),
        False,
    ),
    (
        PRINCIPAL,
        "a principal has no wildcard in its name",
        SESSION,
        ApplicablePolicies(resource=named({"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"})),
        False,
    ),
    (
        KMS,
        "a key policy must allow",
        SESSION,
        ApplicablePolicies([ALLOW], resource=NOTHING, resource_decides=True),
        False,
    ),
    (
        KMS,
        "a key policy must allow the root user too",
        ROOT,
        ApplicablePolicies(resource=NOTHING, resource_decides=True),
        False,
    ),
    (
        KMS,
        "a key policy lets the account decide",
        SESSION,
        ApplicablePolicies([ALLOW], resource=DELEGATED, resource_decides=True),
        True,
    ),
    (KMS, "the account has not decided", SESSION, ApplicablePolicies(resource=DELEGATED, resource_decides=True), False),
    (
        KMS,
        "a key policy names the role",
        SESSION,
        ApplicablePolicies(resource=named({"AWS": ROLE}), resource_decides=True),
        True,
    ),
    (
        GRANTS,
        "a grant is enough",
        SESSION,
        ApplicablePolicies(resource=DELEGATED, resource_decides=True, granted=True),
        True,
    ),
    (
        GRANTS,
        "a deny wins over a grant",
        SESSION,
        ApplicablePolicies([DENY], resource=DELEGATED, resource_decides=True, granted=True),
        False,
    ),
    (
        NOT_ACTION,
        "NotAction allows the other actions",
        SESSION,
        ApplicablePolicies([policy({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})]),
        True,
    ),
    (
        NOT_ACTION,
        "NotAction leaves out the action",
        SESSION,
        ApplicablePolicies([policy({"Effect": "Allow", "NotAction": "SQS:*", "Resource": "*"})]),
        False,
    ),
    (
        NOT_ACTION,
        "NotResource leaves out the resource",
        SESSION,
        ApplicablePolicies([policy({"Effect": "Allow", "Action": "*", "NotResource": QUEUE})]),
        False,
    ),
    (
        NOT_ACTION,
        "actions ignore case and have wildcards",
        SESSION,
        ApplicablePolicies([policy(statement(Action="SQS:sendm*"))]),
        True,
    ),
]


@pytest.mark.parametrize(("source", "rule", "caller", "policies", "allowed"), CASES, ids=[case[1] for case in CASES])
def test_aws_documents_the_decision(
    source: str, rule: str, caller: Caller, policies: ApplicablePolicies, allowed: bool
) -> None:
    decision = decide(Call(caller, "sqs:SendMessage", QUEUE), policies)
    assert decision.allowed is allowed, f"{rule} ({source}): {decision.reason}"


def test_a_statement_with_an_unknown_variable_has_no_effect() -> None:
    own = policy(statement(Resource="arn:aws:sqs:*:*:${aws:username}"))
    assert not decide(Call(SESSION, "sqs:SendMessage", QUEUE), ApplicablePolicies([own])).allowed
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:jane"
    assert decide(Call(USER, "sqs:SendMessage", queue), ApplicablePolicies([own])).allowed


def test_a_policy_of_2008_has_no_variables() -> None:
    own = policy(statement(Resource="arn:aws:sqs:*:*:${aws:username}"), version="2008-10-17")
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:jane"
    assert not decide(Call(USER, "sqs:SendMessage", queue), ApplicablePolicies([own])).allowed


def test_a_session_has_the_arn_of_its_role_as_principal_arn() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    own = policy(statement(Condition={"ArnEquals": {"aws:PrincipalArn": ROLE}}))
    assert decide(Call(SESSION, "sqs:SendMessage", QUEUE), ApplicablePolicies([own])).allowed


TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:events"


@pytest.mark.parametrize(
    ("keys", "allowed"), [({"aws:SourceArn": TOPIC}, True), ({"aws:SourceArn": TOPIC + "2"}, False), ({}, False)]
)
def test_the_policy_of_a_queue_admits_one_topic(keys: dict[str, str], allowed: bool) -> None:
    # https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html
    queue = named({"Service": "sns.amazonaws.com"}, Condition={"ArnEquals": {"aws:SourceArn": TOPIC}})
    assert decide(Call(SNS, "sqs:SendMessage", QUEUE, keys), ApplicablePolicies(resource=queue)).allowed is allowed


@pytest.mark.parametrize(("secure", "allowed"), [("true", True), ("false", False)])
def test_a_deny_of_clear_text_counts_for_the_owner_too(secure: str, allowed: bool) -> None:
    clear = named("*", "Deny", Action="sqs:*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    call = Call(ROOT, "sqs:SendMessage", QUEUE, {"aws:SecureTransport": secure})
    assert decide(call, ApplicablePolicies(resource=clear)).allowed is allowed


PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
SUBJECT = "token.actions.githubusercontent.com:sub"


@pytest.mark.parametrize(
    ("subject", "allowed"), [("repo:studio/game:environment:prod", True), ("repo:studio/fork:environment:prod", False)]
)
def test_a_trust_policy_admits_the_tokens_of_one_repository(subject: str, allowed: bool) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
    trust = policy(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": PROVIDER},
            "Condition": {"StringEquals": {SUBJECT: "repo:studio/game:environment:prod"}},
        }
    )
    caller = Caller(CallerKind.FEDERATED, PROVIDER, ACCOUNT)
    call = Call(caller, "sts:AssumeRoleWithWebIdentity", ROLE, {SUBJECT: subject})
    assert decide(call, ApplicablePolicies(resource=trust, resource_decides=True)).allowed is allowed


@pytest.mark.parametrize(
    ("caller", "identity", "allowed"),
    [
        (Caller.of("ecs-tasks.amazonaws.com"), [], True),
        (Caller.of("lambda.amazonaws.com"), [], False),
        (USER, [policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})], False),
    ],
    ids=["the service", "another service", "a user"],
)
def test_a_trust_policy_decides_who_assumes_a_role(caller: Caller, identity: list[Policy], allowed: bool) -> None:
    trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}})
    call = Call(caller, "sts:AssumeRole", ROLE)
    assert decide(call, ApplicablePolicies(identity, resource=trust, resource_decides=True)).allowed is allowed


@pytest.mark.parametrize(
    ("exempted", "allowed"),
    [
        ({"AWS": [ACCOUNT, ROLE, SESSION.arn]}, True),
        ({"AWS": [ROLE]}, False),
    ],
    ids=["account, role and session", "role only"],
)
def test_not_principal_must_list_the_account_the_role_and_the_session(exempted: Any, allowed: bool) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
    others = policy(statement("Deny", NotPrincipal=exempted))
    decision = decide(Call(SESSION, "sqs:SendMessage", QUEUE), ApplicablePolicies([ALLOW], resource=others))
    assert decision.allowed is allowed


@pytest.mark.parametrize(
    "document",
    [
        "no JSON",
        {"Version": "2012-10-17"},
        {"Statement": [{"Effect": "Maybe", "Action": "*", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}]},
    ],
)
def test_a_document_that_is_no_policy_is_an_error(document: Any) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(document, "broken")
