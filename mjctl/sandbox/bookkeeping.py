"""Lists and removes mjctl's files about the units in a sandbox.

Without the sandbox's state, mjctl's files about the units are useless.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mjctl.sandbox import daemon


def units(folder: Path) -> tuple[str, ...]:
    """Return the names of the units that have Terraform files in the environment's folder, e.g. `foundation`.

    Args:
        folder: The environment's folder (`Workspace.environment_dir`).
    """
    return tuple(sorted(path.parent.name for path in folder.glob("*/terraform") if path.is_dir()))


def forget(folder: Path) -> None:
    """Remove the state of the sandbox and the files of all units, so that the next deploy creates all resources.

    `forget` keeps the history of the environment.
    """
    daemon.forget(folder)
    for unit in units(folder):
        shutil.rmtree(folder / unit)
