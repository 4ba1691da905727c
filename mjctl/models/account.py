"""The name and home folder of the user that runs this process, who may have no passwd entry, as in many containers."""

from __future__ import annotations

import getpass
import os
from pathlib import Path


def user_name() -> str:
    """Return the user's name, or `uid-<number>` for a user id without a passwd entry."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # getpass.getuser raises KeyError up to Python 3.12, and OSError from Python 3.13 on.
        return f"uid-{os.getuid()}"


def home_folder() -> Path | None:
    """Return the user's home folder; None if HOME is unset and there is no passwd entry."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | Path) -> Path:
    """Replace a leading `~` by the user's home folder. Return the path unchanged if the user has no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
