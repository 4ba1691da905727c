"""The options that every command accepts, before or after its name: --no-color, --quiet, --verbose and --log-file."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mjctl.cli.output.printable import printable
from mjctl.files import append_private
from mjctl.models.errors import PermissionDeniedError, UsageError

FLAGS = ("--no-color", "--quiet", "--verbose")
LOG_FILE = "--log-file"


@dataclass(frozen=True)
class GlobalOptions:
    """Holds the values of the options that every command accepts.

    Attributes:
        no_color: Print without colours.
        quiet: Print only errors and questions on stderr.
        verbose: Print every event of Terraform.
        log: An open file that receives a copy of stderr, without colours and with times, or None without --log-file.
    """

    no_color: bool = False
    quiet: bool = False
    verbose: bool = False
    log: TextIO | None = None

    def note(self, text: str) -> None:
        """Write one line to the log file, if there is one. An error, such as a full disk, does not stop the command."""
        if self.log is not None:
            with suppress(OSError):
                self.write(text)

    def write(self, text: str) -> None:
        """Write one line to the log file, if there is one.

        Raises:
            OSError: the file cannot be written.
        """
        if self.log is not None:
            self.log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {printable(text)}\n")
            self.log.flush()


_CHOSEN: ContextVar[GlobalOptions] = ContextVar("mjctl_global_options")


def chosen() -> GlobalOptions:
    """Return the values of the options that every command accepts, or their defaults before the parsing."""
    return _CHOSEN.get(GlobalOptions())


def choose(no_color: bool = False, quiet: bool = False, verbose: bool = False, log_file: Path | None = None) -> None:
    """Set the values of the options that every command accepts.

    Raises:
        UsageError: --quiet and --verbose were both given.
        PermissionDeniedError: the log file cannot be written.
    """
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other", hint="leave out --quiet or --verbose")
    try:
        options = GlobalOptions(no_color, quiet, verbose, append_private(log_file) if log_file else None)
        options.write(f"mjctl {' '.join(sys.argv[1:])}")
    except OSError as error:
        raise PermissionDeniedError(
            f"cannot write the log file: {error.strerror}",
            where=str(log_file),
            hint="give --log-file a file in a folder that you can write to",
        ) from None
    _CHOSEN.set(options)


def conclude(code: int) -> None:
    """Write the exit code to the log file, close the file, and set the options back to their defaults.

    The defaults are needed because a test runs several command lines in one process.
    """
    options = chosen()
    options.note(f"exit code {int(code)}")
    if options.log is not None:
        with suppress(OSError):
            options.log.close()
    _CHOSEN.set(GlobalOptions())


def hoist(argv: Sequence[str]) -> list[str]:
    """Return the command line with the global options in front, where the parser of the root command reads them."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word in FLAGS or word.startswith(f"{LOG_FILE}="):
            front.append(word)
        elif word == LOG_FILE:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return [*front, *rest]
