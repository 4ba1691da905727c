"""Which regions a command works on can be said the same way everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.cli.app import tree
from mjctl.cli.session import OutputFormat
from mjctl.cli.target import Target
from mjctl.models.errors import UsageError

# They work on exactly one region.
ONE_REGION = {"backup restore", "failover", "unlock"}


def commands(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    for name, command in getattr(tree, "commands", {}).items():
        yield from commands(command, (*path, name))
    if not hasattr(tree, "commands"):
        yield " ".join(path), {option for parameter in tree.params for option in parameter.opts}


def test_every_command_over_regions_takes_all_of_them() -> None:
    over_regions = {name: options for name, options in commands(tree()) if "--region" in options}
    assert {name for name, options in over_regions.items() if "--all-regions" not in options} == ONE_REGION
    assert {"health", "cache flush", "queue purge", "backup drill", "servers list"} <= set(over_regions)


def test_some_and_all_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Target("local", ["us-east-1"], OutputFormat.TEXT, all_regions=True)
