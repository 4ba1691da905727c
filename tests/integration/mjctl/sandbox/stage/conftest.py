"""Puts the tests of the stage into the infrastructure suite. A machine that cannot run a stage skips the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mjctl.sandbox.stage import names
from tests.tiny_game import TinyCluster, running_cluster

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder. pytest calls this function with the tests in all folders."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.infra)


@pytest.fixture(scope="session", autouse=True)
def _stage_is_possible() -> None:
    if reason := names.obstacle():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyCluster]:
    """Return an ECS cluster on a stage, which the tests of a file share."""
    with running_cluster(tmp_path_factory.mktemp("stage")) as running:
        yield running
