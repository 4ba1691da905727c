"""Limits the concurrent calls of one kind in a process, so that the process still answers other calls fast."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Final

from gameserver.functions.http import HttpError

_RETRY_AFTER_SECONDS: Final = (1, 3)
"""Shortest and longest time after which a refused client shall retry. The time is random, to spread the retries."""


class Admission:
    """Limits the calls that run and wait at the same time.

    A call runs in the body of `async with admission`. Waiting calls start in the order of their arrival.

    Args:
        at_once: largest number of calls that run at the same time.
        waiting: largest number of calls that wait, beyond which each further call is refused.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0

    async def __aenter__(self) -> None:
        """Wait until the call may start.

        Raises:
            HttpError: 503 `busy` if too many calls wait, with the seconds after which the client shall retry.
        """
        if self._inside >= self._most:
            seconds = random.randint(*_RETRY_AFTER_SECONDS)
            raise HttpError(
                503, "busy", "too many requests at the same time, try again shortly", retry_after_seconds=seconds
            )
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
