"""Operations on mjctl's private files: atomic replacement, appending, locks, and disk errors with advice.

Every private file has mode 0600, because most of these files contain secrets, variables or the output of Terraform.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from mjctl.models.errors import MjctlError, PermissionDeniedError


def write_private(path: Path, text: str) -> None:
    """Replace the content of the file `path` atomically by `text`, in UTF-8.

    Raises:
        PermissionDeniedError: this user may not write to the folder.
        MjctlError: the disk is full, or the folder does not exist.
    """
    with explained_disk_errors(str(path)), replacing(path) as stream:
        stream.write(text.encode())


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a stream whose content replaces `path` when the block ends without an exception.

    The stream writes to a temporary file in the folder of `path`. An exception in the block removes the temporary file
    and leaves `path` unchanged.

    Args:
        path: The file to replace or create.
        durable: Flush the file and its folder to the disk, so that a power failure does not undo the replacement.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _flush_folder(path.parent)


def append_private(path: Path) -> TextIO:
    """Open `path` to append text to it, and create it if it is missing.

    Text that UTF-8 cannot encode is written with escapes. Each flush is a single write at the end of the file, so short
    lines of several processes do not mix.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file `path`, or {} if the file is missing or does not contain a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait for an exclusive lock on the file `path`, and hold the lock until the end of the block.

    The lock's file and folder are created if they are missing. When the process that holds the lock ends, the kernel
    releases the lock.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def explained_disk_errors(where: str) -> Iterator[None]:
    """Convert an OSError of the block into an error that names the path and a remedy.

    Args:
        where: The path that the error names if the OSError contains no path.

    Raises:
        PermissionDeniedError: this user lacks the permission, or a part of the path is not a folder.
        MjctlError: the block raised another OSError, e.g. because the disk is full.
    """
    try:
        yield
    except (PermissionError, NotADirectoryError) as error:
        raise PermissionDeniedError(
            f"cannot write to the disk: {error.strerror}",
            where=f"{error.filename or where}",
            hint="give this user the right to write to the folder, or set MJCTL_HOME to a writable folder",
        ) from None
    except OSError as error:
        raise MjctlError(
            f"cannot write to the disk: {error.strerror}",
            where=f"{error.filename or where}",
            hint="free space or choose another disk with MJCTL_HOME",
        ) from None


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
