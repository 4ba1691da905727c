"""From a producer that pushes to an iterator that pulls, with a bound on what waits in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_AHEAD = 4


async def stream(produce: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]) -> AsyncGenerator[T, None]:
    """Yield what `produce(emit)` emits; its error is raised here, and it is cancelled when nobody pulls any more."""
    queue: asyncio.Queue[T] = asyncio.Queue(_AHEAD)
    producing = asyncio.ensure_future(produce(queue.put))
    try:
        while not producing.done():
            pulling = asyncio.ensure_future(queue.get())
            try:
                await asyncio.wait({pulling, producing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not pulling.done():
                    pulling.cancel()
            if pulling.done() and not pulling.cancelled():
                yield pulling.result()
            # A cancelled get leaves its item in the queue.
        while not queue.empty():
            yield queue.get_nowait()
        await producing
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; if the caller is cancelled, wait until `work` has ended before saying so.

    A write runs in a thread, which a cancellation does not stop. Whoever then removes what was written must not begin
    before the thread has ended, or an object appears after its removal.
    """
    task = asyncio.ensure_future(work)
    if await was_cancelled_before_the_end_of(task):
        if not task.cancelled():
            task.exception()  # Looked at, so that asyncio does not report it as lost.
        raise asyncio.CancelledError
    return task.result()


async def was_cancelled_before_the_end_of(task: asyncio.Future[Any]) -> bool:
    """Wait until `task` has ended, even if the caller is cancelled meanwhile.

    Returns:
        Whether the caller was cancelled. The caller must raise that cancellation after its own work.
    """
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


async def first_error(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; the first error cancels the rest and is raised as it is, not in a group."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
