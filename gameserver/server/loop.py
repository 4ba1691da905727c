"""The event loop of a game server: uvloop, with one difference for the thousands of sockets that it reads from."""

from __future__ import annotations

import functools
import select
from collections.abc import Callable
from typing import Any, Final

import uvloop

_AT_ONCE: Final = 256
"""Sockets read in one turn of the loop: timers and everything else wait for at most so many."""


class GameLoop(uvloop.Loop):
    """Keeps what `add_reader` is given in an epoll set of its own, which libuv watches as a single descriptor.

    For each readable socket libuv takes the GIL, enters a context and runs a handle; that costs more than reading the
    20 bytes of an input does. Here one such call reads all sockets that have something. Readers are called without a
    context of their own, and must deal with their exceptions, as picows' transports do. Linux only.

    A socket can also be held: nobody watches it, its owner calls the reader when it wants what has come.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._held: set[int] = set()
        super().add_reader(self._epoll.fileno(), self._read_ready)

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        number = _number(fd)
        watched = number in self._readers
        self._readers[number] = functools.partial(callback, *args) if args else callback
        if not watched:
            self._epoll.register(number, select.EPOLLIN)

    def remove_reader(self, fd: Any) -> bool:  # type: ignore[override]  # uvloop's stub says None, asyncio's bool
        number = _number(fd)
        if self._readers.pop(number, None) is None:
            return False
        if number in self._held:
            self._held.remove(number)
        else:
            self._epoll.unregister(number)
        return True

    def hold(self, fd: int) -> Callable[[], object] | None:
        """Stop watching `fd`; returns its reader, to be called by whoever holds it. None: it has no reader."""
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
        if not self.is_closed():
            super().remove_reader(self._epoll.fileno())
            self._epoll.close()
        super().close()

    def _read_ready(self) -> None:
        readers = self._readers
        for number, _ in self._epoll.poll(0, _AT_ONCE):
            # One reader may have removed another.
            if number in readers:
                readers[number]()


def new_event_loop() -> uvloop.Loop:
    """The quickest that the system offers."""
    return GameLoop() if hasattr(select, "epoll") else uvloop.new_event_loop()


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
