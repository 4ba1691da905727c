"""Reads the git commit from which a release is made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def commit_of(project: Path) -> str | None:
    """Return the commit HEAD of the checkout `project`.

    Returns:
        The commit's first 12 hexadecimal digits, followed by `+changes` if a file in gameserver, web, terraform or
        configs has uncommitted changes. The result is None if git is not installed, fails, or finds no git checkout in
        `project`.
    """
    try:
        head = _git(project, "rev-parse", "--short=12", "HEAD")
        changed = _git(project, "status", "--porcelain", "--", "gameserver", "web", "terraform", "configs")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changed else head


def _git(project: Path, *arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise FileNotFoundError("git")
    done = subprocess.run(
        [program, "-C", str(project), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
