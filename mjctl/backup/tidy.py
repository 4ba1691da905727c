"""Tidying up that Ctrl-C cannot stop: a scratch copy of players' data, or half a backup, must not stay behind."""

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
    print(text, file=sys.stderr, flush=True)  # noqa: T201


async def tidy(work: Coroutine[Any, Any, T], what: str, *, leaves: str, say: Say = to_stderr) -> T:
    """Run `work` to its end, whatever interrupts the command meanwhile.

    `asyncio.shield` is not enough. The second SIGINT during `asyncio.run` raises KeyboardInterrupt inside the event
    loop, which then cancels every task, shielded or not:
    https://docs.python.org/3/library/asyncio-runner.html#handling-keyboard-interruption
    So SIGINT has a handler of ours until `work` has ended. SIGTERM counts as SIGINT (`mjctl.__main__`).

    Args:
        work: The tidying up. Its own time limits must bound it.
        what: What is being done, e.g. "removing the scratch copy drill-1".
        leaves: What a person who kills the command now must do later, e.g. "`mjctl backup discard drill-1` removes it".
        say: Shows a line to the user.

    Raises:
        asyncio.CancelledError: The command was interrupted meanwhile, and `work` has ended.
        Exception: What `work` raised.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def refuse() -> None:
        loop.call_soon_threadsafe(
            say, f"still {what}; this takes a moment. `kill -9 {os.getpid()}` ends mjctl at once; then {leaves}"
        )

    with _sigint_goes_to(refuse):
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            say(f"{what}; this takes a moment")
        interrupted = await was_cancelled_before_the_end_of(task)
    if interrupted:
        # The error of `work`, if there is one, says more than the interruption.
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        raise asyncio.CancelledError
    return task.result()


# Several regions tidy up at the same time. The first to begin takes SIGINT, the last to end gives it back.
_refusals: list[Callable[[], None]] = []
_handler_before: list[Any] = []


@contextmanager
def _sigint_goes_to(refuse: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set a handler, and only there does SIGINT raise anything.
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
