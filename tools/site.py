"""Prepares and builds the documentation site: `python -m tools.site`, or `make docs`.

The pages in docs/ are written for the repository: they also link source files, and pages outside of docs/. The site is
built from a copy of docs/ in `.site/docs`, in which links to source files and to pages outside of docs/ work too. A
linked page is copied into the site, and a linked source file is copied as text. From this copy Zensical builds
`.site/html`, with the settings in zensical.toml. A broken link, a page without a place in the navigation and a warning
of Zensical fail the build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tools.markdown_links import broken, links, rewritten

ROOT = Path(__file__).parents[1]
STAGE = ROOT / ".site" / "docs"
HOME_PAGE = "README.md"


def place(path: str) -> str | None:
    """Return the path in the site of a file of the repository, or None for a folder without a README.

    Args:
        path: path relative to the repository.
    """
    if path == HOME_PAGE:
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return place(f"{path}/README.md") if (ROOT / path / "README.md").is_file() else None
    if path.endswith(".md"):
        return path
    return f"source/{path}.txt"


def stage() -> list[str]:
    """Write copies of all pages, and of all files that the pages link, into an empty folder.

    Returns: The faults: broken links, pages of the navigation without a file, and pages that the navigation lacks.
    """
    shutil.rmtree(STAGE, ignore_errors=True)
    faults: list[str] = []
    waiting = [
        HOME_PAGE,
        *(str(file.relative_to(ROOT)) for file in sorted((ROOT / "docs").rglob("*")) if file.is_file()),
    ]
    copied: set[str] = set()
    while waiting:
        path = waiting.pop()
        target = place(path)
        if target is None or path in copied or not (ROOT / path).is_file():
            continue
        copied.add(path)
        destination = STAGE / target
        destination.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            destination.write_text(rewritten(text, partial(_moved, path)), encoding="utf-8")
            linked = (_linked(link.path, path) for link in links(text) if link.path and not link.is_external)
            waiting += [file for file in linked if file]
            faults += broken(ROOT / path, ROOT)
        else:
            shutil.copyfile(ROOT / path, destination)
    return faults + list(navigation_faults())


def navigation_faults() -> Iterator[str]:
    """Yield the pages of the navigation without a file, and the pages of docs/ that the navigation lacks."""
    named = set(_pages(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    yield from (f"zensical.toml: {page}: no such page" for page in sorted(named) if not (STAGE / page).is_file())
    written = {str(file.relative_to(ROOT / "docs")) for file in (ROOT / "docs").glob("*.md")}
    yield from (f"zensical.toml: {page} is in no section" for page in sorted(written - named))


def _pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages(child)


def _linked(target: str, page: str) -> str | None:
    """Return the file that a link of a page names, relative to the repository; None for a folder without README."""
    path = os.path.normpath(os.path.join(os.path.dirname(page), target))
    if (ROOT / path).is_dir():
        return f"{path}/README.md" if (ROOT / path / "README.md").is_file() else None
    return path


def _moved(page: str, target: str) -> str | None:
    """Return the address that a link must have in the site, or None if the site does not have the linked file."""
    path, sign, fragment = target.partition("#")
    if not path or "://" in target or target.startswith("mailto:"):
        return target
    file = _linked(path, page)
    destination = place(file) if file else None
    if destination is None:
        return None
    here = os.path.dirname(place(page) or "")
    return os.path.relpath(destination, here or ".") + sign + fragment


def main() -> int:
    """Build the site; return the exit code of Zensical, or 1 if a page has a fault."""
    faults = stage()
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
