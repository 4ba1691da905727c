"""Helpers that several commands of `mjctl cache` use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mjctl.models.errors import NotFoundError

if TYPE_CHECKING:
    from mjctl.cache.model import Access
    from mjctl.cli.target import Target
    from mjctl.clients.regions import RegionOutcome


def say_skipped(target: Target, outcomes: list[RegionOutcome[Any]]) -> None:
    """Print on stderr how many keys and namespaces were skipped because a program other than the cache wrote them."""
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


def in_caches(target: Target, work: Callable[[Access], Awaitable[Any]]) -> list[RegionOutcome[Any]]:
    """Run `work` with the cache of each region. Returns the outcomes in the order of the regions."""
    from mjctl.cache.access import with_cache

    return target.in_each_region(lambda contract: with_cache(contract, work))


def require_some(target: Target, outcomes: list[RegionOutcome[Any]], key: str, is_there: Callable[[Any], bool]) -> None:
    """Check that the cache of at least one region contains `key`.

    Args:
        is_there: returns whether the result of a region means that the cache of the region contains `key`.

    Raises:
        NotFoundError: the caches of all regions answered, and none of the caches contains `key`.
    """
    if all(outcome.error is None and not is_there(outcome.value) for outcome in outcomes):
        raise NotFoundError(
            f"`{key}` is not in the cache", where=target.scope, hint="`mjctl cache keys` lists the keys of the cache"
        )
