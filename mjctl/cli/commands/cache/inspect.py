"""`mjctl cache stats | hot | keys | get | ttl`."""

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

    A large cache is sampled, and the figures then say within what they are right 19 times out of 20.

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
    seconds: Annotated[int, typer.Option("--seconds", metavar="SECONDS", min=1, max=30, help="How long to watch.")] = 5,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", min=1, max=100, help="Keys at most, a region.")
    ] = 20,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Watch for some seconds which keys are read most.

    Reads that servers answer from their own memory do not count.

    Example: mjctl cache hot --seconds 10 --region us-east-1
    """
    from mjctl.cli.output.cache import hot_entry, hot_table
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.hot_keys(seconds=seconds, limit=limit))
    conclude(target.session, outcomes, hot_table(outcomes), hot_entry)
    for outcome in outcomes:
        if outcome.value is not None and outcome.value.missed_percent >= 1:
            missed = f"{outcome.region}: {outcome.value.missed_percent:.0f} % of the keys were not looked at"
            target.session.say(missed)


def keys(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Glob over <namespace>:<key>.")] = "*",
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", min=1, max=100_000, help="Keys at most, a region.")
    ] = 100,
    sizes: Annotated[bool, typer.Option("--sizes", help="Ask for each key's memory too.")] = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List keys by pattern, with the time each has left.

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
            target.session.say(f"{outcome.region}: there are more; raise --limit to see them")


def get(
    key: KeyArgument,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the value of one key as JSON.

    Not for a cache that only the ops function reaches.

    Example: mjctl cache get profile:3f2a --region us-east-1
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import value_text
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.value(*name))
    require_some(target, outcomes, key, lambda value: value.found)
    conclude(target.session, outcomes, value_text(outcomes, target.session.out.encoding))


def ttl(
    key: KeyArgument,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the seconds that one key has left.

    Example: mjctl cache ttl profile:3f2a
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.ttl(*name))
    require_some(target, outcomes, key, lambda value: value is not None)
    text = lines(outcomes, lambda left: "not there" if left is None else f"{left:.1f} s")
    conclude(target.session, outcomes, text, lambda left: {"key": key, "ttl_seconds": left})
