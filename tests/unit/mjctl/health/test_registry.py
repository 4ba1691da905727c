"""Tests the severity of each health check."""

from __future__ import annotations

from mjctl.health.registry import checks_for
from mjctl.models.check import Severity
from tests.unit.mjctl.conftest import MakeContract

MANAGED = {
    "alarm_prefix": "arena-test-",
    "alarm_topic": "arn:aws:sns:us-east-1:000000000000:arena-test-alarms",
    "api_id": "api",
    "cache_group": "arena-test-us-east-1",
    "state_group": "arena-test-us-east-1-state",
    "certificate": "arn:aws:acm:us-east-1:000000000000:certificate/1",
    "database_cluster": "arena-test-us-east-1",
    "database_global_cluster": "arena-test-global",
    "dead_letter_queues": {"api": "arena-test-api-function-dlq"},
    "functions": {"api": "arena-test-api", "persistence": "arena-test-persistence"},
    "load_balancer": "app/arena-test-game/1",
    "primary_region": "us-east-1",
    "target_group": "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/arena-test/1",
    "web_acl": "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/arena-test/1",
    "web_domain": "arena.example.com",
}


_REDIS = {"url": "rediss://ops@inside:6379", "access": "ops_function", "ops_function_arn": "arn:ops"}
INSIDE = {"cache": {**_REDIS, "url": "rediss://ops@cache:6379"}, "state": _REDIS}


def test_a_check_is_critical_if_its_failure_stops_players_from_playing(make_contract: MakeContract) -> None:
    contract = make_contract(
        target="aws",
        fleet={"kind": "ecs", "cluster": "arena-test", "service": "arena-test-game"},
        backup={"vault_name": "arena-test-us-east-1"},
        managed=MANAGED,
        **INSIDE,
    )
    names: dict[Severity, set[str]] = {severity: set() for severity in Severity}
    for check in checks_for(contract):
        names[check.severity].add(check.name)
    assert names[Severity.CRITICAL] == {
        *("api", "login", "match", "redis", "state", "cache", "database", "table/matches", "identity", "key/data"),
        *("service", "targets", "gateway", "certificate", "cdn", "dns", "function/api"),
    }
    assert names[Severity.MAJOR] == {
        *("zones", "scaling", "owners", "database-regions", "queue/persistence", "dead-letters/persistence"),
        *("topic/events", "function/persistence", "dead-letters/function-api", "firewall", "edge-networks"),
        *("edge-pass", "backup", "mail"),
    }
    assert names[Severity.MINOR] == {"alarms", "alarm-topic"}


def test_a_region_on_a_stage_has_the_checks_of_a_region_on_aws(make_contract: MakeContract) -> None:
    """Test that the stage's private authority adds no check, because ACM has issued the region's certificate."""
    parts = {"fleet": {"kind": "ecs", "cluster": "c", "service": "s"}, "managed": MANAGED}
    on_aws = make_contract(target="aws", **parts)
    on_stage = make_contract(target="sandbox", ca_file="/stage/authority.pem", names_file="/stage/names.json", **parts)
    assert [check.name for check in checks_for(on_stage)] == [check.name for check in checks_for(on_aws)]
