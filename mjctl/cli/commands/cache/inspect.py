"""`mjctl cache stats`, `hot`, `keys`, `get` and `ttl`: the commands that only read the cache."""

from __future__ import annotations

from typing import Annotated

import typer

from mjctl.cli.commands.cache.common import in_caches, require_some, say_skipped
from mjctl.cli.options import (
    EnvOption,
    EveryRegionOption,
    KeyArgument,
    OutputOption,
    RegionOption,
)
from mjctl.cli.session import OutputFormat


def stats(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show memory, hit ratio, namespaces and the largest keys.

    If Redis contains more than 20,000 keys, the command estimates the figures of the namespaces from a sample of the
    keys. An estimated memory is shown with its margin of error, at a confidence of 95 %.

    Example: mjctl cache stats --region us-east-1
    """
    from mjctl.cli.output.cache import stats_entry, stats_tables
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.stats())
    say_skipped(target, outcomes)
    conclude(target.session, outcomes, stats_tables(outcomes), stats_entry)


def hot(
    *,
    seconds: Annotated[
        int,
        typer.Option(
            "--seconds",
            metavar="SECONDS",
            min=1,
            max=30,
            help="Seconds for which the reads are observed. If Redis has an LFU eviction policy, it has counted the "
            "reads already, and the command does not wait.",
        ),
    ] = 5,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="COUNT", min=1, max=100, help="Number of keys to show at most for each region."
        ),
    ] = 20,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the keys that servers read most, observed for some seconds.

    Reads that a server answers from its near-cache do not reach Redis, so they do not count.

    Example: mjctl cache hot --seconds 10 --region us-east-1
    """
    from mjctl.cli.output.cache import hot_entry, hot_table
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.hot_keys(seconds=seconds, limit=limit))
    conclude(target.session, outcomes, hot_table(outcomes), hot_entry)
    for outcome in outcomes:
        if outcome.value is not None and outcome.value.missed_percent >= 1:
            missed = f"{outcome.region}: {outcome.value.missed_percent:.0f} % of the keys in Redis were not examined"
            target.session.say(missed)


def keys(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="Glob that <namespace>:<key> must match, such as 'profile:*'.")
    ] = "*",
    *,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="COUNT", min=1, max=100_000, help="Number of keys to list at most for each region."
        ),
    ] = 100,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also show the memory of each key, which makes the command slower.")
    ] = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the keys that match a pattern, with their time to live.

    Example: mjctl cache keys 'profile:*' --limit 20 --sizes
    """
    from mjctl.cli.output.cache import key_table
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.list_keys(pattern, limit=limit, sizes=sizes))
    say_skipped(target, outcomes)
    conclude(target.session, outcomes, key_table(outcomes, sizes))
    for outcome in outcomes:
        if outcome.value is not None and outcome.value.truncated:
            target.session.say(f"{outcome.region}: the list ends at --limit {limit}; raise --limit to see more keys")


def get(
    key: KeyArgument,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the value of a key as JSON.

    On AWS the command fails, because only the ops function can reach the cache, and the ops function returns no values.

    Example: mjctl cache get profile:3f2a --region us-east-1
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import value_fields, value_text
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.value(*name))
    require_some(target, outcomes, key, lambda value: value.exists)
    conclude(target.session, outcomes, value_text(outcomes, target.session.out.encoding), fields=value_fields)


def ttl(
    key: KeyArgument,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the seconds until a key expires.

    Example: mjctl cache ttl profile:3f2a
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.ttl(*name))
    require_some(target, outcomes, key, lambda value: value is not None)
    text = lines(outcomes, lambda left: "not in the cache" if left is None else f"{left:.1f} s")
    conclude(target.session, outcomes, text, lambda left: {"key": key, "ttl_seconds": left})
