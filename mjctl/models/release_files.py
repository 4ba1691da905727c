"""Decides which files a release consists of.

The digests, the kept copies and the shared archives of releases use the lists of this module.

A part of a release (game server, Terraform code, web client) is every regular file below the part's folder, without
the excluded files. Files that neither Terraform nor Python reads are excluded: tests, documents, caches, hidden files,
states and plans. An excluded file is not copied into the release, so no code of the release can depend on it.
Permissions and empty folders do not change a digest.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mjctl.models.errors import ConfigError, NotFoundError

GAME_PACKAGE = "gameserver"
LOCK_FILE = ".terraform.lock.hcl"
"""The file in which Terraform records the providers that it chose. A project may commit the lock file to git."""


@dataclass(frozen=True)
class Exclusions:
    """Lists the files that do not belong to a part of a release, in addition to hidden files and editors' backups.

    Attributes:
        folders: Patterns of the names of excluded folders.
        files: Patterns of the names of excluded files.
        hidden: The names of the hidden files that belong to the part of the release.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def skips_folder(self, name: str) -> bool:
        """Return whether a folder with the name `name` is excluded, together with its content."""
        return name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in self.folders)

    def skips_file(self, name: str) -> bool:
        """Return whether a file with the name `name` is excluded."""
        if name in self.hidden:
            return False
        return name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in (*_EDITOR_FILES, *self.files))


_EDITOR_FILES = ("*~", "#*#")
_DOCUMENTS = ("*.md",)
TERRAFORM = Exclusions(
    ("tests",),
    (*_DOCUMENTS, "*.tftest.hcl", "*.tftest.json", "*.tfmock.hcl", "*.tfstate", "*.tfstate.*", "*.tfplan", "*.log"),
    (LOCK_FILE,),
)
# The .pxd files and requirements.txt belong to the game server, because the build of its image reads them.
GAME = Exclusions(("__pycache__", "tests"), (*_DOCUMENTS, "requirements.in", "compile-requirements.in"))
WEB = Exclusions(("tests",), _DOCUMENTS)

Files = Mapping[str, Path]
"""The paths of files, by their names in the release. The names have `/` between folders."""


def terraform_files(folder: Path) -> dict[str, Path]:
    """List the Terraform code below `folder`.

    Raises:
        ConfigError: `folder` contains a special file, or a link that `files_below` rejects.
    """
    return dict(files_below(folder, TERRAFORM))


def web_files(folder: Path) -> dict[str, Path]:
    """List the web client's files below `folder`.

    Raises:
        ConfigError: `folder` contains a special file, or a link that `files_below` rejects.
    """
    return dict(files_below(folder, WEB))


def game_files(packages: Mapping[str, Path]) -> dict[str, Path]:
    """List the files of the game server and of the packages with a studio's own rules.

    Args:
        packages: The folder of each Python package, by the package's name.

    Raises:
        NotFoundError: the game server has no files.
        ConfigError: a package contains a special file, or a link that `files_below` rejects.
    """
    files = {
        f"{package}/{name}": path
        for package, folder in packages.items()
        if folder.is_dir()
        for name, path in files_below(folder, GAME)
    }
    if not any(name.startswith(f"{GAME_PACKAGE}/") for name in files):
        raise NotFoundError(
            "a release needs the game server, whose folder has no files",
            where=str(packages[GAME_PACKAGE]),
            hint=f"check out the folder {GAME_PACKAGE}/ again, or set MJCTL_PROJECT_DIR to a whole checkout",
        )
    return files


def files_below(folder: Path, exclusions: Exclusions) -> Iterator[tuple[str, Path]]:
    """Walk the files below `folder` that `exclusions` does not exclude.

    Yields:
        The name relative to `folder`, and the path. A link to a file inside of `folder` counts as that file.

    Raises:
        ConfigError: a link leads to a folder, to a missing file or out of `folder`, or a file is not a regular file.
    """
    root = folder.resolve()
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not exclusions.skips_folder(entry.name):
                        pending.append(Path(entry.path))
                elif not exclusions.skips_file(entry.name):
                    path = Path(entry.path)
                    if not path.is_file():
                        raise _refused(path, "is not a regular file")
                    if entry.is_symlink() and not path.resolve().is_relative_to(root):
                        raise _refused(path, f"is a link that leads out of {folder}")
                    yield path.relative_to(folder).as_posix(), path


def digest_of(files: Files) -> str:
    """Return the SHA-256, in hexadecimal digits, of the names and contents of `files`, in the order of the names.

    Eight bytes with the length of each name and content are hashed before the name or content. Two different lists of
    files are therefore never hashed as the same bytes.
    """
    hashed = hashlib.sha256()
    for name in sorted(files):
        for value in (name.encode(), files[name].read_bytes()):
            hashed.update(len(value).to_bytes(8, "big"))
            hashed.update(value)
    return hashed.hexdigest()


def rules_packages(rules: Iterable[str], project: Path, path: Sequence[str] | None = None) -> dict[str, Path]:
    """Find the packages of rules modules that are not part of the game server.

    An environment names rules by a module in `gameserver/rules`, or by the dotted path of a studio's own module. The
    whole top-level package of a studio's module becomes a part of the release, because the module may import from its
    package.

    Args:
        rules: The names of the rules in the environment's modes.
        project: The checkout, in which a package is searched first.
        path: The folders that are searched after the checkout, by default `sys.path` of the Python that runs mjctl. The
            processes of a local region run with the Python of mjctl.

    Returns:
        The folder of each package, by the package's name.

    Raises:
        NotFoundError: a rules module is in none of the folders.
    """
    searched = [project, *(Path(entry) for entry in (sys.path if path is None else path) if entry)]
    packages: dict[str, Path] = {}
    for name in sorted(set(rules)):
        top = name.partition(".")[0]
        if top in (name, GAME_PACKAGE):
            continue
        folder = next((entry / top for entry in searched if _has_module(entry, name)), None)
        if folder is None:
            raise NotFoundError(
                f"a mode uses the rules module {name!r}, and none of the searched folders contains the module",
                where=f"{project} and the path of {sys.executable}",
                hint=f"put the package {top}/ into {project}, install it into this Python as plain files, or put the "
                f"module into {GAME_PACKAGE}/rules/",
            )
        packages[top] = folder
    return packages


def _has_module(folder: Path, name: str) -> bool:
    base = folder.joinpath(*name.split("."))
    suffixes = importlib.machinery.all_suffixes()
    return any(Path(f"{candidate}{suffix}").is_file() for candidate in (base, base / "__init__") for suffix in suffixes)


def _refused(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"a release consists of regular files, and this file {reason}",
        where=str(path),
        hint="replace it by a regular file, or remove it",
    )
