"""Packs the code of this mjctl as a program for the backup task: a zip that Python runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import mjctl

# The packages of mjctl that the task does not need.
_LEFT_OUT = frozenset({"cli", "deploy", "doctor", "loadtest", "package", "sandbox", "terraform"})
# The earliest time that a zip can contain, so that equal code gives equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = """import sys

from mjctl.operations.backup_task import main

sys.exit(main())
"""


def code_archive() -> bytes:
    """Return a zip with the code of mjctl and a `__main__.py` that runs the backup task."""
    folder = Path(mjctl.__path__[0])
    files = {"__main__.py": _MAIN.encode()}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if parts[0] not in _LEFT_OUT:
            files["/".join(("mjctl", *parts))] = path.read_bytes()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()
