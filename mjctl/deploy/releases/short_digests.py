"""Computes digests of 16 hexadecimal digits in the way of earlier versions of mjctl.

mjctl verifies code in the state bucket with these short digests if an earlier version of mjctl has uploaded it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

LENGTH = 16


def of_game(package: Path) -> str:
    """Return the digest of the folder `gameserver` as earlier versions of mjctl computed it."""
    paths = (path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return _digest(package, paths)


def of_terraform(folder: Path) -> str:
    """Return the digest of the folder `terraform` as earlier versions of mjctl computed it."""
    paths = (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".tf", ".yaml", ".hcl") and ".terraform" not in path.parts and path.is_file()
    )
    return _digest(folder, paths)


def _digest(root: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:LENGTH]
