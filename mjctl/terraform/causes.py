"""Finds the cause of a failure of Terraform, and describes the cause in the line that an operator reads first."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mjctl.terraform.events import Diagnostic

_LONGEST = 300
# The bar that a provisioner prints before each line of a log: ` | Traceback (most recent call last):`.
_BAR = re.compile(r"^\s*(?:\|\s?)?")
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*(?:\|\s?)?\s+File "(?P<file>[^"]+)", line \d+')
# Paths in frames of a traceback that do not show where the game's code failed: frames of the interpreter and of
# installed packages.
_FOREIGN = re.compile(r"<frozen |/lib/python\d|/site-packages/")
# The last line of a traceback, with the exception: `ValueError: text`, `game.errors.Broken: text`, or the class alone.
# Unlike the lines of a frame, the line of the exception is not indented.
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?::\s.*)?$")
_STARTED = re.compile(r"(?P<name>[\w-]+) did not start: [^;]+")
# The path of the log in parentheses, with which an error of `python -m mjctl.local` ends.
_LOG_PLACE = re.compile(r" \(/[^()]*\.log\)$")
_PROVISIONER = "local-exec provisioner error"


def cause(diagnostics: Iterable[Diagnostic]) -> str:
    """Return the cause of a failure of Terraform in one line, or "" if the diagnostics contain no cause.

    If a local process ended with an exception, the provisioner's error contains the end of the process's log, and the
    exception in this log is the cause. The provisioner's error itself is only a consequence of the exception.
    """
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    for error in errors:
        exception = _exception(error.detail)
        if exception:
            name = _started_name(error.detail)
            return _bounded(f"{name}: {exception}" if name else exception)
    for error in errors:
        started = _STARTED.search(error.detail)
        if started:
            return _bounded(started[0])
    first = next((error for error in errors if _PROVISIONER not in error.summary), None)
    return _bounded(first.summary) if first else ""


def condensed(text: str) -> str:
    """Return the text without the frames of tracebacks that are not in the game's code.

    Terraform's log keeps all frames.
    """
    kept: list[str] = []
    skipping = False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame:
            skipping = bool(_FOREIGN.search(frame["file"]))
        elif not (skipping and _is_source_line(line)):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


def _is_source_line(line: str) -> bool:
    """Return whether a line of a traceback is source code, which is indented by four spaces, or a line of carets."""
    return bool(re.match(r"^\s*(?:\|\s?)?    \S", line)) or bool(re.match(r"^\s*(?:\|\s?)?\s*[\^~]+\s*$", line))


def _exception(text: str) -> str:
    """Return the last exception of the last traceback in a text, or "" if the text has no traceback.

    A text that contains only the end of a log may begin inside of a traceback.
    """
    inside, exception = False, ""
    for line in text.splitlines():
        bare = _BAR.sub("", line, count=1) if line.lstrip().startswith("|") else line
        if _TRACEBACK in bare or _FRAME.match(line):
            inside = True
        elif inside and bare[:1] not in ("", " ", "\t") and _EXCEPTION.match(bare.strip()):
            inside, exception = False, _LOG_PLACE.sub("", bare.strip())
    return exception


def _started_name(text: str) -> str:
    started = _STARTED.search(text)
    return started["name"] if started else ""


def _bounded(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
