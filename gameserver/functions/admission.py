"""Bounds how much of one kind of work a process takes on, so that everything else it does stays quick."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Final

from gameserver.functions.http import HttpError

_RETRY_AFTER_SECONDS: Final = (1, 3)
"""Spread, or everybody who was turned away would come back at once."""


class Admission:
    """An async context for one call; calls come in in the order in which they asked.

    Args:
        at_once: calls under way.
        waiting: calls that wait for their turn; further ones are turned away.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0

    async def __aenter__(self) -> None:
        """Raises: ApiError: 503 `busy` with the seconds to wait."""
        if self._inside >= self._most:
            seconds = random.randint(*_RETRY_AFTER_SECONDS)
            raise HttpError(503, "busy", "too many players ask for this at once", retry_after_seconds=seconds)
        self._inside += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._inside -= 1
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
        self._slots.release()
