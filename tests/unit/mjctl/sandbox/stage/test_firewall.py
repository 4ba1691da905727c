"""Tests that web ACLs decide as AWS documents. The comment before a test links to AWS's document."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mjctl.sandbox.stage.firewall import Firewall
from mjctl.sandbox.stage.web_request import INSPECTED_BODY_BYTES, WebRequest

ALLOW: dict[str, Any] = {"Allow": {}}
BLOCK: dict[str, Any] = {"Block": {}}
COUNT: dict[str, Any] = {"Count": {}}
PLAIN = [{"Priority": 0, "Type": "NONE"}]
COMMON, INPUTS = "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"


def request(
    path: str = "/play",
    *,
    address: str = "192.0.2.7",
    method: str = "GET",
    query: str = "",
    body: bytes = b"",
    agent: str | None = "game/1",
    **headers: str,
) -> WebRequest:
    given = {"host": "play.example.com", **{name.replace("_", "-"): value for name, value in headers.items()}}
    given |= {} if agent is None else {"user-agent": agent}
    return WebRequest(address, method, path, query, list(given.items()), body)


def rule(name: str, statement: dict[str, Any], action: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Priority": 0, "Statement": statement, "Action": action or BLOCK, **more}


def group(name: str, *, override: str = "None", priority: int = 1, **options: Any) -> dict[str, Any]:
    statement = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": name, **options}}
    return {"Name": name, "Priority": priority, "Statement": statement, "OverrideAction": {override: {}}}


def acl(*rules: dict[str, Any], default: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/mj-game/1"
    return {"ARN": arn, "Name": "mj-game", "DefaultAction": default or ALLOW, "Rules": list(rules), **more}


def firewall(*rules: dict[str, Any], **more: Any) -> Firewall:
    sets = {name: more.pop(name, {}) for name in ("IPSets", "RegexPatternSets", "RuleGroups")}
    return Firewall({"WebACL": acl(*rules, **more), **sets})


def byte_match(text: str, position: str = "EXACTLY", field: dict[str, Any] | None = None) -> dict[str, Any]:
    search = base64.b64encode(text.encode()).decode()
    options = {"SearchString": search, "PositionalConstraint": position, "TextTransformations": PLAIN}
    return {"ByteMatchStatement": {**options, "FieldToMatch": field or {"UriPath": {}}}}


# https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-processing.html
def test_rules_apply_in_the_order_of_their_priorities_and_the_default_action_is_the_last() -> None:
    allow = rule("allow", byte_match("/play"), ALLOW, Priority=1)
    block = rule("block", byte_match("/p", "STARTS_WITH"), BLOCK, Priority=2)
    web_acl = firewall(block, allow)
    assert web_acl.evaluate(request("/play")).rule == "allow"
    blocked = web_acl.evaluate(request("/page"))
    assert (blocked.allowed, blocked.rule, blocked.status) == (False, "block", 403)
    assert web_acl.evaluate(request("/other")).rule == "Default_Action"
    assert not firewall(default=BLOCK).evaluate(request()).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-rule-actions.html
def test_the_action_count_adds_labels_and_lets_the_evaluation_continue() -> None:
    label = {"LabelMatchStatement": {"Scope": "LABEL", "Key": "seen"}}
    web_acl = firewall(
        rule("counted", byte_match("/play"), COUNT, RuleLabels=[{"Name": "seen"}]),
        rule("labelled", label, BLOCK, Priority=1),
    )
    decision = web_acl.evaluate(request())
    assert (decision.rule, list(decision.counted)) == ("labelled", ["counted"])
    assert decision.labels == {"awswaf:123456789012:webacl:mj-game:seen"}
    assert web_acl.evaluate(request("/other")).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-label-match.html
@pytest.mark.parametrize(
    ("scope", "key", "matches"),
    [
        ("LABEL", "NoUserAgent_Header", True),
        ("LABEL", "core-rule-set:NoUserAgent_Header", True),
        ("LABEL", "Agent_Header", False),
        ("NAMESPACE", "awswaf:managed:aws:core-rule-set:", True),
        ("NAMESPACE", "core-rule-set:", True),
        ("NAMESPACE", "rule-set:", False),
    ],
)
def test_a_label_matches_by_whole_parts_of_its_name(scope: str, key: str, *, matches: bool) -> None:
    label = rule("label", {"LabelMatchStatement": {"Scope": scope, "Key": key}}, Priority=2)
    decision = firewall(group(COMMON, override="Count"), label).evaluate(request(agent=None))
    assert decision.allowed is not matches


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-custom-request-response.html
def test_a_blocked_request_gets_the_custom_response_of_the_rule() -> None:
    custom = {
        "ResponseCode": 429,
        "CustomResponseBodyKey": "slow",
        "ResponseHeaders": [{"Name": "x-reason", "Value": "rate"}],
    }
    bodies = {"slow": {"ContentType": "APPLICATION_JSON", "Content": "{}"}}
    action = {"Block": {"CustomResponse": custom}}
    decision = firewall(rule("own", byte_match("/play"), action), CustomResponseBodies=bodies).evaluate(request())
    assert (decision.status, decision.body, decision.content_type) == (429, "{}", "application/json")
    assert decision.headers == [("x-reason", "rate")]


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-how-it-works.html
@pytest.mark.parametrize(("action", "status"), [("Captcha", 405), ("Challenge", 202)])
def test_a_request_without_a_token_gets_the_status_of_the_check(action: str, status: int) -> None:
    decision = firewall(rule("check", byte_match("/play"), {action: {}})).evaluate(request())
    assert (decision.allowed, decision.status) == (False, status)


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-string-match.html
@pytest.mark.parametrize(
    ("position", "text", "matches"),
    [
        ("EXACTLY", "/a/admin", True),
        ("STARTS_WITH", "/a/", True),
        ("STARTS_WITH", "a/", False),
        ("ENDS_WITH", "admin", True),
        ("CONTAINS", "adm", True),
        ("CONTAINS_WORD", "adm", False),
        ("CONTAINS_WORD", "admin", True),
    ],
)
def test_a_string_matches_at_its_position(position: str, text: str, *, matches: bool) -> None:
    assert firewall(rule("path", byte_match(text, position))).evaluate(request("/a/admin")).allowed is not matches


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-fields-list.html
@pytest.mark.parametrize(
    ("field", "text", "sent"),
    [
        ({"SingleHeader": {"Name": "X-Key"}}, "secret", request(x_key="secret")),
        ({"SingleQueryArgument": {"Name": "id"}}, "7", request(query="a=1&ID=7")),
        ({"AllQueryArguments": {}}, "7", request(query="a=1&id=7")),
        ({"QueryString": {}}, "id=7", request(query="id=7")),
        ({"Method": {}}, "PUT", request(method="PUT")),
        ({"Body": {}}, "body", request(body=b"body")),
        ({"Headers": {"MatchScope": "KEY", "MatchPattern": {"All": {}}}}, "x-key", request(x_key="1")),
        ({"Cookies": {"MatchScope": "VALUE", "MatchPattern": {"All": {}}}}, "tea", request(cookie="a=tea")),
    ],
)
def test_each_component_of_a_request_is_inspected(field: dict[str, Any], text: str, sent: WebRequest) -> None:
    web_acl = firewall(rule("field", byte_match(text, field=field)))
    assert not web_acl.evaluate(sent).allowed
    assert web_acl.evaluate(request("/nothing")).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-transformation.html
@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("LOWERCASE", "/ADMIN"),
        ("URL_DECODE", "/%61dmin"),
        ("HTML_ENTITY_DECODE", "/&#97;dmin"),
        ("NORMALIZE_PATH", "/x/../admin"),
        ("REMOVE_NULLS", "/ad\0min"),
        ("CMD_LINE", '/"admin^'),
    ],
)
def test_a_component_is_transformed_before_the_comparison(kind: str, sent: str) -> None:
    statement = byte_match("/admin")
    assert firewall(rule("path", statement)).evaluate(request(sent)).allowed
    statement["ByteMatchStatement"]["TextTransformations"] = [{"Priority": 0, "Type": kind}]
    assert not firewall(rule("path", statement)).evaluate(request(sent)).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-oversize-request-components.html
@pytest.mark.parametrize(("handling", "allowed"), [("CONTINUE", True), ("MATCH", False), ("NO_MATCH", True)])
def test_a_body_above_the_limit_is_handled_as_the_rule_says(handling: str, *, allowed: bool) -> None:
    statement = byte_match("end", "ENDS_WITH", {"Body": {"OversizeHandling": handling}})
    sent = request(method="POST", body=b"x" * INSPECTED_BODY_BYTES + b"end")
    assert firewall(rule("body", statement)).evaluate(sent).allowed is allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-ipset-match.html
def test_an_ip_set_matches_addresses_of_the_connection_or_of_a_header() -> None:
    sets = {"set": ["192.0.2.0/24", "2001:db8::/32"]}
    assert (
        not firewall(rule("set", {"IPSetReferenceStatement": {"ARN": "set"}}), IPSets=sets).evaluate(request()).allowed
    )
    forwarded = {"HeaderName": "X-Forwarded-For", "FallbackBehavior": "NO_MATCH", "Position": "LAST"}
    statement = {"IPSetReferenceStatement": {"ARN": "set", "IPSetForwardedIPConfig": forwarded}}
    web_acl = firewall(rule("set", statement), IPSets=sets)
    assert web_acl.evaluate(request()).allowed
    assert not web_acl.evaluate(request(x_forwarded_for="203.0.113.9, 192.0.2.9")).allowed
    assert web_acl.evaluate(request(x_forwarded_for="192.0.2.9, 203.0.113.9")).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statements-list.html
def test_statements_combine_and_sizes_and_patterns_match() -> None:
    long = {"SizeConstraintStatement": {"FieldToMatch": {"UriPath": {}}, "ComparisonOperator": "GT", "Size": 5}}
    digits = {"RegexPatternSetReferenceStatement": {"ARN": "digits", "FieldToMatch": {"UriPath": {}}}}
    php = {"RegexMatchStatement": {"RegexString": r"\.php$", "FieldToMatch": {"UriPath": {}}}}
    both = {"AndStatement": {"Statements": [long, {"NotStatement": {"Statement": digits}}]}}
    web_acl = firewall(rule("any", {"OrStatement": {"Statements": [both, php]}}), RegexPatternSets={"digits": [r"\d"]})
    assert not web_acl.evaluate(request("/longer")).allowed
    assert web_acl.evaluate(request("/longer7")).allowed
    assert web_acl.evaluate(request("/a")).allowed
    assert not web_acl.evaluate(request("/7.php")).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-group-evaluation.html
def test_a_rule_group_of_the_account_blocks_and_labels_with_its_own_namespace() -> None:
    arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/rulegroup/own/2"
    inner = rule("inner", byte_match("/play"), RuleLabels=[{"Name": "hit"}])
    statement = {"RuleGroupReferenceStatement": {"ARN": arn}}
    outer = {"Name": "outer", "Priority": 0, "Statement": statement, "OverrideAction": {"None": {}}}
    decision = firewall(outer, RuleGroups={arn: {"Name": "own", "Rules": [inner]}}).evaluate(request())
    assert (decision.rule, decision.rule_in_group) == ("outer", "inner")
    assert decision.labels == {"awswaf:123456789012:rulegroup:own:hit"}


# https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-rule-group-override-options.html
def test_the_actions_of_a_rule_group_can_be_overridden() -> None:
    scanner = request(agent="nmap")
    assert not firewall(group(COMMON)).evaluate(scanner).allowed
    assert firewall(group(COMMON, override="Count")).evaluate(scanner).allowed
    counted = [{"Name": "UserAgent_BadBots_HEADER", "ActionToUse": COUNT}]
    decision = firewall(group(COMMON, RuleActionOverrides=counted)).evaluate(scanner)
    assert (decision.allowed, list(decision.counted)) == (True, ["UserAgent_BadBots_HEADER"])
    excluded = [{"Name": "UserAgent_BadBots_HEADER"}]
    assert firewall(group(COMMON, ExcludedRules=excluded)).evaluate(scanner).allowed
    only_admin = byte_match("/admin", "STARTS_WITH")
    scoped = firewall(group(COMMON, ScopeDownStatement=only_admin))
    assert scoped.evaluate(scanner).allowed
    assert not scoped.evaluate(request("/admin", agent="nmap")).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("NoUserAgent_HEADER", request(agent=None)),
        ("UserAgent_BadBots_HEADER", request(agent="Nessus SOAP")),
        ("SizeRestrictions_QUERYSTRING", request(query="q" * 2049)),
        ("SizeRestrictions_Cookie_HEADER", request(cookie="c" * 10_241)),
        ("SizeRestrictions_BODY", request(body=b"b" * 8193)),
        ("SizeRestrictions_URIPATH", request("/" + "p" * 1024)),
        ("EC2MetaDataSSRF_BODY", request(body=b"url=http%3A%2F%2F169.254.169.254%2F")),
        ("EC2MetaDataSSRF_COOKIE", request(cookie="to=169.254.169.254")),
        ("EC2MetaDataSSRF_URIPATH", request("/proxy/169.254.169.254/")),
        ("EC2MetaDataSSRF_QUERYARGUMENTS", request(query="url=169.254.169.254")),
        ("GenericLFI_QUERYARGUMENTS", request(query="file=..%2F..%2Fetc")),
        ("GenericLFI_URIPATH", request("/../../etc")),
        ("GenericLFI_BODY", request(body=b"file=../../etc")),
        ("RestrictedExtensions_URIPATH", request("/server.log")),
        ("RestrictedExtensions_QUERYARGUMENTS", request(query="file=php.ini")),
        ("GenericRFI_QUERYARGUMENTS", request(query="u=http://192.0.2.1/x")),
        ("GenericRFI_BODY", request(body=b"u=ftp://192.0.2.1/x")),
        ("GenericRFI_URIPATH", request("/https://192.0.2.1/x")),
        ("CrossSiteScripting_COOKIE", request(cookie="a=<script>alert(1)</script>")),
        ("CrossSiteScripting_QUERYARGUMENTS", request(query="q=%3Cscript%3Ealert(1)")),
        ("CrossSiteScripting_BODY", request(body=b"<script>alert(1)</script>")),
        ("CrossSiteScripting_URIPATH", request("/%3Cscript%3E")),
    ],
)
def test_each_documented_rule_of_the_core_rule_set_blocks(name: str, sent: WebRequest) -> None:
    decision = firewall(group(COMMON)).evaluate(sent)
    assert (decision.allowed, decision.rule_in_group, decision.status) == (False, name, 403)


# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("JavaDeserializationRCE_HEADER", request(x="(java.lang.Runtime).getRuntime().exec('id')")),
        ("JavaDeserializationRCE_BODY", request(body=b"java.lang.Runtime")),
        ("JavaDeserializationRCE_URIPATH", request("/java.lang.Runtime")),
        ("JavaDeserializationRCE_QUERYSTRING", request(query="x=java.lang.Runtime")),
        ("Host_localhost_HEADER", request(host="localhost:8080")),
        ("PROPFIND_METHOD", request(method="PROPFIND")),
        ("ExploitablePaths_URIPATH", request("/WEB-INF/web.xml")),
        ("Log4JRCE_HEADER", request(x="${jndi:ldap://example.com/}")),
        ("Log4JRCE_QUERYSTRING", request(query="x=$%7Bjndi:ldap://example.com/%7D")),
        ("Log4JRCE_BODY", request(body=b"${jndi:ldap://example.com/}")),
        ("Log4JRCE_URIPATH", request("/${jndi:ldap://example.com/}")),
    ],
)
def test_each_documented_rule_of_the_known_bad_inputs_blocks(name: str, sent: WebRequest) -> None:
    decision = firewall(group(INPUTS)).evaluate(sent)
    assert (decision.allowed, decision.rule_in_group) == (False, name)


@pytest.mark.parametrize("name", [COMMON, INPUTS, "AWSManagedRulesAmazonIpReputationList"])
def test_the_managed_rule_groups_allow_a_usual_request(name: str) -> None:
    sent = request("/play", query="match=7", body=b'{"name": "Ann"}', cookie="session=1", origin="https://play.example")
    assert firewall(group(name)).evaluate(sent).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based.html
def rate(limit: int = 100, key: str = "IP", **options: Any) -> dict[str, Any]:
    return rule("rate", {"RateBasedStatement": {"Limit": limit, "AggregateKeyType": key, **options}})


def test_a_rate_limit_blocks_an_address_after_the_next_comparison_until_its_rate_falls() -> None:
    web_acl = firewall(rate(EvaluationWindowSec=60))
    assert all(web_acl.evaluate(request(), now=1.0).allowed for _ in range(101))
    assert not web_acl.evaluate(request(), now=10.0).allowed
    assert web_acl.evaluate(request(address="192.0.2.8"), now=10.0).allowed
    assert not web_acl.evaluate(request(), now=60.0).allowed
    assert web_acl.evaluate(request(), now=80.0).allowed


def test_a_rate_at_the_limit_is_allowed() -> None:
    web_acl = firewall(rate())
    assert all(web_acl.evaluate(request(), now=1.0).allowed for _ in range(100))
    assert web_acl.evaluate(request(), now=10.0).allowed


def test_a_rate_limit_counts_only_requests_inside_its_scope() -> None:
    web_acl = firewall(rate(ScopeDownStatement=byte_match("/login")))
    for _ in range(150):
        web_acl.evaluate(request("/play"), now=1.0)
    assert web_acl.evaluate(request("/login"), now=10.0).allowed
    for _ in range(150):
        web_acl.evaluate(request("/login"), now=11.0)
    assert not web_acl.evaluate(request("/login"), now=20.0).allowed
    assert web_acl.evaluate(request("/play"), now=20.0).allowed


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"key": "CONSTANT"}, None),
        (
            {"key": "FORWARDED_IP", "ForwardedIPConfig": {"HeaderName": "x-ip", "FallbackBehavior": "NO_MATCH"}},
            request(x_ip="192.0.2.99", user="a"),
        ),
        (
            {
                "key": "CUSTOM_KEYS",
                "CustomKeys": [{"Header": {"Name": "user", "TextTransformations": PLAIN}}, {"HTTPMethod": {}}],
            },
            request(x_ip="192.0.2.1", user="b"),
        ),
    ],
)
def test_a_rate_limit_counts_by_its_key(options: dict[str, Any], other: WebRequest | None) -> None:
    web_acl = firewall(rate(**options))
    for _ in range(101):
        web_acl.evaluate(request(x_ip="192.0.2.1", user="a"), now=1.0)
    assert not web_acl.evaluate(request(address="203.0.113.1", x_ip="192.0.2.1", user="a"), now=10.0).allowed
    if other is not None:
        assert web_acl.evaluate(other, now=10.0).allowed


# https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-caveats.html
def test_a_change_of_the_limit_resets_its_counts_and_another_change_does_not() -> None:
    old = firewall(rate())
    for _ in range(101):
        old.evaluate(request(), now=1.0)
    same = Firewall({"WebACL": acl(rate(), group(COMMON))}, old)
    assert not same.evaluate(request(), now=10.0).allowed
    changed = Firewall({"WebACL": acl(rate(limit=99))}, old)
    assert changed.evaluate(request(), now=10.0).allowed


def test_an_unknown_statement_never_matches_and_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    web_acl = firewall(
        rule("geo", {"GeoMatchStatement": {"CountryCodes": ["DE"]}}), group("AWSManagedRulesSQLiRuleSet")
    )
    assert web_acl.evaluate(request()).allowed
    assert web_acl.evaluate(request()).allowed
    assert [record.message for record in caplog.records] == [
        "mj-game: the stage does not evaluate the statement GeoMatchStatement",
        "mj-game: the stage does not evaluate the managed rule group AWSManagedRulesSQLiRuleSet",
    ]
