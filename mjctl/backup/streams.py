"""Provides helpers for asyncio: iterators over pushed items, and waits that a cancellation does not end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_AHEAD = 4


async def stream(produce: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]) -> AsyncGenerator[T, None]:
    """Yield the items that `produce(emit)` emits. Up to four emitted items wait for the consumer.

    If `produce` raises an error, the iterator raises the error too. `produce` is cancelled when the consumer
    closes the iterator.
    """
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
            # The cancellation of `queue.get()` loses no item: the next round of the loop gets the item from the queue.
        while not queue.empty():
            yield queue.get_nowait()
        await producing
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end, even if the caller is cancelled.

    The function raises the caller's cancellation only after `work` has ended.

    A write to an object store runs in a thread, and a cancellation does not stop a thread. Code that removes the
    written objects after a cancellation must wait for the threads that write objects, or a thread would store an object
    after the removal.
    """
    task = asyncio.ensure_future(work)
    if await was_cancelled_before_the_end_of(task):
        if not task.cancelled():
            task.exception()  # Read the exception, so that asyncio does not log "Task exception was never retrieved".
        raise asyncio.CancelledError
    return task.result()


async def was_cancelled_before_the_end_of(task: asyncio.Future[Any]) -> bool:
    """Wait until `task` has ended, even if the caller is cancelled during the wait.

    Returns:
        True if the caller was cancelled; the caller must then raise asyncio.CancelledError.
    """
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


async def first_error(work: Sequence[Awaitable[T]]) -> list[T]:
    """Await all of `work` at the same time, and return the results in the order of `work`.

    The first error cancels the remaining work. The function raises the first error itself, not an ExceptionGroup.
    """
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
