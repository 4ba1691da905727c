"""`mjctl cache`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import (
    DryRunOption,
    EnvOption,
    EveryRegionOption,
    KeyArgument,
    NamedRegionsOption,
    OutputOption,
    RegionOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat
from mjctl.models.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from gameserver.cache import PatternResult, SweepProgress
    from mjctl.cache.model import Access, FlushResult
    from mjctl.cli.target import Target
    from mjctl.clients.regions import RegionOutcome
    from mjctl.models.contract import Contract

app = CommandGroup(no_args_is_help=True, help="Inspect, invalidate or flush the distributed cache.")


@app.command()
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
    from mjctl.cli.output.cache import stats_document, stats_tables
    from mjctl.cli.target import Target, conclude, regions_document

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = _in_caches(target, lambda cache: cache.stats())
    _say_skipped(target, outcomes)
    conclude(target.session, outcomes, stats_tables(outcomes), regions_document(outcomes, stats_document))


@app.command()
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
    from mjctl.cli.output.cache import hot_document, hot_table
    from mjctl.cli.target import Target, conclude, regions_document

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = _in_caches(target, lambda cache: cache.hot_keys(seconds=seconds, limit=limit))
    conclude(target.session, outcomes, hot_table(outcomes), regions_document(outcomes, hot_document))
    for outcome in outcomes:
        if outcome.value is not None and outcome.value.missed_percent >= 1:
            missed = f"{outcome.region}: {outcome.value.missed_percent:.0f} % of the keys were not looked at"
            target.session.say(missed)


@app.command()
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
    outcomes = _in_caches(target, lambda cache: cache.list_keys(pattern, limit=limit, sizes=sizes))
    _say_skipped(target, outcomes)
    conclude(target.session, outcomes, key_table(outcomes, sizes))
    for outcome in outcomes:
        if outcome.value is not None and outcome.value.truncated:
            target.session.say(f"{outcome.region}: there are more; raise --limit to see them")


@app.command()
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
    outcomes = _in_caches(target, lambda cache: cache.value(*name))
    _require_some(target, outcomes, key, lambda value: value.found)
    conclude(target.session, outcomes, value_text(outcomes, target.session.out.encoding))


@app.command()
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
    from mjctl.cli.target import Target, conclude, regions_document

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = _in_caches(target, lambda cache: cache.ttl(*name))
    _require_some(target, outcomes, key, lambda value: value is not None)
    text = lines(outcomes, lambda left: "not there" if left is None else f"{left:.1f} s")
    conclude(target.session, outcomes, text, regions_document(outcomes, lambda left: {"key": key, "ttl_seconds": left}))


@app.command()
def expire(
    key: KeyArgument,
    seconds: Annotated[float, typer.Argument(metavar="SECONDS", min=0.001, help="Seconds it shall have left.")],
    *,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Set how long one key has left.

    Example: mjctl cache expire profile:3f2a 30
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.target import Target, conclude, regions_document

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = _in_caches(target, lambda cache: cache.expire(*name, seconds))
    _require_some(target, outcomes, key, bool)
    text = lines(outcomes, lambda found: f"expires in {seconds:g} s" if found else "not there")
    conclude(target.session, outcomes, text, regions_document(outcomes, lambda found: {"key": key, "found": found}))


@app.command()
def invalidate(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="One key: <namespace>:<key>.")] = None,
    *,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", "-p", metavar="GLOB", help="Every key that fits a glob, e.g. 'profile:*'."),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", metavar="NAMESPACE", help="Everything in a namespace, in one step however large it is."
        ),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    max_keys_per_second: Annotated[
        float | None,
        typer.Option(
            "--max-keys-per-second",
            metavar="NUMBER",
            min=1,
            help="Pace limit; without it only the latency it causes slows it down.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="TOKEN", help="Token printed when a --pattern run was interrupted."),
    ] = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Invalidate one key, a pattern or a namespace.

    Afterwards no server answers with an old value.

    A pattern may be interrupted: it stops within seconds and prints the token with which --resume goes on.

    Example: mjctl cache invalidate --pattern 'profile:*' --region us-east-1 --dry-run
    """
    from mjctl.cache.access import invalidate_key, invalidate_namespace
    from mjctl.cache.model import matches_everything, split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude, regions_document

    if sum(choice is not None for choice in (key, pattern, namespace)) != 1:
        raise UsageError("give exactly one of KEY, --pattern and --namespace")
    if resume is not None and (pattern is None or len(region or ()) != 1):
        raise UsageError("--resume goes with --pattern and one --region: those of the run that was interrupted")
    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if pattern is not None:
        if matches_everything(pattern) and not dry_run:
            target.session.confirm(f"`{pattern}` is the whole cache of {target.scope}. Invalidate it?", yes=yes)
        _invalidate_pattern(target, pattern, dry_run, max_keys_per_second, resume)
        return
    word = "would be invalidated" if dry_run else "invalidated"
    if namespace is not None:
        spaces = _in_caches(target, lambda cache: invalidate_namespace(cache, namespace, dry_run=dry_run))
        conclude(target.session, spaces, lines(spaces, lambda done: f"{counted(done.keys, 'key')} {word}"))
        return
    name = key or ""
    singles = _in_caches(target, lambda cache: invalidate_key(cache, *split_name(name), dry_run=dry_run))
    document = regions_document(singles, lambda found: {"key": name, "found": found, "dry_run": dry_run})
    conclude(target.session, singles, lines(singles, lambda found: word if found else "was not there"), document)


