"""Keeps full garbage collections out of the time in which players play.

A full collection visits every object of every match. With 2,500 players a full collection stops the server for a tenth
of a second. By default Python runs a full collection whenever the number of new objects reaches a quarter of the old
ones. Players, matches and messages leave no cycles of references behind
(tests/integration/gameserver/server/test_garbage.py). A full collection in a game server only frees stray exceptions
and tasks.
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
    """Exclude all existing objects from garbage collection, and turn automatic full collections off.

    Automatic garbage collections of young objects continue.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


async def collect(idle: Callable[[], bool]) -> None:
    """Run a full collection each minute in which no player is connected, and at least once an hour, until cancelled.

    Args:
        idle: returns whether no player is connected.
    """
    collected_at = time.monotonic()
    while True:
        await asyncio.sleep(_ROUND_SECONDS)
        began = time.monotonic()
        if idle() or began - collected_at >= _PATIENCE_SECONDS:
            objects = gc.collect()
            collected_at = time.monotonic()
            if objects:
                log.info("garbage_collected", objects=objects, seconds=round(collected_at - began, 3))
