"""Text output of the commands of `mjctl cache`, and their JSON fields that are no fields of a dataclass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from mjctl.cli.output.json_document import json_for_people
from mjctl.cli.output.printable import printable
from mjctl.cli.output.tables import Column, DataTable, counted, human_bytes, human_seconds

if TYPE_CHECKING:
    from gameserver.cache import CacheStats, HotKeys, PatternResult
    from mjctl.cache.model import CachedValue, KeyListing
    from mjctl.clients.regions import RegionOutcome


def stats_entry(stats: CacheStats) -> dict[str, object]:
    """Return the fields of one region in the JSON document of `mjctl cache stats`."""
    return {**asdict(stats), "hit_ratio": stats.hit_ratio, "larger_share": stats.larger_share}


def hot_entry(keys: HotKeys) -> dict[str, object]:
    """Return the fields of one region in the JSON document of `mjctl cache hot`."""
    return {**asdict(keys), "missed_percent": round(keys.missed_percent, 2)}


def hot_table(outcomes: list[RegionOutcome[HotKeys]]) -> DataTable | Text:
    """Return a table of the keys that were read most, or a sentence if no key was read."""
    table = DataTable(
        Column("REGION", 2), Column("KEY"), Column("BUSY SECONDS", 1, right=True), Column("FREQUENCY", 3, right=True)
    )
    for outcome in outcomes:
        for key in outcome.value.keys if outcome.value else ():
            busy = f"{key.busy_seconds}/{outcome.value.seconds}" if outcome.value and outcome.value.seconds else "-"
            table.add_row(outcome.region, key.name, busy, "-" if key.frequency is None else str(key.frequency))
    return table if table.row_count else Text("no key of the cache was read while the command observed the reads")


def stats_tables(outcomes: list[RegionOutcome[CacheStats]]) -> Group:
    """Return three tables: the Redis server of each region, all namespaces, and the largest keys."""
    servers = DataTable(
        Column("REGION"),
        Column("SERVER", 6),
        Column("MEMORY", 1, right=True),
        Column("LIMIT", 2, right=True),
        Column("KEYS", 2, right=True),
        Column("HIT RATIO", 1, right=True),
        Column("EVICTED", 3, right=True),
        Column("EXPIRED", 5, right=True),
        Column("CLIENTS", 4, right=True),
        Column("UPTIME", 4, right=True),
    )
    spaces = DataTable(
        Column("REGION", 2),
        Column("NAMESPACE"),
        Column("KEYS", 1, right=True),
        Column("MEMORY", 1, right=True),
        Column("STALE KEYS", 3, right=True),
        Column("GENERATION", 4, right=True),
        Column("FIGURES", 2),
    )
    for outcome in outcomes:
        if (stats := outcome.value) is None:
            continue
        servers.add_row(
            outcome.region,
            stats.server_version,
            human_bytes(stats.memory_bytes),
            human_bytes(stats.max_memory_bytes) if stats.max_memory_bytes else "none",
            str(stats.total_keys),
            "-" if stats.hit_ratio is None else f"{stats.hit_ratio:.1%}",
            str(stats.evicted_keys),
            str(stats.expired_keys),
            str(stats.clients),
            human_seconds(stats.uptime_seconds),
        )
        for space in stats.namespaces:
            spaces.add_row(
                outcome.region,
                space.name,
                str(space.keys),
                human_bytes(space.memory_bytes)
                + (f" +-{human_bytes(space.memory_error_bytes)}" if space.memory_error_bytes else ""),
                str(space.stale_keys),
                "-" if space.generation is None else str(space.generation),
                f"estimated from {stats.sampled_keys} keys" if stats.estimated else "exact",
            )
    if not spaces.row_count:
        return Group(servers, Text("the cache is empty"))
    return Group(servers, Text(), spaces, Text(), _largest(outcomes))


def _largest(outcomes: list[RegionOutcome[CacheStats]]) -> DataTable:
    table = DataTable(
        Column("REGION", 2), Column("LARGEST KEYS"), Column("MEMORY", 1, right=True), Column("FIGURES", 3)
    )
    for outcome in outcomes:
        if (stats := outcome.value) is None:
            continue
        # If the figures are estimated, the sample may lack the largest keys. At a confidence of 95 %, at most the share
        # `larger_share` of all keys is larger than the first key of `largest`.
        larger = f"at most {math.ceil(stats.larger_share * stats.total_keys)} keys are larger"
        for number, key in enumerate(stats.largest):
            figures = "exact" if not stats.estimated else larger if number == 0 else ""
            table.add_row(outcome.region, key.name, human_bytes(key.size_bytes), figures)
    return table


def key_table(outcomes: list[RegionOutcome[KeyListing]], sizes: bool) -> DataTable:
    """Return a table of keys with their time to live, and with their memory if `sizes` is true."""
    memory = [Column("MEMORY", 1, right=True)] if sizes else []
    table = DataTable(Column("REGION", 3), Column("KEY"), Column("TTL", 2, right=True), *memory)
    for outcome in outcomes:
        for key in outcome.value.keys if outcome.value else ():
            cells = [outcome.region, key.name, human_seconds(key.ttl_seconds)]
            if sizes:
                cells.append("-" if key.size_bytes is None else human_bytes(key.size_bytes))
            table.add_row(*cells)
    return table


def value_text(outcomes: list[RegionOutcome[CachedValue]], encoding: str) -> Text:
    """Return the value of a key in each region as JSON.

    The output for one region is JSON only, so that a program can read it. For several regions, the name of the region
    precedes each value.

    Args:
        encoding: encoding of the stream that the text is written to.
    """
    answered = [(outcome.region, outcome.value) for outcome in outcomes if outcome.value is not None]
    parts = []
    for region, cached in answered:
        shown = json_for_people(cached.value, encoding) if cached.exists else "not in the cache"
        parts.append(shown if len(outcomes) == 1 else f"{region}: {shown}")
    # Rich must not fold the lines of the JSON text, because a line break inside of a string is not valid in JSON.
    return Text("\n".join(parts), no_wrap=True, overflow="ignore")


def value_fields(cached: CachedValue) -> dict[str, object]:
    """Return the fields of a value in the JSON document of `cache get`."""
    return {"key": cached.key, "found": cached.exists, "value": cached.value, "ttl_seconds": cached.ttl_seconds}


def pattern_lines(outcomes: list[RegionOutcome[PatternResult]]) -> Text:
    """Return a line for each region: how many keys were invalidated, and how quickly Redis answered a PING."""

    def describe(result: PatternResult) -> str:
        if result.dry_run:
            return f"{counted(result.matched, 'key')} would be invalidated"
        return (
            f"{counted(result.removed, 'key')} invalidated in {result.seconds:.2f} s; "
            f"latency of a PING meanwhile: p50 {result.probe_p50_ms:.2f} ms, p99 {result.probe_p99_ms:.2f} ms"
        )

    return lines(outcomes, describe)


def lines(outcomes: list[RegionOutcome[Any]], describe: Callable[[Any], str]) -> Text:
    """Return a line `<region>: <description>` for each region without an error.

    Args:
        describe: returns the description of a region's result.
    """
    shown = (printable(f"{item.region}: {describe(item.value)}") for item in outcomes if item.error is None)
    return Text("\n".join(shown))
