"""Checks the DynamoDB tables, and the state store, the cache and PostgreSQL if mjctl can connect to them directly."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

from mjctl.clients.boto import unreachable
from mjctl.clients.stores import cache, database, state
from mjctl.health.model import (
    AWS_CHECK_SECONDS,
    Check,
    CheckFunction,
    Finding,
    RegionContext,
    failed,
    graded,
    passed,
    warned,
    worst,
)
from mjctl.health.readings import evictions_in_words, since_last
from mjctl.models.check import CheckStatus, Severity
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    """Yield a check of each table, and a check of each store to which mjctl can connect directly."""
    if contract.state.access == "direct":
        yield Check("redis", check_state, severity=Severity.CRITICAL)
    if contract.cache.access == "direct":
        yield Check("cache", check_cache, severity=Severity.CRITICAL)
    if contract.database.access == "direct":
        yield Check("database", check_database, timeout_seconds=4, severity=Severity.CRITICAL)
    for key in contract.tables:
        yield Check(f"table/{key}", _table(key), AWS_CHECK_SECONDS, Severity.CRITICAL)


async def check_state(context: RegionContext) -> Finding:
    """Check that the state store accepts writes and never evicts a key, and measure its round trip and memory."""
    async with state(context.contract, context.clients, timeout_seconds=2) as redis:
        ping_ms, info = await _look(redis)
    evidence = _evidence(ping_ms, info)
    if info["role"] != "master":
        return _no_primary(info, evidence)
    evidence["maxmemory_policy"] = policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return failed(
            f"the state store may evict running matches, because its policy is {policy}",
            hint="`redis-cli config set maxmemory-policy noeviction` restores the policy. Find the program that "
            "changed the policy",
            **evidence,
        )
    status = _memory(context, info)
    return Finding(
        status,
        f"{info['role']}, ping {ping_ms:.1f} ms, {_used(info)}, {policy}",
        None
        if status is CheckStatus.PASS
        else f"`mjctl servers list {context.contract.scope}` shows the matches that fill the state store. A full state "
        "store refuses writes of matches",
        evidence,
    )


async def check_cache(context: RegionContext) -> Finding:
    """Check that the cache accepts writes (role master), and measure its round trip, memory and evictions."""
    async with cache(context.contract, context.clients, timeout_seconds=2) as redis:
        ping_ms, info = await _look(redis)
    evidence = _evidence(ping_ms, info)
    if info["role"] != "master":
        return _no_primary(info, evidence)
    total = int(info.get("evicted_keys", 0))
    evicted = await context.in_thread(partial(since_last, context.private_dir, "evicted_keys", total))
    evidence["evicted_since_last"] = evicted
    evictions = graded(evicted or 0, warn=context.thresholds.cache_evictions_warn, fail=float("inf"))
    status = worst((_memory(context, info), evictions))
    return Finding(
        status,
        f"{info['role']}, ping {ping_ms:.1f} ms, {_used(info)}, {evictions_in_words(total, evicted)}",
        None
        if status is CheckStatus.PASS
        else f"`mjctl cache stats {context.contract.scope}` shows which namespaces fill the cache; "
        f"`mjctl cache flush {context.contract.scope}` empties the cache and changes no match",
        evidence,
    )


async def _look(redis: Any) -> tuple[float, dict[str, Any]]:
    """Return the round trip of a PING in milliseconds, and the answer of INFO."""
    # Measure three pings of Redis and use the fastest, because the first ping opens the connection and other checks of
    # this process may delay a ping.
    ping_ms = min([await _milliseconds(redis.execute_command("PING")) for _ in range(3)])
    return ping_ms, await redis.info()


def _evidence(ping_ms: float, info: dict[str, Any]) -> dict[str, object]:
    return {
        "ping_ms": round(ping_ms, 2),
        "version": info.get("valkey_version") or info.get("redis_version"),
        "role": info["role"],
        "replicas": info.get("connected_slaves", 0),
        "used_memory_bytes": info["used_memory"],
        "maxmemory_bytes": int(info.get("maxmemory", 0)),
        "evicted_keys": info.get("evicted_keys", 0),
        "clients": info.get("connected_clients", 0),
    }


def _no_primary(info: dict[str, Any], evidence: dict[str, object]) -> Finding:
    return failed(
        f"this Redis accepts no writes, because its role is {info['role']}",
        hint="`redis-cli replicaof no one` makes this Redis the primary. If another Redis is the primary, the "
        "region's contract must have the address of that Redis",
        **evidence,
    )


def _memory(context: RegionContext, info: dict[str, Any]) -> CheckStatus:
    limit, bounds = int(info.get("maxmemory", 0)), context.thresholds
    percent = 100 * int(info["used_memory"]) / limit if limit else 0.0
    return graded(percent, warn=bounds.cache_memory_percent_warn, fail=bounds.cache_memory_percent_fail)


def _used(info: dict[str, Any]) -> str:
    limit = int(info.get("maxmemory", 0))
    return f"{info['used_memory'] / 2**20:.1f} MiB" + (f" of {limit / 2**20:.0f} MiB" if limit else "")


async def check_database(context: RegionContext) -> Finding:
    """Check that PostgreSQL answers a query and has the game's schema, and check the number of open connections."""
    import asyncpg

    part = context.contract.database
    try:
        async with database(context.contract, context.clients, timeout_seconds=3) as connection:
            query_ms = min([await _milliseconds(connection.fetchval("select 1")) for _ in range(3)])
            revision = await connection.fetchval("select version_num from alembic_version")
            holder, held = await connection.fetchrow(
                "select coalesce(nullif(application_name, ''), 'a client without a name'), count(*) from "
                "pg_stat_activity where backend_type = 'client backend' group by 1 order by 2 desc limit 1"
            )
            used, limit, version = await connection.fetchrow(
                "select (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
                " current_setting('max_connections')::int, current_setting('server_version')"
            )
    except asyncpg.UndefinedTableError:
        revision = None
    except asyncpg.PostgresError as error:
        raise unreachable(context.contract, "PostgreSQL", f"{part.host}:{part.port}/{part.name}", error) from error
    if revision is None:
        return failed(
            "the schema is missing: no migration has run",
            hint=f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` runs the "
            "migrations",
        )
    bounds = context.thresholds
    share = 100 * used / limit
    status = graded(share, warn=bounds.database_connections_percent_warn, fail=bounds.database_connections_percent_fail)
    return Finding(
        status,
        f"PostgreSQL {version.split(' ')[0]}, query {query_ms:.1f} ms, schema {revision}, {used}/{limit} connections",
        None
        if status is CheckStatus.PASS
        else f"end the program that opened the connections: {holder} has the most, {held}",
        {"query_ms": round(query_ms, 2), "schema": revision, "connections": used, "max_connections": limit},
    )


async def _milliseconds(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


def _table(key: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        name = context.contract.tables[key].name
        table = (await context.clients.call("dynamodb", "describe_table", TableName=name))["Table"]
        ttl = await context.clients.call("dynamodb", "describe_time_to_live", TableName=name)
        ttl_status = ttl["TimeToLiveDescription"].get("TimeToLiveStatus", "DISABLED")
        evidence = {"table": name, "status": table["TableStatus"], "ttl": ttl_status, "items": table.get("ItemCount")}
        if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            return failed(f"{name} is {table['TableStatus']}", hint="wait a minute, then look again", **evidence)
        if ttl_status not in ("ENABLED", "ENABLING"):
            return warned(
                f"items of {name} never expire, because time to live (TTL) is off",
                hint=f"`mjctl deploy {context.contract.scope}` turns time to live on",
                **evidence,
            )
        summary = f"{name} {table['TableStatus']}, TTL {ttl_status.lower()}"
        if context.contract.managed is None:
            return passed(summary, **evidence)
        return await _protected(context, table, summary, evidence)

    return check


async def _protected(
    context: RegionContext, table: dict[str, Any], summary: str, evidence: dict[str, object]
) -> Finding:
    """Check a table's point-in-time recovery and its replicas in other regions, which only a table on AWS has."""
    answer = await context.clients.call("dynamodb", "describe_continuous_backups", TableName=table["TableName"])
    window = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    recovery = window.get("PointInTimeRecoveryStatus", "DISABLED")
    replicas = {item["RegionName"]: item.get("ReplicaStatus", "ACTIVE") for item in table.get("Replicas", ())}
    evidence |= {
        "point_in_time_recovery": recovery,
        "replicas": replicas,
        "key": table.get("SSEDescription", {}).get("Status"),
    }
    deploy = (
        f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` turns on "
        "point-in-time recovery"
    )
    away = [f"{region} is {state}" for region, state in replicas.items() if state not in ("ACTIVE", "UPDATING")]
    if away:
        hint = (
            "DynamoDB updates the replica automatically once it is available: look again in a minute. If the replica's "
            "KMS key is not accessible for 20 hours, DynamoDB removes the replica"
        )
        return failed(f"{summary}, replica in {', '.join(away)}", hint=hint, **evidence)
    if recovery != "ENABLED":
        return failed(f"{summary}: no point-in-time recovery", hint=deploy, **evidence)
    others = sorted(region for region in replicas if region != context.contract.region)
    return passed(
        f"{summary}, recoverable to any second" + (f", also in {', '.join(others)}" if others else ""), **evidence
    )
