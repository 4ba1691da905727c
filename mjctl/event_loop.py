"""Runs coroutines to their ends, so that Ctrl-C stops a coroutine cleanly at any moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run a coroutine in a new event loop, and return its result.

    At Ctrl-C, `asyncio.run` cancels a coroutine that has begun. A Ctrl-C during the creation of the event loop would
    leave half of the loop, about which Python prints a traceback. SIGINT therefore waits until the coroutine begins.

    Args:
        work: the coroutine.
        loop_factory: makes the event loop; by default the loop of asyncio.

    Raises:
        KeyboardInterrupt: SIGINT has come, and the coroutine has ended after its cancellation.
    """
    allowed = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    async def begin() -> T:
        signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
        return await work

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(begin())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
