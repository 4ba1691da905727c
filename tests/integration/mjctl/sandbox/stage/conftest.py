"""Puts the tests of the stage into the infrastructure suite. A machine that cannot run a stage skips the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.sandbox.stage import names

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
