"""Tests the conditions of IAM policies. Each case is a sentence or an example from AWS's documents."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.sandbox.policy_conditions import PolicyError, conditions_met, matches, matches_arn

# The page https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
OPERATORS = "condition_operators"
# The page
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
SETS = "single-vs-multi-valued-context-keys"
# The page
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
LOGIC = "condition-logic-multiple-context-keys-or-values"

TAGS = {"aws:tagkeys": ("environment", "CostCenter")}

CASES: list[tuple[str, str, dict[str, Any], dict[str, tuple[str, ...]], bool]] = [
    (OPERATORS, "equal text", {"StringEquals": {"aws:username": "john"}}, {"aws:username": ("john",)}, True),
    (OPERATORS, "case counts", {"StringEquals": {"aws:username": "john"}}, {"aws:username": ("John",)}, False),
    (OPERATORS, "key in any case", {"StringEquals": {"AWS:UserName": "john"}}, {"aws:username": ("john",)}, True),
    (OPERATORS, "ignored case", {"StringEqualsIgnoreCase": {"k": "john"}}, {"k": ("John",)}, True),
    (OPERATORS, "one of several values", {"StringEquals": {"k": ["a", "b"]}}, {"k": ("b",)}, True),
    (
        LOGIC,
        "negated operators need that no value matches",
        {"StringNotEquals": {"k": ["a", "b"]}},
        {"k": ("b",)},
        False,
    ),
    (LOGIC, "all operators must be met", {"StringEquals": {"k": "a"}, "Bool": {"b": "true"}}, {"k": ("a",)}, False),
    (LOGIC, "all keys must be met", {"StringEquals": {"k": "a", "l": "b"}}, {"k": ("a",), "l": ("c",)}, False),
    (OPERATORS, "a missing key does not match", {"StringEquals": {"k": "a"}}, {}, False),
    (OPERATORS, "a missing key meets a negated operator", {"StringNotLike": {"k": "a*"}}, {}, True),
    (OPERATORS, "a missing key meets IfExists", {"StringLikeIfExists": {"k": "t2.*"}}, {}, True),
    (OPERATORS, "an existing key must meet IfExists", {"StringLikeIfExists": {"k": "t2.*"}}, {"k": ("t3.a",)}, False),
    (OPERATORS, "Null true needs no key", {"Null": {"aws:TokenIssueTime": "true"}}, {}, True),
    (OPERATORS, "Null false needs the key", {"Null": {"k": "false"}}, {}, False),
    (OPERATORS, "Null false with the key", {"Null": {"k": False}}, {"k": ("a",)}, True),
    (
        OPERATORS,
        "StringLike has wildcards",
        {"StringLike": {"s3:prefix": "home/*"}},
        {"s3:prefix": ("home/a/b",)},
        True,
    ),
    (OPERATORS, "StringEquals has none", {"StringEquals": {"s3:prefix": "home/*"}}, {"s3:prefix": ("home/a",)}, False),
    (OPERATORS, "numbers", {"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": ("10",)}, True),
    (OPERATORS, "numbers, not texts", {"NumericLessThan": {"k": "10"}}, {"k": ("9",)}, True),
    (
        OPERATORS,
        "dates",
        {"DateGreaterThan": {"aws:TokenIssueTime": "2026-01-01T00:00:01Z"}},
        {"aws:tokenissuetime": ("2026-02-01T00:00:00Z",)},
        True,
    ),
    (OPERATORS, "dates in seconds", {"DateLessThan": {"k": "2026-01-01T00:00:00Z"}}, {"k": ("1700000000",)}, True),
    (OPERATORS, "a boolean of JSON", {"Bool": {"aws:SecureTransport": True}}, {"aws:securetransport": ("true",)}, True),
    (OPERATORS, "no MFA", {"Bool": {"aws:MultiFactorAuthPresent": "true"}}, {}, False),
    (
        OPERATORS,
        "address in a range",
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"aws:sourceip": ("203.0.113.7",)},
        True,
    ),
    (
        OPERATORS,
        "address outside",
        {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:DB8::/32"]}},
        {"aws:sourceip": ("203.0.113.7",)},
        False,
    ),
    (
        OPERATORS,
        "address of version 6",
        {"IpAddress": {"aws:SourceIp": "2001:DB8:1234::/48"}},
        {"aws:sourceip": ("2001:db8:1234::1",)},
        True,
    ),
    (
        OPERATORS,
        "ArnEquals has wildcards",
        {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:REGION:123456789012:*"}},
        {"aws:sourcearn": ("arn:aws:sns:REGION:123456789012:TOPIC",)},
        True,
    ),
    (
        OPERATORS,
        "a wildcard stays in its field",
        {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:TOPIC"}},
        {"aws:sourcearn": ("arn:aws:sns:us-east-1:123456789012:TOPIC",)},
        False,
    ),
    (
        OPERATORS,
        "ArnNotLike",
        {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/ops-*"}},
        {"aws:principalarn": ("arn:aws:iam::123456789012:role/ops-a",)},
        False,
    ),
    (
        SETS,
        "every tag is allowed",
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["environment", "CostCenter", "x"]}},
        TAGS,
        True,
    ),
    (SETS, "a tag is not allowed", {"ForAllValues:StringEquals": {"aws:TagKeys": ["environment"]}}, TAGS, False),
    (
        SETS,
        "ForAllValues is true without a key",
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["environment"]}},
        {},
        True,
    ),
    (SETS, "one tag is enough", {"ForAnyValue:StringEquals": {"aws:TagKeys": ["environment"]}}, TAGS, True),
    (
        SETS,
        "ForAnyValue is false without a key",
        {"ForAnyValue:StringEquals": {"aws:TagKeys": ["environment"]}},
        {},
        False,
    ),
    (
        SETS,
        "ForAnyValue with a negated operator",
        {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["environment"]}},
        TAGS,
        True,
    ),
    (SETS, "no tag may match", {"ForAllValues:StringNotEquals": {"aws:TagKeys": ["environment"]}}, TAGS, False),
]


@pytest.mark.parametrize(
    ("source", "rule", "conditions", "keys", "met"), CASES, ids=lambda c: c if isinstance(c, str) else ""
)
def test_a_condition_is_met_as_aws_documents(
    source: str, rule: str, conditions: dict[str, Any], keys: dict[str, tuple[str, ...]], met: bool
) -> None:
    assert conditions_met(conditions, keys) is met, f"{source}: {rule}"


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
VARIABLES = [
    ("home/${aws:username}/*", "home/john/a", {"aws:username": ("john",)}, True),
    ("home/${aws:username}/*", "home/jane/a", {"aws:username": ("john",)}, False),
    ("home/${aws:username}/*", "home/jane/a", {"aws:username": ("*",)}, False),
    ("${aws:PrincipalTag/team, 'company-wide'}/*", "company-wide/a", {}, True),
    ("${aws:PrincipalTag/team, 'company-wide'}/*", "blue/a", {"aws:principaltag/team": ("blue",)}, True),
    ("a${*}b", "a*b", {}, True),
    ("a${*}b", "axb", {}, False),
    ("a${$}{b", "a${b", {}, True),
]


@pytest.mark.parametrize(("pattern", "value", "keys", "matching"), VARIABLES)
def test_policy_variables_take_the_values_of_the_request(
    pattern: str, value: str, keys: dict[str, tuple[str, ...]], matching: bool
) -> None:
    assert matches(pattern, value, keys) is matching


def test_a_policy_without_variables_reads_a_variable_as_text() -> None:
    assert matches("${aws:username}", "${aws:username}", None)


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
ARNS = [
    ("*", "arn:aws:sqs:us-east-1:123456789012:orders", True),
    ("arn:aws:sqs:us-east-1:123456789012:*", "arn:aws:sqs:us-east-1:123456789012:orders", True),
    ("arn:aws:sqs", "arn:aws:sqs:us-east-1:123456789012:orders", True),
    ("arn:aws:sqs:*:*:ord?rs", "arn:aws:sqs:us-east-1:123456789012:orders", True),
    ("arn:aws:sqs:*:orders", "arn:aws:sqs:us-east-1:123456789012:orders", False),
    ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b", True),
    ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
    ("arn:aws:s3:::BUCKET", "arn:aws:s3:::bucket", False),
    (
        "arn:aws:logs:*:*:log-group:/game/*:*",
        "arn:aws:logs:us-east-1:123456789012:log-group:/game/a:log-stream:b",
        True,
    ),
    ("arn:aws:iam::123456789012:role/ops-*", "*", False),
]


@pytest.mark.parametrize(("pattern", "arn", "matching"), ARNS)
def test_an_arn_matches_field_by_field(pattern: str, arn: str, matching: bool) -> None:
    assert matches_arn(pattern, arn) is matching


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(PolicyError, match="StringSounds"):
        conditions_met({"StringSounds": {"k": "a"}}, {"k": ("a",)})
