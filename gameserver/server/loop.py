"""The event loop of a game server: uvloop with a faster way to read from thousands of sockets."""

from __future__ import annotations

import functools
import select
from collections.abc import Callable
from typing import Any, Final

import uvloop

_AT_ONCE: Final = 256
"""Largest number of sockets that are read in one turn of the loop, so that timers and other callbacks do not wait for
more reads."""


class GameLoop(uvloop.Loop):
    """Watches all sockets of `add_reader` in a single epoll set, which libuv sees as one file descriptor.

    For each readable socket libuv takes the GIL, enters a context and runs a handle, which costs more than reading the
    20 bytes of an input. `GameLoop` takes the GIL and runs a handle only once for up to 256 readable sockets.
    `GameLoop` calls readers without a context, and a reader must handle its exceptions, as picows' transports do.
    `GameLoop` needs Linux.

    After `hold` the loop does not watch a socket, and the caller of `hold` calls the socket's reader to read the
    messages that have arrived.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._held: set[int] = set()
        super().add_reader(self._epoll.fileno(), self._read_ready)

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Call `callback(*args)` whenever `fd`, a socket or a descriptor, is readable.

        If `fd` already has a reader, `callback` replaces it.
        """
        number = _number(fd)
        watched = number in self._readers
        self._readers[number] = functools.partial(callback, *args) if args else callback
        if not watched:
            self._epoll.register(number, select.EPOLLIN)

    def remove_reader(self, fd: Any) -> bool:  # type: ignore[override]  # uvloop's stub says None, asyncio's bool
        """Stop watching `fd`. Returns False if `fd` has no reader."""
        number = _number(fd)
        if self._readers.pop(number, None) is None:
            return False
        if number in self._held:
            self._held.remove(number)
        else:
            self._epoll.unregister(number)
        return True

    def hold(self, fd: int) -> Callable[[], object] | None:
        """Stop watching `fd`.

        Returns:
            The reader of `fd`, which the holder calls to read; None if `fd` has no reader.
        """
        reader = self._readers.get(fd)
        if reader is not None and fd not in self._held:
            self._held.add(fd)
            self._epoll.unregister(fd)
        return reader

    def release(self, fd: int) -> None:
        """Watch `fd` again, if it is held."""
        if fd in self._held:
            self._held.remove(fd)
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Close the loop and its epoll set."""
        if not self.is_closed():
            super().remove_reader(self._epoll.fileno())
            self._epoll.close()
        super().close()

    def _read_ready(self) -> None:
        readers = self._readers
        for number, _ in self._epoll.poll(0, _AT_ONCE):
            # An earlier reader of the same turn of the event loop may have removed the reader of a later socket.
            if number in readers:
                readers[number]()


def new_event_loop() -> uvloop.Loop:
    """Return a new `GameLoop`, or uvloop's own loop on a system without epoll."""
    return GameLoop() if hasattr(select, "epoll") else uvloop.new_event_loop()


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
