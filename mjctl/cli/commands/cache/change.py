"""`mjctl cache expire`, `invalidate` and `flush`: the commands that change the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.commands.cache.common import in_caches, require_some, say_skipped
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
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    from gameserver.cache import PatternResult, SweepProgress
    from mjctl.cache.model import FlushResult
    from mjctl.cli.target import Target
    from mjctl.models.contract import Contract


def expire(
    key: KeyArgument,
    seconds: Annotated[
        float, typer.Argument(metavar="SECONDS", min=0.001, help="Seconds until the key expires, from now on.")
    ],
    *,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Set the time to live of a key.

    The command asks for no confirmation. After SECONDS, the key is no longer in the cache.

    Example: mjctl cache expire profile:3f2a 30
    """
    from mjctl.cache.model import split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.expire(*name, seconds))
    require_some(target, outcomes, key, bool)
    text = lines(outcomes, lambda exists: f"expires in {seconds:g} s" if exists else "not in the cache")
    conclude(target.session, outcomes, text, lambda exists: {"key": key, "found": exists})


def invalidate(
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Key to invalidate: <namespace>:<key>, such as profile:3f2a.")
    ] = None,
    *,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern", "-p", metavar="GLOB", help="Invalidate every key that this glob matches, such as 'profile:*'."
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            metavar="NAMESPACE",
            help="Invalidate all keys of this namespace in one step, which is equally fast for any number of keys.",
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
            help="Largest number of keys that --pattern invalidates in a second. Default: no limit, but the command "
            "slows down when Redis answers slowly.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="TOKEN",
            help="Continue an interrupted command with --pattern, from the token that the interrupted command printed.",
        ),
    ] = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Invalidate a key, a namespace, or all keys that match a glob.

    After the command, no server answers with an invalidated value. The command asks for confirmation only if the
    pattern matches every key of the cache.

    Ctrl-C stops a command with --pattern within seconds. A command with --pattern that Ctrl-C stopped prints a token,
    from which --resume TOKEN continues the invalidation.

    Example: mjctl cache invalidate --pattern 'profile:*' --region us-east-1 --dry-run
    """
    from mjctl.cache.access import invalidate_key, invalidate_namespace
    from mjctl.cache.model import matches_everything, split_name
    from mjctl.cli.output.cache import lines
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude

    if sum(choice is not None for choice in (key, pattern, namespace)) != 1:
        raise UsageError(
            "give exactly one of KEY, --pattern and --namespace",
            hint="for example `mjctl cache invalidate profile:3f2a --region us-east-1`",
        )
    if resume is not None and (pattern is None or len(region or ()) != 1):
        raise UsageError(
            "--resume needs --pattern and exactly one --region",
            hint="repeat --pattern and --region of the interrupted command",
        )
    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if pattern is not None:
        if matches_everything(pattern) and not dry_run:
            target.session.confirm(
                f"The pattern `{pattern}` matches every key. Invalidate the whole cache of {target.scope}?", yes=yes
            )
        _invalidate_pattern(target, pattern, dry_run, max_keys_per_second, resume)
        return
    word = "would be invalidated" if dry_run else "invalidated"
    if namespace is not None:
        spaces = in_caches(target, lambda cache: invalidate_namespace(cache, namespace, dry_run=dry_run))
        conclude(target.session, spaces, lines(spaces, lambda done: f"{counted(done.keys, 'key')} {word}"))
        return
    name = key or ""
    singles = in_caches(target, lambda cache: invalidate_key(cache, *split_name(name), dry_run=dry_run))
    conclude(
        target.session,
        singles,
        lines(singles, lambda exists: word if exists else "was not in the cache"),
        lambda exists: {"key": name, "found": exists, "dry_run": dry_run},
    )


def flush(
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove every key of the cache.

    The command asks for confirmation first. If the environment stores players' data, the operator must type the
    environment's name.

    The command does not remove matches, leases and the other state of the game from Redis.

    Example: mjctl cache flush --region us-east-1 --dry-run
    """
    from mjctl.cache import access
    from mjctl.cli.output.cache import lines
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if not dry_run:
        target.session.confirm(
            f"Remove every key of the cache of {target.scope}?",
            yes=yes,
            name=target.environment.name if target.environment.stores_players_data else None,
        )
    with _Sweeps(target, "flushing") as progress:

        async def in_region(contract: Contract) -> FlushResult:
            async with access.open_cache(contract) as cache:
                return await access.flush(cache, dry_run=dry_run, on_progress=progress.of(contract.region))

        outcomes = target.in_each_region(in_region)
    word = "would be removed" if dry_run else "removed"
    say_skipped(target, outcomes)
    conclude(
        target.session,
        outcomes,
        lines(outcomes, lambda result: f"{counted(result.keys, 'key')} {word}"),
        lambda result: {**asdict(result), "dry_run": dry_run},
    )


def _invalidate_pattern(
    target: Target, pattern: str, dry_run: bool, max_keys_per_second: float | None, resume: str | None
) -> None:
    from mjctl.cache.access import open_cache
    from mjctl.cli.output.cache import pattern_lines
    from mjctl.cli.target import conclude

    with _Sweeps(target, "counting" if dry_run else "invalidating") as progress:

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
            progress.say_how_to_resume()
            raise
    say_skipped(target, outcomes)
    conclude(target.session, outcomes, pattern_lines(outcomes))


class _Sweeps:
    """Shows the progress of a flush or of an invalidation by pattern, and keeps the newest tokens for --resume."""

    def __init__(self, target: Target, word: str) -> None:
        self._target = target
        self._display = target.session.progress()
        self._word = word
        self._last: dict[str, SweepProgress] = {}

    def __enter__(self) -> _Sweeps:
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def of(self, region: str) -> Callable[[SweepProgress], None]:
        """Return a callback that shows the progress in `region`, and keeps the newest token for --resume."""
        show = self._display.gauge(f"{self._word} {region}")

        def on_progress(progress: SweepProgress) -> None:
            self._last[region] = progress
            show(progress.scanned, progress.total or None)

        return on_progress

    def say_how_to_resume(self) -> None:
        """Print for each region how many keys were invalidated, and the --resume option that continues the work."""
        for region, progress in self._last.items():
            self._target.session.say(
                f"{region}: stopped after {progress.removed} keys; repeat the command with --resume "
                f"{progress.resume_token} to continue"
            )
