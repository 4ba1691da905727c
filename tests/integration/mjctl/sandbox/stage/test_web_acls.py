"""Tests that web ACLs are read from moto with the IP sets, pattern sets and rule groups that their rules refer to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.firewall import Firewall
from mjctl.sandbox.stage.web_acls import KeptFirewalls, WebAcls
from mjctl.sandbox.stage.web_request import WebRequest

VISIBLE = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
FIELD = {"FieldToMatch": {"UriPath": {}}, "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("acls"), names=["ministack", "moto"]) as emulators:
        yield emulators


def rule(name: str, priority: int, statement: dict[str, Any], **action: Any) -> dict[str, Any]:
    chosen = action or {"Action": {"Block": {}}}
    return {"Name": name, "Priority": priority, "Statement": statement, "VisibilityConfig": VISIBLE, **chosen}


def create(api: Any, scope: str) -> str:
    addresses = api.create_ip_set(Name="own", Scope=scope, IPAddressVersion="IPV4", Addresses=["192.0.2.0/24"])
    patterns = api.create_regex_pattern_set(
        Name="paths", Scope=scope, RegularExpressionList=[{"RegexString": "^/admin"}]
    )
    inner = {"RegexPatternSetReferenceStatement": {"ARN": patterns["Summary"]["ARN"], **FIELD}}
    group = api.create_rule_group(
        Name="group", Scope=scope, Capacity=10, VisibilityConfig=VISIBLE, Rules=[rule("inner", 0, inner)]
    )
    own = {"IPSetReferenceStatement": {"ARN": addresses["Summary"]["ARN"]}}
    scoped = {"NotStatement": {"Statement": own}}
    reference = {"RuleGroupReferenceStatement": {"ARN": group["Summary"]["ARN"]}}
    rate = {"RateBasedStatement": {"Limit": 100, "AggregateKeyType": "IP", "ScopeDownStatement": scoped}}
    rules = [rule("rate", 0, rate), rule("group", 1, reference, OverrideAction={"None": {}})]
    acl = api.create_web_acl(
        Name="game", Scope=scope, DefaultAction={"Allow": {}}, VisibilityConfig=VISIBLE, Rules=rules
    )
    return str(acl["Summary"]["ARN"])


@pytest.mark.parametrize("scope", ["REGIONAL", "CLOUDFRONT"])
def test_a_web_acl_is_read_with_its_sets_and_rule_groups(running: Emulators, scope: str) -> None:
    arn = create(running.client("wafv2", "us-east-1"), scope)
    acls = WebAcls(running.url("moto"), running.key.access_key_id)
    documents = acls.of_arn(arn)
    assert documents is not None
    assert list(documents["IPSets"].values()) == [["192.0.2.0/24"]]
    firewall = Firewall(documents)
    blocked = firewall.evaluate(WebRequest("203.0.113.1", "GET", "/admin/x", "", []))
    assert (blocked.allowed, blocked.rule, blocked.rule_in_group) == (False, "group", "inner")
    assert firewall.evaluate(WebRequest("203.0.113.1", "GET", "/play", "", [])).allowed


def test_the_web_acl_of_a_resource_follows_its_association(running: Emulators) -> None:
    api = running.client("wafv2", "eu-west-1")
    arn = create(api, "REGIONAL")
    acls = WebAcls(running.url("moto"), running.key.access_key_id)
    balancer = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/game/1"
    assert acls.of_resource(balancer) is None
    api.associate_web_acl(WebACLArn=arn, ResourceArn=balancer)
    documents = acls.of_resource(balancer)
    assert documents is not None
    assert documents["WebACL"]["ARN"] == arn
    api.disassociate_web_acl(ResourceArn=balancer)
    assert acls.of_resource(balancer) is None


def test_kept_firewalls_follow_changes_and_keep_their_counts(
    running: Emulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = running.client("wafv2", "us-west-2")
    arn = create(api, "REGIONAL")
    firewalls = KeptFirewalls(WebAcls(running.url("moto"), running.key.access_key_id).of_arn)
    admin, play = (WebRequest("203.0.113.1", "GET", path, "", []) for path in ("/admin", "/play"))

    def passes(request: WebRequest) -> bool:
        decision = firewalls.decide(arn, request)
        assert decision is not None
        return decision.allowed

    clock = 0.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    assert [passes(admin), passes(play)] == [False, True]
    for _ in range(110):
        passes(play)
    acl = api.get_web_acl(Name="game", Scope="REGIONAL", Id=arn.rsplit("/", 1)[1])
    api.update_web_acl(
        Name="game",
        Scope="REGIONAL",
        Id=acl["WebACL"]["Id"],
        LockToken=acl["LockToken"],
        DefaultAction={"Allow": {}},
        VisibilityConfig=VISIBLE,
        Rules=acl["WebACL"]["Rules"][:1],
    )
    clock = 1.0
    assert not passes(admin)
    clock = 3.0
    assert passes(admin)
    clock = 10.0
    assert not passes(play)


def test_a_web_acl_that_does_not_exist_is_no_error_and_a_silent_moto_is_one(running: Emulators) -> None:
    missing = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/none/1"
    assert WebAcls(running.url("moto"), running.key.access_key_id).of_arn(missing) is None
    with pytest.raises(OSError, match="status 403"):
        WebAcls(running.url("moto"), "another-key").of_arn(missing)
    with pytest.raises(OSError, match="refused"):
        WebAcls("http://127.0.0.1:1", "key").of_arn(missing)
