"""When Python looks for garbage that only cycles of references keep alive: not in the middle of play.

A full look goes over every object of every match. With 2,500 players it stops the server for a tenth of a second, and
left to itself Python takes one whenever a quarter more objects have come. Players, matches and messages leave no cycles
behind (tests/integration/gameserver/server/test_garbage.py), so it is for stray exceptions and tasks only.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

_ROUND_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 3600.0
_NEVER: Final = 2**31 - 1


def freeze_startup_objects() -> None:
    """From now on only what has just been made is looked at unasked. What is there already stays for good."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


async def collect(idle: Callable[[], bool]) -> None:
    """Look at everything when nobody plays, and at the latest after an hour; for ever."""
    looked_at = time.monotonic()
    while True:
        await asyncio.sleep(_ROUND_SECONDS)
        began = time.monotonic()
        if idle() or began - looked_at >= _PATIENCE_SECONDS:
            found = gc.collect()
            looked_at = time.monotonic()
            if found:
                log.info("garbage_collected", objects=found, seconds=round(looked_at - began, 3))