@app.command()
def flush(
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Empty the whole cache.

    Matches, leases and the other volatile state of the game stay.

    Example: mjctl cache flush --region us-east-1 --dry-run
    """
    from mjctl.cache import access
    from mjctl.cli.output.cache import lines
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude, regions_document

    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if not dry_run:
        target.session.confirm(
            f"Flush the whole cache of {target.scope}?",
            yes=yes,
            name=target.environment.name if target.environment.stores_players_data else None,
        )
    with _Progress(target, "flushing") as progress:

        async def in_region(contract: Contract) -> FlushResult:
            async with access.open_cache(contract) as cache:
                return await access.flush(cache, dry_run=dry_run, on_progress=progress.of(contract.region))

        outcomes = target.in_each_region(in_region)
    word = "would be removed" if dry_run else "removed"
    document = regions_document(outcomes, lambda result: {**asdict(result), "dry_run": dry_run})
    _say_skipped(target, outcomes)
    conclude(
        target.session, outcomes, lines(outcomes, lambda result: f"{counted(result.keys, 'key')} {word}"), document
    )


def _say_skipped(target: Target, outcomes: list[RegionOutcome[Any]]) -> None:
    """Say on stderr what a region's Redis holds under the cache's names that the cache did not write."""
    from mjctl.cli.output.tables import counted

    for outcome in outcomes:
        foreign = [
            counted(count, thing)
            for thing, count in (
                ("key", getattr(outcome.value, "foreign_keys", 0)),
                ("namespace", getattr(outcome.value, "foreign_namespaces", 0)),
            )
            if count
        ]
        if foreign:
            target.session.say(f"{outcome.region}: skipped {' and '.join(foreign)} that the cache did not write")


def _invalidate_pattern(
    target: Target, pattern: str, dry_run: bool, max_keys_per_second: float | None, resume: str | None
) -> None:
    from mjctl.cache.access import open_cache
    from mjctl.cli.output.cache import pattern_lines
    from mjctl.cli.target import conclude

    with _Progress(target, "counting" if dry_run else "invalidating") as progress:

        async def in_region(contract: Contract) -> PatternResult:
            async with open_cache(contract) as cache:
                return await cache.invalidate_pattern(
                    pattern,
                    dry_run=dry_run,
                    max_keys_per_second=max_keys_per_second,
                    resume_token=resume,
                    on_progress=progress.of(contract.region),
                )

        try:
            outcomes = target.in_each_region(in_region)
        except KeyboardInterrupt:
            progress.tell_how_to_resume()
            raise
    _say_skipped(target, outcomes)
    conclude(target.session, outcomes, pattern_lines(outcomes))


def _in_caches(target: Target, work: Callable[[Access], Awaitable[Any]]) -> list[RegionOutcome[Any]]:
    """Do `work` with the cache of each region."""
    from mjctl.cache.access import with_cache

    return target.in_each_region(lambda contract: with_cache(contract, work))


def _require_some(
    target: Target, outcomes: list[RegionOutcome[Any]], key: str, is_there: Callable[[Any], bool]
) -> None:
    """Raises NotFoundError when every region answered and none has the key."""
    if all(outcome.error is None and not is_there(outcome.value) for outcome in outcomes):
        raise NotFoundError(
            f"`{key}` is not in the cache", where=target.scope, hint="`mjctl cache keys` lists what is there"
        )


class _Progress:
    """One bar a region on stderr, and what is needed to go on after an interruption."""

    def __init__(self, target: Target, word: str) -> None:
        self._target = target
        self._bars = target.session.progress()
        self._word = word
        self._last: dict[str, SweepProgress] = {}

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def of(self, region: str) -> Callable[[SweepProgress], None]:
        """The callback for one region's sweep."""
        bar = self._bars.add_task(f"{self._word} {region}", total=None)

        def heard(progress: SweepProgress) -> None:
            self._last[region] = progress
            self._bars.update(bar, completed=progress.scanned, total=progress.total or None)

        return heard

    def tell_how_to_resume(self) -> None:
        for region, progress in self._last.items():
            self._target.session.say(
                f"{region}: stopped after {progress.removed} keys; the rest: --resume {progress.resume_token}"
            )
