"""Tests a cache that mjctl accesses by a connection to Redis."""

from __future__ import annotations

import pytest

from mjctl.cache.access import with_cache
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError


async def test_the_error_names_the_address_of_a_redis_that_does_not_answer(without_cache: Contract) -> None:
    with pytest.raises(UnreachableError) as down:
        await with_cache(without_cache, lambda opened: opened.stats())
    assert "redis://127.0.0.1:1/0" in str(down.value)
    assert "mjctl health" in (down.value.hint or "")
