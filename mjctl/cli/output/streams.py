"""Standard streams that cannot break a command: closed, full, cut off, or with an encoding that lacks a character."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The reader is gone: a pipe whose other end is closed (head, less), a terminal that was closed (EIO).
_READER_GONE = frozenset({errno.EPIPE, errno.EIO})


class ResilientWriter(io.RawIOBase):
    """Write to a file descriptor and never raise: the work of a command matters more than its output.

    A deploy whose log viewer ends must go on. After the first failure everything else is dropped.

    Attributes:
        failure: The error that ended the output, for example a full disk; None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Another program left the pipe or terminal in non-blocking mode.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return size

    @property
    def reader_is_gone(self) -> bool:
        return self.failure is not None and self.failure.errno in _READER_GONE


@dataclass(frozen=True)
class StandardStreams:
    """What stdout and stderr of this process are written through."""

    out: ResilientWriter
    err: ResilientWriter

    def finish(self) -> OSError | None:
        """Flush both streams. Returns the error that kept data from stdout, unless its reader had enough."""
        sys.stdout.flush()
        sys.stderr.flush()
        return None if self.out.reader_is_gone else self.out.failure


def protect_standard_streams() -> StandardStreams:
    """Replace stdout and stderr by streams that cannot break a command, and open what the caller has closed.

    A closed descriptor is opened on the null device. Otherwise the next file that this process opens, a lock or a
    state, would become its standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is used, and all lower ones are open by now.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    out, err = ResilientWriter(1), ResilientWriter(2)
    sys.stdout = _text(out, sys.stdout)
    sys.stderr = _text(err, sys.stderr)
    return StandardStreams(out, err)


def _text(raw: ResilientWriter, replaced: TextIO | None) -> io.TextIOWrapper:
    """A text stream in the encoding of the replaced one; characters that it lacks are written as escapes."""
    if replaced is not None:
        replaced.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(replaced, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


def reader_is_gone(stream: object) -> bool:
    """Whether what is written to this stream reaches no reader any more: a command without an end can stop then."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return isinstance(raw, ResilientWriter) and raw.reader_is_gone
