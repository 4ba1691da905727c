"""Standard streams that cannot break a command, even if a stream is closed or cannot encode a character."""

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

# Errors that mean that the output has no reader any more. EPIPE means that the other end of a pipe is closed, for
# example by `head`. EIO means that the terminal was closed.
_READER_GONE = frozenset({errno.EPIPE, errno.EIO})


class ResilientWriter(io.RawIOBase):
    """Writes to a file descriptor and never raises, because the work of a command matters more than its output.

    For example, a deploy must continue if the program that shows its output ends. After the first error, all further
    output is dropped.

    Attributes:
        failure: The error that ended the output, for example a full disk, or None.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """Return True: the stream accepts output."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the file descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write `data`, or drop it after an error.

        Returns:
            The number of bytes that were written, or the size of `data` after an error.
        """
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Wait until the pipe or terminal accepts output, because another program has set it to non-blocking
                # mode.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return size

    @property
    def reader_is_gone(self) -> bool:
        """Return whether the reader of the stream has ended: a pipe or a terminal was closed."""
        return self.failure is not None and self.failure.errno in _READER_GONE


@dataclass(frozen=True)
class StandardStreams:
    """Holds the writers of stdout and stderr of this process.

    Attributes:
        out: writer of stdout.
        err: writer of stderr.
    """

    out: ResilientWriter
    err: ResilientWriter

    def finish(self) -> OSError | None:
        """Flush stdout and stderr.

        Returns:
            The error that prevented output on stdout, for example a full disk, or None if there was no error or the
            reader of stdout has ended.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        return None if self.out.reader_is_gone else self.out.failure


def protect_standard_streams() -> StandardStreams:
    """Replace stdout and stderr by streams that cannot break a command.

    A standard descriptor that the caller has closed is opened on the null device. Without the null device, the next
    file that this process opens, such as a Terraform state, could become its stdout.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # `os.open` returns the lowest free descriptor, which is `descriptor`, because all lower descriptors are
            # open.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    out, err = ResilientWriter(1), ResilientWriter(2)
    sys.stdout = _text(out, sys.stdout)
    sys.stderr = _text(err, sys.stderr)
    return StandardStreams(out, err)


def _text(raw: ResilientWriter, replaced: TextIO | None) -> io.TextIOWrapper:
    """Return a text stream with the encoding of the replaced stream. Characters that the encoding lacks are escaped."""
    if replaced is not None:
        replaced.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(replaced, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


def reader_is_gone(stream: object) -> bool:
    """Return whether the stream has no reader any more, so that endless commands such as `health --watch` can stop."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return isinstance(raw, ResilientWriter) and raw.reader_is_gone
