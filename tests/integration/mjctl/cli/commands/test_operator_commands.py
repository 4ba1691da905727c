"""Tests of the operator commands with real services. mjctl gets its contracts from the test, and not from Terraform's
state."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from gameserver.cache import SyncDistributedCache
from gameserver.runtime.settings import Settings
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

PARTS = ("--only", "cache", "--only", "database")


@pytest.fixture
def cache(contract: Contract) -> Any:
    with SyncDistributedCache(contract.cache.url) as cache:
        for number in range(3):
            cache.set("profile", f"p{number}", {"n": number, "name": "[red]Ann[/]"}, ttl_seconds=100)
        yield cache


class TestHealth:
    def test_text_has_a_line_for_each_part_and_a_verdict(self, mjctl: Any) -> None:
        ran = mjctl("health", *PARTS)
        assert ran.code == ExitCode.OK, ran.out
        assert "us-east-1" in ran.out
        assert "ping" in ran.out
        assert ran.out.splitlines()[-1].startswith("healthy  2 checks in ")

    def test_a_failed_check_has_advice_and_gives_exit_code_3(
        self, mjctl: Any, contract: Contract, without_cache: Contract
    ) -> None:
        mjctl.add("eu-west-1", without_cache)
        ran = mjctl("health", *PARTS, "--output", "json")
        assert ran.code == ExitCode.UNHEALTHY
        document = ran.json()
        assert document["regions"] == [
            {"region": contract.region, "status": "pass"},
            {"region": "eu-west-1", "status": "fail"},
        ]
        (bad,) = [check for check in document["checks"] if check["status"] == "fail"]
        assert (bad["region"], bad["name"]) == ("eu-west-1", "cache")
        assert "mjctl deploy" in bad["hint"]

    def test_fail_on_warn_ends_with_code_3_after_a_warning(self, mjctl: Any) -> None:
        warning = ("health", "--only", "queue", "--threshold", "queue_depth_warn=0")
        assert mjctl(*warning).code == ExitCode.OK
        assert mjctl(*warning, "--fail-on", "warn").code == ExitCode.UNHEALTHY

    def test_fail_on_critical_ignores_other_failures(self, mjctl: Any, without_cache: Contract) -> None:
        too_many = ("health", "--only", "queue", "--threshold", "queue_depth_fail=0", "--fail-on")
        ran = mjctl(*too_many, "fail")
        assert ran.code == ExitCode.UNHEALTHY
        assert "queue/persistence (major): " in ran.out
        assert mjctl(*too_many, "critical").code == ExitCode.OK
        mjctl.add("eu-west-1", without_cache)
        ran = mjctl("health", *PARTS, "--fail-on", "critical", "--output", "json")
        assert ran.code == ExitCode.UNHEALTHY
        assert {check["name"]: check["severity"] for check in ran.json()["checks"]}["cache"] == "critical"

    def test_an_unknown_check_or_threshold_is_refused(self, mjctl: Any) -> None:
        assert mjctl("health", "--only", "nosuch").code == ExitCode.NOT_FOUND
        assert mjctl("health", "--threshold", "nosuch=1").code == ExitCode.USAGE

    def test_watch_refuses_output_for_programs(self, mjctl: Any) -> None:
        for output in ("json", "prometheus"):
            assert mjctl("health", "--watch", "--output", output).code == ExitCode.USAGE

    def test_prometheus_can_parse_the_report(self, mjctl: Any, without_cache: Contract) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        mjctl.add("eu-west-1", without_cache)
        ran = mjctl("health", *PARTS, "--output", "prometheus")
        assert ran.code == ExitCode.UNHEALTHY
        families = {family.name: family.samples for family in text_string_to_metric_families(ran.out)}
        statuses = families["mjctl_health_check_status"]
        status = {(sample.labels["region"], sample.labels["check"]): sample.value for sample in statuses}
        assert status["us-east-1", "cache"] == 0
        assert status["eu-west-1", "cache"] == 2
        figures = {sample.labels["figure"] for sample in families["mjctl_health_figure"]}
        assert {"ping_ms", "used_memory_bytes"} <= figures


class TestCache:
    def test_get_prints_the_value_as_json_only(self, mjctl: Any, cache: Any) -> None:
        ran = mjctl("cache", "get", "profile:p1")
        assert json.loads(ran.out) == {"n": 1, "name": "[red]Ann[/]"}

    def test_get_of_a_key_that_is_not_in_the_cache_is_an_error(self, mjctl: Any, cache: Any) -> None:
        ran = mjctl("cache", "get", "profile:none", "--output", "json")
        assert ran.code == ExitCode.NOT_FOUND
        assert ran.json()["error"]["name"] == "not_found"

    def test_keys_are_listed_and_their_time_to_live_can_be_set(self, mjctl: Any, cache: Any) -> None:
        (listed,) = mjctl("cache", "keys", "profile:*", "--limit", "2", "-o", "json").json()["regions"]
        assert len(listed["keys"]) == 2
        assert listed["truncated"] is True
        assert mjctl("cache", "expire", "profile:p1", "5000").code == ExitCode.OK
        (left,) = mjctl("cache", "ttl", "profile:p1", "-o", "json").json()["regions"]
        assert left["ttl_seconds"] > 1000

    def test_invalidate_with_a_pattern_counts_the_keys(self, mjctl: Any, cache: Any) -> None:
        for arguments, counted in (("--dry-run",), 3), ((), 3), ((), 0):
            ran = mjctl("cache", "invalidate", "--all-regions", "--pattern", "profile:*", *arguments, "-o", "json")
            assert ran.json()["regions"][0]["matched"] == counted
        assert cache.get("profile", "p1") is None

    def test_the_whole_cache_is_removed_only_after_a_confirmation(self, mjctl: Any, cache: Any) -> None:
        for arguments in (("invalidate", "--all-regions", "--pattern", "*:*"), ("flush", "--all-regions")):
            ran = mjctl("cache", *arguments)
            assert ran.code == ExitCode.REFUSED
            assert "--yes" in ran.err
        assert cache.get("profile", "p1") is not None
        assert mjctl("cache", "flush", "--all-regions", "--dry-run").code == ExitCode.OK
        assert cache.get("profile", "p1") is not None
        assert mjctl("cache", "flush", "--all-regions", "--yes").code == ExitCode.OK
        assert cache.get("profile", "p1") is None

    @pytest.mark.parametrize("arguments", [(), ("a:b", "--pattern", "c:*"), ("--namespace", "a", "--pattern", "c:*")])
    def test_invalidate_needs_one_key_pattern_or_namespace(self, mjctl: Any, arguments: tuple[str, ...]) -> None:
        assert mjctl("cache", "invalidate", "--all-regions", *arguments).code == ExitCode.USAGE

    def test_a_redis_that_is_down_is_an_error_of_its_region_only(
        self, mjctl: Any, cache: Any, contract: Contract, without_cache: Contract
    ) -> None:
        mjctl.add("eu-west-1", without_cache)
        ran = mjctl("cache", "stats", "-o", "json")
        assert ran.code == ExitCode.PARTIAL
        assert [("error" in region) for region in ran.json()["regions"]] == [False, True]
        assert "eu-west-1" in ran.err
        mjctl.contracts = {contract.region: without_cache}
        ran = mjctl("cache", "stats", "-o", "json")
        assert ran.code == ExitCode.UNREACHABLE
        assert "redis://127.0.0.1:1/0" in ran.json()["error"]["where"]

    def test_stats_are_shown_as_tables(self, mjctl: Any, cache: Any) -> None:
        out = mjctl("cache", "stats").out
        assert "profile" in out
        assert "HIT RATIO" in out
        assert "LARGEST KEYS" in out

    def test_hot_shows_a_key_that_is_read_often(self, mjctl: Any, cache: Any) -> None:
        done = threading.Event()

        def read() -> None:
            while not done.wait(0.1):
                cache.get("profile", "p1")

        with ThreadPoolExecutor(1) as reader:
            reader.submit(read)
            try:
                ran = mjctl("cache", "hot", "--seconds", "2", "-o", "json")
                assert ran.code == ExitCode.OK
                assert "profile:p1" in [key["name"] for key in ran.json()["regions"][0]["keys"]]
                assert "profile:p1" in mjctl("cache", "hot", "--seconds", "1").out
            finally:
                done.set()


class TestQueue:
    @pytest.fixture
    def dead_letter(self, contract: Contract, settings: Settings) -> None:
        sqs = boto3.client("sqs", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
        body = json.dumps({"event_id": "m:1", "type": "player.joined", "payload": {"display_name": "Ann"}})
        sqs.send_message(QueueUrl=contract.queues["persistence"].dead_letter.url, MessageBody=body)

    def test_list_counts_dead_letter_messages(self, mjctl: Any, dead_letter: None) -> None:
        (queue,) = mjctl("queue", "list", "-o", "json").json()["regions"][0]["queues"]
        assert (queue["name"], queue["waiting"], queue["dead_letters"]) == ("persistence", 0, 1)
        assert "persistence" in mjctl("queue", "list").out

    def test_peek_shows_players_names_only_with_bodies(self, mjctl: Any, dead_letter: None) -> None:
        assert "Ann" not in mjctl("queue", "peek", "persistence").out
        assert "Ann" not in mjctl("queue", "peek", "persistence", "-o", "json").out
        assert "Ann" in mjctl("queue", "peek", "persistence", "--bodies").out

    def test_redrive_sends_the_message_to_its_queue(self, mjctl: Any, dead_letter: None) -> None:
        (moved,) = mjctl("queue", "redrive", "persistence", "--all-regions", "--yes", "-o", "json").json()["regions"]
        assert (moved["moved"], moved["remaining"]) == (1, 0)
        (queue,) = mjctl("queue", "list", "-o", "json").json()["regions"][0]["queues"]
        assert (queue["waiting"], queue["dead_letters"]) == (1, 0)

    def test_purge_deletes_only_after_a_confirmation(self, mjctl: Any, dead_letter: None) -> None:
        assert mjctl("queue", "purge", "persistence", "--all-regions").code == ExitCode.REFUSED
        (dry,) = mjctl("queue", "purge", "persistence", "--all-regions", "--dry-run", "-o", "json").json()["regions"]
        assert dry["letters"] == 1
        assert mjctl("queue", "purge", "persistence", "--all-regions", "--yes").code == ExitCode.OK
        (queue,) = mjctl("queue", "list", "-o", "json").json()["regions"][0]["queues"]
        assert queue["dead_letters"] == 0

    def test_an_unknown_queue_is_refused(self, mjctl: Any) -> None:
        assert mjctl("queue", "peek", "nosuch").code == ExitCode.NOT_FOUND


class TestServers:
    def test_the_list_shows_servers_that_do_not_answer(self, mjctl: Any, contract: Contract) -> None:
        server = {
            "id": "game-a-1",
            "zone": "us-east-1a",
            "play_url": "ws://127.0.0.1:1",
            "ops_url": "http://127.0.0.1:1",
        }
        fleet = {
            "kind": "supervisor",
            "supervisor_socket": "/nowhere/socket",
            "run_dir": "/nowhere",
            "servers": [server],
        }
        mjctl.contracts = {contract.region: Contract.parse({**contract.model_dump(), "fleet": fleet})}
        ran = mjctl("servers", "list", "-o", "json")
        assert ran.code == ExitCode.OK
        (row,) = ran.json()["regions"][0]["servers"]
        assert (row["id"], row["state"], row["players"]) == ("game-a-1", "no answer", None)
        assert "no answer" in mjctl("servers", "list").out


class TestLoadtest:
    def test_impossible_options_are_refused_before_bots_sign_up(self, mjctl: Any) -> None:
        assert mjctl("loadtest", "--mode", "nosuch").code == ExitCode.NOT_FOUND
        assert mjctl("loadtest", "--duration", "2").code == ExitCode.USAGE
        assert mjctl("loadtest", "--matches-of", "99").code == ExitCode.USAGE

    def test_an_api_that_is_down_is_named(self, mjctl: Any) -> None:
        ran = mjctl("loadtest", "--players", "2", "-o", "json")
        assert ran.code == ExitCode.UNREACHABLE
        assert "http://127.0.0.1:1" in ran.json()["error"]["where"]


def test_an_interruption_gives_exit_code_130(mjctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", interrupted)
    assert mjctl("queue", "list").code == ExitCode.INTERRUPTED
