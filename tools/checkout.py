"""Lists the files of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked_files(*suffixes: str) -> list[str]:
    """List the files under version control, and new files, whose names end with one of `suffixes`.

    Without git, for example in an unpacked archive, the list has all files outside of hidden folders.

    Returns:
        Paths relative to the repository, sorted.
    """
    # The checkout may belong to another user, for example in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        listed = [str(path) for path in paths if not any(part.startswith(".") for part in path.parent.parts)]
    return sorted(name for name in set(listed) if name.endswith(suffixes) and (ROOT / name).is_file())
