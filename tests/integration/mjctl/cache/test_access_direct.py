"""A cache that is reached straight."""

from __future__ import annotations

import pytest

from mjctl.cache.access import with_cache
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError


async def test_a_redis_that_is_down_is_named(without_cache: Contract) -> None:
    with pytest.raises(UnreachableError) as down:
        await with_cache(without_cache, lambda opened: opened.stats())
    assert "redis://127.0.0.1:1/0" in str(down.value)
    assert "mjctl health" in (down.value.hint or "")
