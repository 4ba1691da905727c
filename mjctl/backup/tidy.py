"""Runs clean-up work that Ctrl-C cannot stop: removing a scratch copy of players' data, or an unfinished backup."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mjctl.backup.streams import was_cancelled_before_the_end_of

T = TypeVar("T")
Say = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


async def tidy(work: Coroutine[Any, Any, T], what: str, *, leaves: str, say: Say = to_stderr) -> T:
    """Run the clean-up `work` to its end, even if the operator interrupts the command.

    `asyncio.shield` does not protect the clean-up. The second SIGINT during `asyncio.run` raises KeyboardInterrupt
    inside the event loop, and the loop then cancels all tasks, with or without a shield
    (https://docs.python.org/3/library/asyncio-runner.html#handling-keyboard-interruption). A handler of this module
    receives SIGINT until `work` has ended. SIGTERM counts as SIGINT (`mjctl.__main__`).

    Args:
        work: the clean-up. The clean-up must have its own time limits, because the operator cannot interrupt it.
        what: the clean-up in words, for example "removing the scratch copy drill-1".
        leaves: a sentence that says how to finish the clean-up after `kill -9`, for example "`mjctl backup discard
            drill-1` removes the copy".
        say: the function that shows a line to the operator.

    Raises:
        asyncio.CancelledError: the command was interrupted, and `work` has ended.
        Exception: `work` raised this error.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def refuse() -> None:
        loop.call_soon_threadsafe(
            say, f"still {what}; please wait. `kill -9 {os.getpid()}` stops mjctl at once; afterwards {leaves}"
        )

    with _sigint_goes_to(refuse):
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            say(f"{what}; please wait")
        interrupted = await was_cancelled_before_the_end_of(task)
    if interrupted:
        # If `work` failed, raise the error of `work`, which is more useful to the operator than the interruption.
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        raise asyncio.CancelledError
    return task.result()


# Several regions can clean up at the same time. The first clean-up installs `_on_sigint` as the handler of SIGINT, and
# the last clean-up restores the earlier handler.
_refusals: list[Callable[[], None]] = []
_handler_before: list[Any] = []


@contextmanager
def _sigint_goes_to(refuse: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # A clean-up outside of the main thread installs no handler of SIGINT, because SIGINT interrupts only the main
        # thread. Only the main thread of a Python program can install signal handlers.
        yield
        return
    if not _refusals:
        _handler_before[:] = [signal.signal(signal.SIGINT, _on_sigint)]
    _refusals.append(refuse)
    try:
        yield
    finally:
        _refusals.remove(refuse)
        if not _refusals:
            signal.signal(signal.SIGINT, _handler_before.pop())


def _on_sigint(*_: object) -> None:
    for refuse in _refusals:
        refuse()
