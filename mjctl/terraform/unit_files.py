"""Stores mjctl's small files about a unit: on this machine for target `local`, else in the state bucket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mjctl.clients.account import Account
from mjctl.files import explained_disk_errors, write_private


@dataclass(frozen=True)
class UnitFiles:
    """Stores small files by name.

    For files on this machine, `write` raises MjctlError for an error of the disk. For files in a state bucket, every
    method raises UnreachableError, PermissionDeniedError or NotFoundError if the bucket does not answer, refuses access
    or does not exist.

    Attributes:
        folder: The private folder of the files, which is used if `account` is None.
        account: The account whose state bucket contains the files; None for files on this machine.
        prefix: The prefix of the keys of the files' objects in the state bucket.
    """

    folder: Path
    account: Account | None = None
    prefix: str = ""

    def read(self, name: str) -> bytes | None:
        """Return the content of the file `name`, or None if there is no such file."""
        if self.account is not None:
            stored = self.account.read(self._key(name))
            return stored[0] if stored else None
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, text: str) -> None:
        """Write the file `name`, so that another process reads the old or the new content, and never a part."""
        if self.account is not None:
            self._put(name, text)
            return
        path = self.folder / name
        with explained_disk_errors(str(path)):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text)

    def remove(self, name: str) -> None:
        """Remove the file `name`. It is no error if the file does not exist."""
        if self.account is None:
            (self.folder / name).unlink(missing_ok=True)
            return
        try:
            self.account.client("s3").delete_object(Bucket=self.account.bucket, Key=self._key(name))
        except Exception as error:
            raise self.account.explain(error, f"s3://{self.account.bucket}/{self._key(name)}") from error

    def names(self, start: str = "") -> list[str]:
        """List the names of the files that begin with `start`, in alphabetical order."""
        if self.account is None:
            files = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
            return sorted(name for name in files if name.startswith(start))
        try:
            pages = self.account.client("s3").get_paginator("list_objects_v2")
            listed = pages.paginate(Bucket=self.account.bucket, Prefix=self._key(start))
            return sorted(item["Key"].removeprefix(self.prefix) for page in listed for item in page.get("Contents", ()))
        except Exception as error:
            raise self.account.explain(error, f"s3://{self.account.bucket}/{self.prefix}") from error

    def _put(self, name: str, text: str) -> None:
        account = self.account
        assert account is not None  # noqa: S101 - the caller has checked
        try:
            account.client("s3").put_object(Bucket=account.bucket, Key=self._key(name), Body=text.encode())
        except Exception as error:
            raise account.explain(error, f"s3://{account.bucket}/{self._key(name)}") from error

    def _key(self, name: str) -> str:
        return self.prefix + name
