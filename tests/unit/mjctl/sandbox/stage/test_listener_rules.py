"""Tests which rule of a listener applies to a request, and to which URL a redirect leads.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
"""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.sandbox.stage.listener_rules import RoutedRequest, action, forward_groups, location

FORWARD = {"Type": "forward", "TargetGroupArn": "default"}


def request(**parts: Any) -> RoutedRequest:
    usual = {"address": "203.0.113.7", "protocol": "http", "port": 80, "method": "GET", "host": "play.example.com"}
    return RoutedRequest(**{**usual, "path": "/a/b", "query": "x=1&v=two", "headers": {"x-tea": "Green"}, **parts})


def applies(condition: dict[str, Any], **parts: Any) -> bool:
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    rules = [
        {"Conditions": [condition], "Actions": [fixed]},
        {"Conditions": [], "Actions": [FORWARD], "IsDefault": True},
    ]
    return action(rules, request(**parts)) == fixed


@pytest.mark.parametrize(
    ("field", "value", "matches"),
    [
        ("path-pattern", "/a/*", True),
        ("path-pattern", "/A/*", False),
        ("path-pattern", "/a/?", True),
        ("path-pattern", "/a", False),
        ("host-header", "*.EXAMPLE.com", True),
        ("host-header", "example.com", False),
        ("http-request-method", "GET", True),
        ("http-request-method", "get", False),
        ("source-ip", "203.0.113.0/24", True),
        ("source-ip", "192.0.2.0/24", False),
        ("query-string", "v=TWO", True),
        ("query-string", "v=three", False),
        ("query-string", "two", True),
        ("unknown", "x", False),
    ],
)
def test_conditions_match_as_documented(field: str, value: str, *, matches: bool) -> None:
    assert applies({"Field": field, "Values": [value]}) is matches


@pytest.mark.parametrize(
    ("name", "value", "matches"), [("X-Tea", "gr*", True), ("X-Tea", "b*", False), ("X", "*", False)]
)
def test_a_header_condition_ignores_case(name: str, value: str, *, matches: bool) -> None:
    config = {"HttpHeaderName": name, "Values": [value]}
    assert applies({"Field": "http-header", "HttpHeaderConfig": config}) is matches


def test_all_conditions_of_a_rule_must_match_and_the_first_rule_wins() -> None:
    both = [{"Field": "path-pattern", "Values": ["/a/*"]}, {"Field": "host-header", "Values": ["other.example.com"]}]
    first = {"Type": "forward", "TargetGroupArn": "first"}
    rules = [
        {"Conditions": both, "Actions": [first]},
        {"Conditions": [], "Actions": [FORWARD], "IsDefault": True},
    ]
    assert action(rules, request()) == FORWARD
    assert action(rules, request(host="other.example.com")) == first


def test_an_action_that_authenticates_users_is_not_skipped() -> None:
    login = {"Type": "authenticate-oidc", "Order": 1}
    rules = [{"Conditions": [], "Actions": [{**FORWARD, "Order": 2}, login], "IsDefault": True}]
    assert action(rules, request()) is None


@pytest.mark.parametrize(
    ("redirect", "place"),
    [
        ({"Protocol": "HTTPS", "Port": "443"}, "https://play.example.com:443/a/b?x=1&v=two"),
        (
            {"Host": "new.#{host}", "Path": "/v2/#{path}", "Query": ""},
            "http://new.play.example.com:80/v2/a/b?x=1&v=two",
        ),
        ({"Query": "from=#{host}"}, "http://play.example.com:80/a/b?from=play.example.com"),
    ],
)
def test_a_redirect_keeps_the_parts_that_it_does_not_change(redirect: dict[str, str], place: str) -> None:
    assert location(redirect, request()) == place


def test_a_forward_has_one_target_group_or_several_with_weights() -> None:
    weighted = {"TargetGroups": [{"TargetGroupArn": "a", "Weight": 1}, {"TargetGroupArn": "b", "Weight": 9}]}
    assert forward_groups([FORWARD]) == {"default": 1}
    assert forward_groups([{"Type": "forward", "ForwardConfig": weighted}]) == {"a": 1, "b": 9}
