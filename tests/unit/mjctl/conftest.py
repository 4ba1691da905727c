"""A contract as the stack of a local region publishes it, in which a test can choose every address."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mjctl.models.contract import Contract
from tests import factories

MakeContract = Callable[..., Contract]


@pytest.fixture
def make_contract(tmp_path: Path) -> MakeContract:
    """Build a contract; keyword arguments replace whole parts, e.g. `cache={"url": "redis://127.0.0.1:1"}`."""
    return partial(factories.contract, folder=tmp_path)
