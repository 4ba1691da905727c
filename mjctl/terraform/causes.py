"""What made Terraform fail, in one line: the first thing that a person has to read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mjctl.terraform.events import Diagnostic

_LONGEST = 300
# Provisioners show log lines behind a bar: `  | Traceback (most recent call last):`.
_BAR = re.compile(r"^\s*(?:\|\s?)?")
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*(?:\|\s?)?\s+File "(?P<file>[^"]+)", line \d+')
# The interpreter's own frames, and those of installed packages, do not say where the game's code went wrong.
_FOREIGN = re.compile(r"<frozen |/lib/python\d|/site-packages/")
# `ValueError: text`, `game.errors.Broken: text`, or the class alone. A line of a frame is indented further.
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?::\s.*)?$")
_STARTED = re.compile(r"(?P<name>[\w-]+) did not start: [^;]+")
# A local error ends with the place of the log that its last line is from.
_LOG_PLACE = re.compile(r" \(/[^()]*\.log\)$")
_PROVISIONER = "local-exec provisioner error"


def cause(diagnostics: Iterable[Diagnostic]) -> str:
    """Return the cause of a failure in one line; "" if nothing says more than the messages themselves.

    A process that died has its exception in its log, and the log's end stands in the message of a provisioner. Its
    exception is the cause; that the provisioner ended with an error is only what follows from it.
    """
    errors = [found for found in diagnostics if found.severity == "error"]
    for found in errors:
        exception = _exception(found.detail)
        if exception:
            name = _started_name(found.detail)
            return _bounded(f"{name}: {exception}" if name else exception)
    for found in errors:
        started = _STARTED.search(found.detail)
        if started:
            return _bounded(started[0])
    first = next((found for found in errors if _PROVISIONER not in found.summary), None)
    return _bounded(first.summary) if first else ""


def condensed(text: str) -> str:
    """Leave out the frames of a traceback that are not the game's own code: the log has them."""
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
    """A frame is followed by its source line, indented by four, and by a line of carets."""
    return bool(re.match(r"^\s*(?:\|\s?)?    \S", line)) or bool(re.match(r"^\s*(?:\|\s?)?\s*[\^~]+\s*$", line))


def _exception(text: str) -> str:
    """Return the last exception of the last traceback in a text; "" where there is no traceback.

    The text may begin within a traceback, for only the end of a log is shown.
    """
    inside, found = False, ""
    for line in text.splitlines():
        bare = _BAR.sub("", line, count=1) if line.lstrip().startswith("|") else line
        if _TRACEBACK in bare or _FRAME.match(line):
            inside = True
        elif inside and bare[:1] not in ("", " ", "\t") and _EXCEPTION.match(bare.strip()):
            inside, found = False, _LOG_PLACE.sub("", bare.strip())
    return found


def _started_name(text: str) -> str:
    found = _STARTED.search(text)
    return found["name"] if found else ""


def _bounded(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
