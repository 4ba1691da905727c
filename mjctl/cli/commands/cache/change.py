"""`mjctl cache expire | invalidate | flush`."""

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
    from mjctl.cli.target import Target, conclude

    name = split_name(key)
    target = Target(env, region, output, all_regions=all_regions)
    outcomes = in_caches(target, lambda cache: cache.expire(*name, seconds))
    require_some(target, outcomes, key, bool)
    text = lines(outcomes, lambda found: f"expires in {seconds:g} s" if found else "not there")
    conclude(target.session, outcomes, text, lambda found: {"key": key, "found": found})


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
    from mjctl.cli.target import Target, conclude

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
        spaces = in_caches(target, lambda cache: invalidate_namespace(cache, namespace, dry_run=dry_run))
        conclude(target.session, spaces, lines(spaces, lambda done: f"{counted(done.keys, 'key')} {word}"))
        return
    name = key or ""
    singles = in_caches(target, lambda cache: invalidate_key(cache, *split_name(name), dry_run=dry_run))
    conclude(
        target.session,
        singles,
        lines(singles, lambda found: word if found else "was not there"),
        lambda found: {"key": name, "found": found, "dry_run": dry_run},
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
    """Empty the whole cache.

    Matches, leases and the other volatile state of the game stay.

    Example: mjctl cache flush --region us-east-1 --dry-run
    """
    from mjctl.cache import access
    from mjctl.cli.output.cache import lines
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if not dry_run:
        target.session.confirm(
            f"Flush the whole cache of {target.scope}?",
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
    """One line of progress for each region, and the token with which an interrupted sweep goes on."""

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
        """Return the callback for one region's sweep."""
        show = self._display.gauge(f"{self._word} {region}")

        def on_progress(progress: SweepProgress) -> None:
            self._last[region] = progress
            show(progress.scanned, progress.total or None)

        return on_progress

    def say_how_to_resume(self) -> None:
        for region, progress in self._last.items():
            self._target.session.say(
                f"{region}: stopped after {progress.removed} keys; the rest: --resume {progress.resume_token}"
            )
