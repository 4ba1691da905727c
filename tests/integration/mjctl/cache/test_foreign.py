"""Tests keys in Redis that another program has written: mjctl skips and counts them, or names them in an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from gameserver.cache import SyncDistributedCache
from mjctl.backup import cache as backup_cache
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

GENERATION = "cache-gen:{profile}"


@pytest.fixture
def redis(contract: Contract) -> Iterator[Redis]:
    with Redis.from_url(contract.cache.url) as client:
        yield client


@pytest.fixture
def physical(contract: Contract, redis: Redis) -> Any:
    """Fill the cache with profile:p0 to p2, and return a function: key of `profile` -> name of that key in Redis."""
    with SyncDistributedCache(contract.cache.url) as cache:
        for number in range(3):
            cache.set("profile", f"p{number}", {"n": number}, ttl_seconds=100)
    generation = redis.get(GENERATION)
    assert isinstance(generation, bytes)
    return lambda key: b"cache:{profile}:" + generation + b":" + key


@pytest.fixture
def littered(physical: Any, redis: Redis) -> None:
    """Write foreign keys with the cache's prefix, and invalid entries into the cache's set of namespaces."""
    for name in (
        "cache:{weird",
        "cache:{}",
        "cache:{a}:b",
        "cache:other-app",
        "cache:{profile}:notanumber:x",
        "cache:{profile}:7:",
    ):
        redis.set(name, "1")
    redis.sadd("cache-namespaces", b"\xff\xfe", "UPPER", "a:b", "x" * 33, "")


def regions(ran: Any) -> dict[str, Any]:
    (region,) = ran.json()["regions"]
    return dict(region)


def test_stats_count_the_keys_that_the_cache_did_not_write(mjctl: Any, littered: None) -> None:
    ran = mjctl("cache", "stats", "-o", "json")
    assert ran.code == ExitCode.OK, ran.err
    stats = regions(ran)
    assert (stats["foreign_keys"], stats["foreign_namespaces"]) == (6, 5)
    assert [(space["name"], space["keys"]) for space in stats["namespaces"]] == [("profile", 3)]
    text = mjctl("cache", "stats")
    assert text.code == ExitCode.OK
    assert "skipped 6 keys and 5 namespaces that the cache did not write" in text.err


def test_keys_and_sweeps_skip_foreign_keys(mjctl: Any, littered: None, redis: Redis) -> None:
    listed = regions(mjctl("cache", "keys", "-o", "json"))
    assert [key["key"] for key in listed["keys"]] == ["p0", "p1", "p2"]
    assert listed["foreign_namespaces"] == 5
    dry = mjctl("cache", "flush", "--all-regions", "--dry-run", "-o", "json")
    assert (regions(dry)["keys"], regions(dry)["foreign_namespaces"]) == (3, 5)
    swept = mjctl("cache", "invalidate", "--pattern", "p*:p1", "--all-regions", "-o", "json")
    assert (regions(swept)["removed"], regions(swept)["foreign_namespaces"]) == (1, 5)
    done = mjctl("cache", "flush", "--all-regions", "--yes", "-o", "json")
    assert (done.code, regions(done)["keys"], regions(done)["foreign_namespaces"]) == (ExitCode.OK, 2, 5)
    assert redis.get("cache:{weird") == b"1"
    assert mjctl("cache", "hot", "--seconds", "1").code == ExitCode.OK


def test_the_error_names_the_type_of_a_foreign_value_and_its_advice_removes_the_value(
    mjctl: Any, contract: Contract, physical: Any, redis: Redis
) -> None:
    redis.hset(physical(b"odd"), "field", "1")
    ran = mjctl("cache", "get", "profile:odd")
    assert ran.code == ExitCode.CONFLICT
    assert "`profile:odd` holds a hash" in ran.err
    assert "mjctl deploy" not in ran.err
    assert mjctl("cache", "stats").code == ExitCode.OK
    assert mjctl("cache", "keys", "--sizes").code == ExitCode.OK
    command = ran.err.split("`mjctl ")[1].split("`")[0].replace("'", "").split()
    assert mjctl(*command).code == ExitCode.OK
    assert mjctl("cache", "get", "profile:odd").code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("value", [b"\xc1", b"\x81\xa1", b"", b"\x91" * 5000], ids=["unused", "cut", "empty", "deep"])
def test_the_error_names_a_value_that_cannot_be_decoded(mjctl: Any, physical: Any, redis: Redis, value: bytes) -> None:
    redis.set(physical(b"odd"), value, ex=60)
    ran = mjctl("cache", "get", "profile:odd", "-o", "json")
    assert ran.code == ExitCode.CONFLICT
    assert "profile:odd" in ran.json()["error"]["what"]
    assert mjctl("cache", "ttl", "profile:odd").code == ExitCode.OK


@pytest.mark.parametrize(
    ("control", "kind"), [(GENERATION, "list"), ("cache-epoch:{profile}", "list"), ("cache-near:{profile}", "string")]
)
def test_the_error_names_an_overwritten_control_key(
    mjctl: Any, physical: Any, redis: Redis, control: str, kind: str
) -> None:
    redis.delete(control)
    redis.set(control, "x") if kind == "string" else redis.rpush(control, "x")
    ran = mjctl("cache", "invalidate", "profile:p1", "--all-regions")
    assert ran.code == ExitCode.CONFLICT, ran.err
    assert f"`{control}` holds a {kind}" in ran.err
    assert mjctl("cache", "stats").code == ExitCode.OK


def test_the_error_names_a_generation_that_is_not_a_number(mjctl: Any, physical: Any, redis: Redis) -> None:
    redis.set(GENERATION, "abc")
    for line in (
        ("flush", "--all-regions", "--yes"),
        ("keys",),
        ("invalidate", "--pattern", "*", "-y", "--all-regions"),
    ):
        ran = mjctl("cache", *line)
        assert ran.code == ExitCode.CONFLICT, line
        assert GENERATION in ran.err
    assert mjctl("cache", "stats").code == ExitCode.OK


def test_the_error_names_a_set_of_namespaces_of_another_type(mjctl: Any, physical: Any, redis: Redis) -> None:
    redis.delete("cache-namespaces")
    redis.set("cache-namespaces", "x")
    ran = mjctl("cache", "stats")
    assert ran.code == ExitCode.CONFLICT
    assert "`cache-namespaces` holds a string" in ran.err


def test_two_binary_keys_are_two_rows(mjctl: Any, physical: Any, redis: Redis) -> None:
    redis.set(physical(b"b\xff"), b"\xc0")
    redis.set(physical(b"b\xfe"), b"\xc0")
    ran = mjctl("cache", "keys", "profile:b*", "-o", "json")
    names = [key["key"] for key in regions(ran)["keys"]]
    assert len(names) == len(set(names)) == 2
    json.loads(ran.out)
    text = mjctl("cache", "keys", "profile:b*").out
    assert sum("profile:b" in line for line in text.splitlines()) == 2
    text.encode()
    swept = mjctl("cache", "invalidate", "--pattern", "profile:b?", "--all-regions", "-o", "json")
    assert regions(swept)["removed"] == 2
    assert mjctl("cache", "get", "profile:b\udcff").code == ExitCode.USAGE


@pytest.mark.parametrize("negation", ["!", "^"])
def test_both_forms_of_a_negated_class_work_in_namespace_and_key(mjctl: Any, physical: Any, negation: str) -> None:
    for pattern, names in {
        f"profile:p[{negation}1]": ["p0", "p2"],
        f"[{negation}x]rofile:p1": ["p1"],
        f"[{negation}p]rofile:p1": [],
    }.items():
        region = regions(mjctl("cache", "keys", pattern, "-o", "json"))
        assert [key["key"] for key in region["keys"]] == names, pattern


def test_the_error_names_a_value_without_a_time_to_live(mjctl: Any, physical: Any, redis: Redis) -> None:
    redis.set(physical(b"odd"), b"\xc0")
    for command in ("ttl", "get"):
        ran = mjctl("cache", command, "profile:odd")
        assert ran.code == ExitCode.CONFLICT
        assert "without a time to live" in ran.err
    dry = mjctl("cache", "invalidate", "profile:odd", "--all-regions", "--dry-run", "-o", "json")
    assert regions(dry)["found"] is True


@pytest.mark.parametrize("seconds", ["1e9", "1e300", "inf"])
def test_the_error_for_a_time_to_live_out_of_range_names_the_range(mjctl: Any, physical: Any, seconds: str) -> None:
    ran = mjctl("cache", "expire", "profile:p1", seconds)
    assert ran.code == ExitCode.USAGE
    assert "less than 1,000,000,000" in ran.err


@pytest.mark.parametrize(
    "line",
    [("get", "BAD NAME:x"), ("get", "nocolon"), ("keys", ":x"), ("invalidate", "--pattern", "a:", "--all-regions")],
    ids=" ".join,
)
def test_a_malformed_argument_is_a_usage_error_despite_foreign_keys(
    mjctl: Any, littered: None, line: tuple[str, ...]
) -> None:
    assert mjctl("cache", *line).code == ExitCode.USAGE


async def test_a_backup_skips_a_value_of_another_type(contract: Contract, physical: Any, redis: Redis) -> None:
    redis.hset(physical(b"odd"), "field", "1")
    async with AsyncRedis.from_url(contract.cache.url) as client:
        assert await backup_cache.count(client, "profile") == 3
