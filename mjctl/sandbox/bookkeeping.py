"""What mjctl has noted down of the deployments in a sandbox: of no use once the sandbox has forgotten them."""

from __future__ import annotations

import shutil
from pathlib import Path

from mjctl.sandbox import daemon


def units(folder: Path) -> tuple[str, ...]:
    """Names of what was ever deployed in the environment whose folder this is: regions, `foundation`, ..."""
    return tuple(sorted(path.parent.name for path in folder.glob("*/terraform") if path.is_dir()))


def forget(folder: Path) -> None:
    """Remove states and notes, so that the next deploy begins with nothing. The history of runs stays."""
    daemon.forget(folder)
    for unit in units(folder):
        shutil.rmtree(folder / unit)
