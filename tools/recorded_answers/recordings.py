"""Reads the recorded answers of the real AWS from a checkout or a git directory of LocalStack's repository.

A file `<test>.snapshot.json` contains the recorded answers of each test. A file `<test>.validation.json` contains the
day on which each test last passed against AWS.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

LICENSE = "Apache License, Version 2.0"


class RecordingError(Exception):
    """Reports a folder that contains no recorded answers, or whose licence is unknown."""


@dataclass(frozen=True)
class Recordings:
    """Gives access to the recorded answers below a folder.

    Attributes:
        folder: A checkout or a git directory of LocalStack's repository.
    """

    folder: Path

    @cached_property
    def commit(self) -> str:
        """Return the id of the commit that the answers come from, or an empty string for a folder without git."""
        directory = self.folder if self._is_git_directory else self.folder / ".git"
        return self._git(directory, "rev-parse", "HEAD").strip() if directory.exists() else ""

    @cached_property
    def license(self) -> str:
        """Return the name of the repository's licence.

        Raises:
            RecordingError: The repository has another licence than the Apache License 2.0.
        """
        # https://github.com/localstack/localstack/blob/main/LICENSE.txt
        if LICENSE not in self._read("LICENSE.txt"):
            raise RecordingError(f"{self.folder}: LICENSE.txt does not name the {LICENSE}")
        return LICENSE

    def answers(self, file: str, test: str) -> dict[str, Any]:
        """Return the recorded answers of a test by their names.

        Args:
            file: The path of the test's file in LocalStack's repository.
            test: The name of the test with its class and parameters.

        Raises:
            RecordingError: The repository contains no recorded answers of the test.
        """
        recorded = self._document(file, "snapshot").get(f"{file}::{test}")
        if recorded is None:
            raise RecordingError(f"{self.folder}: no recorded answers of {file}::{test}")
        answers: dict[str, Any] = recorded["recorded-content"]
        return answers

    def validated(self, file: str, test: str) -> str:
        """Return the time at which the test last passed against AWS, or an empty string if it is unknown."""
        entry = self._document(file, "validation").get(f"{file}::{test}", {})
        return str(entry.get("last_validated_date", ""))

    @property
    def _is_git_directory(self) -> bool:
        return (self.folder / "HEAD").is_file()

    def _document(self, file: str, kind: str) -> dict[str, Any]:
        return _parsed(self, file.removesuffix(".py") + f".{kind}.json")

    def _read(self, path: str) -> str:
        if self._is_git_directory:
            return self._git(self.folder, "show", f"HEAD:{path}")
        try:
            return (self.folder / path).read_text(encoding="utf-8")
        except OSError as error:
            raise RecordingError(f"{self.folder}: {error}") from error

    def _git(self, directory: Path, *arguments: str) -> str:
        # git refuses a directory that belongs to another user, unless `safe.directory` allows the directory.
        command = ["git", "-c", "safe.directory=*", f"--git-dir={directory}", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RecordingError(f"{self.folder}: {ended.stderr.strip()}")
        return ended.stdout


@lru_cache(maxsize=64)
def _parsed(recordings: Recordings, path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(recordings._read(path))
    return document
