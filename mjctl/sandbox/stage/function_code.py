"""Unpacks the code of Lambda functions once for all processes that run the code.

ministack unpacks a function's archive into a new folder for each process, without compiled Python files. After a
deploy, tens of processes would unpack and compile equal code at the same time. On a small machine the first calls would
then exceed the API's limit of 10 s. AWS unpacks a package once, and a function may write to `/tmp` only, so processes
cannot tell that they share the folder.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

_COMPILED = "__pycache__"


class CodeFolders:
    """Keeps the unpacked code of archives in `folder`, one folder for each archive by its digest.

    If a file is equal in an earlier archive, the new folder gets a hard link to the file and to its compiled form.

    Args:
        folder: The folder for the unpacked archives. `CodeFolders` removes what an earlier run of the sandbox has left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._newest: tuple[Path, dict[str, tuple[int, int]]] | None = None
        shutil.rmtree(folder, ignore_errors=True)

    def of(self, archive: zipfile.ZipFile) -> Path:
        """Return the folder with the unpacked files of an archive."""
        assert archive.filename is not None, "the archive of a function is a file"  # noqa: S101
        with self._lock:
            with Path(archive.filename).open("rb") as opened:
                target = self._folder / hashlib.file_digest(opened, "sha256").hexdigest()
            if not target.exists():
                self._unpack(archive, target)
            return target

    def _unpack(self, archive: zipfile.ZipFile, target: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=self._folder))
        before, known = self._newest or (None, {})
        files = {entry.filename: (entry.CRC, entry.file_size) for entry in archive.infolist() if not entry.is_dir()}
        for name, content in files.items():
            if before is not None and known.get(name) == content:
                _link(before / name, unfinished / name)
            else:
                archive.extract(name, unfinished)
        unfinished.rename(target)
        self._newest = target, files


def _link(source: Path, target: Path) -> None:
    """Link a file and its compiled form. Python writes a compiled file anew and never changes it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
    if source.suffix == ".py":
        for compiled in (source.parent / _COMPILED).glob(f"{source.stem}.*.pyc"):
            (target.parent / _COMPILED).mkdir(exist_ok=True)
            os.link(compiled, target.parent / _COMPILED / compiled.name)


class SharingZipFiles:
    """Replaces the module `zipfile` in ministack's code for functions, to unpack a function's archive once."""

    def __init__(self, module: ModuleType, folders: CodeFolders) -> None:
        self._module = module
        self._folders = folders

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def ZipFile(self, file: str, *arguments: Any, **options: Any) -> zipfile.ZipFile:
        """Open an archive. Unpacking the archive of a function replaces the empty target folder by a link."""
        if Path(file).name != "code.zip":
            return zipfile.ZipFile(file, *arguments, **options)
        return _FunctionArchive(file, self._folders)


class _FunctionArchive(zipfile.ZipFile):
    def __init__(self, file: str, folders: CodeFolders) -> None:
        super().__init__(file)
        self._folders = folders

    def extractall(self, path: str) -> None:  # type: ignore[override]
        target = Path(path)
        target.rmdir()
        target.symlink_to(self._folders.of(self), target_is_directory=True)
