"""The emulated AWS of one region: ministack in this process, with its state saved while it runs.

By itself it saves on an orderly end only; a region must come back from SIGKILL with its players and tables. The
environment (see `programs.py`) must be set before ministack is imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAVE_SECONDS = 1.0
# Saving copies the state on the event loop; it may take this share of the time.
_SAVE_SHARE = 0.05
_LARGE = "dynamodb"
_LARGE_TARGET = b"DynamoDB_"
_READING = (
    b"BatchGet",
    b"Decrypt",
    b"Describe",
    b"Encrypt",
    b"GenerateDataKey",
    b"Get",
    b"List",
    b"Query",
    b"ReceiveMessage",
    b"Scan",
)

logger = logging.getLogger("mjctl.local.emulator")


class ChangeTracker:
    """ASGI wrapper that notes which state a request can have changed: the tables', or that of all other services."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.tables_changed = False
        self.others_changed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)
        if scope["type"] == "http" and scope["method"] != "GET":
            self._note(dict(scope["headers"]).get(b"x-amz-target", b""))

    def _note(self, target: bytes) -> None:
        service, _, action = target.partition(b".")
        if action.startswith(_READING):
            return
        if service.startswith(_LARGE_TARGET):
            self.tables_changed = True
        else:
            self.others_changed = True


async def save_changes(tracker: ChangeTracker) -> None:
    """Save what has changed, about every second, for ever."""
    from ministack.app import _build_persistence_save_dict
    from ministack.core.persistence import save_state

    pause = _SAVE_SECONDS
    while True:
        await asyncio.sleep(pause)
        tables, others = tracker.tables_changed, tracker.others_changed
        tracker.tables_changed = tracker.others_changed = False
        began = time.monotonic()
        wanted = {
            name: get_state
            for name, get_state in _build_persistence_save_dict().items()
            if (tables if name == _LARGE else others)
        }
        states, missed = _copies(wanted)
        tracker.tables_changed |= _LARGE in missed
        tracker.others_changed |= bool(missed - {_LARGE})
        pause = max(_SAVE_SECONDS, (time.monotonic() - began) / _SAVE_SHARE)
        for name, state in states.items():
            await asyncio.to_thread(save_state, name, state)


def _copies(wanted: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], set[str]]:
    """The states that could be copied, and the names of those that could not this time.

    ministack's worker threads change them meanwhile, which ends a copy with `dictionary changed size during iteration`.
    """
    states, missed = {}, set()
    for name, get_state in wanted.items():
        try:
            state = get_state()
        except RuntimeError:
            missed.add(name)
            continue
        if state is not None:
            states[name] = state
    return states, missed


async def serve(port: int) -> None:
    """Serve on 127.0.0.1:`port` until SIGTERM or SIGINT."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tracker = ChangeTracker(app)
    saving = asyncio.create_task(save_changes(tracker))
    saving.add_done_callback(lambda task: _report(task, stopping))
    await hypercorn_serve(tracker, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]
    saving.cancel()


def _report(task: asyncio.Task[None], stopping: asyncio.Event) -> None:
    """Without saving the emulator must not go on: end, and be started again."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("saving the state failed", exc_info=task.exception())
        stopping.set()


def main() -> int:
    asyncio.run(serve(int(os.environ["GATEWAY_PORT"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
