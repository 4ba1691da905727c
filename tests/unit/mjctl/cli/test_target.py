"""Tests that every command takes the same options for its regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.cli.app import tree
from mjctl.cli.output.documents import failure
from mjctl.cli.session import OutputFormat, open_session
from mjctl.cli.target import Target, conclude
from mjctl.clients.regions import RegionOutcome
from mjctl.models.errors import MjctlError, NotFoundError, UnreachableError, UsageError

# Commands that work on exactly one region.
ONE_REGION = {"backup restore", "failover", "unlock"}


def commands(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    for name, command in getattr(tree, "commands", {}).items():
        yield from commands(command, (*path, name))
    if not hasattr(tree, "commands"):
        yield " ".join(path), {option for parameter in tree.params for option in parameter.opts}


def test_every_command_that_works_on_regions_has_the_option_all_regions() -> None:
    over_regions = {name: options for name, options in commands(tree()) if "--region" in options}
    assert {name for name, options in over_regions.items() if "--all-regions" not in options} == ONE_REGION
    assert {"health", "cache flush", "queue purge", "backup drill", "servers list"} <= set(over_regions)


def test_region_and_all_regions_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Target("local", ["us-east-1"], OutputFormat.TEXT, all_regions=True)


def test_the_error_document_has_the_error_of_each_region() -> None:
    silent = UnreachableError("Redis does not answer", where="us-east-1", hint="mjctl health --region us-east-1")
    missing = NotFoundError("no such key", where="eu-west-1")
    outcomes: list[RegionOutcome[str]] = [
        RegionOutcome("us-east-1", error=silent),
        RegionOutcome("eu-west-1", error=missing),
    ]
    with pytest.raises(UnreachableError) as raised:
        conclude(open_session(OutputFormat.JSON), outcomes, "")
    document = failure("cache get", "local", raised.value).model_dump()
    assert [(entry["region"], entry["error"]["what"]) for entry in document["regions"]] == [
        ("us-east-1", "Redis does not answer"),
        ("eu-west-1", "no such key"),
    ]
    assert document["error"] == document["regions"][0]["error"]


def test_an_error_before_the_first_region_has_no_regions() -> None:
    assert failure("cache get", "local", MjctlError("bad option")).regions == ()
