"""Object stores: a directory on this machine, or a prefix of an S3 bucket. An object is there whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from mjctl.clients.boto import RegionClients
from mjctl.files import replacing
from mjctl.models.account import expanded
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, ConflictError, MjctlError, NotFoundError, PermissionDeniedError, UsageError

T = TypeVar("T")
# How long a look of another process may hold a folder's lock. It holds it for microseconds.
_PROBE_SECONDS = 2.0
# What S3 takes in one DeleteObjects.
_DELETE_BATCH = 1000


@dataclass(frozen=True)
class StoredObject:
    """`name` is relative to the store, with `/` between folders."""

    name: str
    size: int
    modified_at: datetime


class ObjectStore(Protocol):
    """All methods raise NotFoundError, PermissionDeniedError or UnreachableError."""

    @property
    def location(self) -> str:
        """The store's address, for people."""

    async def put(self, name: str, data: bytes) -> None:
        """Store durably, replacing what was there in one step."""

    async def get(self, name: str) -> bytes: ...

    async def list(self) -> list[StoredObject]:
        """Every object, in the order of names; empty where nothing was ever stored."""

    async def delete(self, names: Iterable[str]) -> None:
        """Remove in this order; what is gone already is no error."""

    def claim(self, folder: str) -> AbstractContextManager[None]:
        """Tell others that this process writes into `folder`; a claim ends with its process, however that ends."""

    def is_claimed(self, folder: str) -> bool | None:
        """Whether a living process has claimed `folder`; None where the store cannot know."""


def open_store(contract: Contract, clients: RegionClients, location: str | None = None) -> ObjectStore:
    """The store of a region's backups: `location` (`s3://bucket/prefix` or a directory), else what the contract says.

    Below a bucket everything lies under `<environment>/<region>/`, so that one bucket serves all.

    Raises:
        ConfigError: neither names one. UsageError: `location` is no such address.
    """
    part = contract.backup
    if location is None and part.directory is not None:
        return DirectoryStore(Path(part.directory))
    if location is None and part.bucket is not None:
        location = f"s3://{part.bucket}"
    if location is None:
        raise ConfigError(
            "nothing says where portable backups go",
            where=f"{contract.environment}, {contract.region}",
            hint="set backup.store in the environment's file, or give --store s3://BUCKET/PREFIX",
        )
    parts = urlsplit(location)
    own = PurePosixPath(contract.environment, contract.region)
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(clients, parts.netloc, str(PurePosixPath(parts.path.strip("/")) / own))
    if parts.scheme in ("", "file") and parts.path:
        return DirectoryStore(expanded(parts.path).absolute() / own)
    raise UsageError(f"`{location}` is no backup store", hint="give s3://BUCKET/PREFIX or a directory")


class DirectoryStore:
    """A private directory: folders 0700, files 0600, each fsynced before its name appears."""

    def __init__(self, directory: Path) -> None:
        self._root = directory

    @property
    def location(self) -> str:
        return str(self._root)

    async def put(self, name: str, data: bytes) -> None:
        await self._run(lambda path: _write(path, data), name)

    async def get(self, name: str) -> bytes:
        return await self._run(Path.read_bytes, name)

    async def list(self) -> list[StoredObject]:
        return await self._run(_walk, ".")

    async def delete(self, names: Iterable[str]) -> None:
        for name in names:
            await self._run(self._remove, name)

    @contextmanager
    def claim(self, folder: str) -> Iterator[None]:

        path = self._path(folder)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            _lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)
            # Nothing was written: nothing is left behind.
            with contextlib.suppress(OSError):
                path.rmdir()

    def is_claimed(self, folder: str) -> bool | None:
        import fcntl

        try:
            descriptor = os.open(self._path(folder), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # The folder goes with the last object; another's object in it keeps it.
        with contextlib.suppress(OSError):
            if path.parent != self._root:
                path.parent.rmdir()

    async def _run(self, work: Callable[[Path], T], name: str) -> T:
        path = self._path(name)
        try:
            return await asyncio.to_thread(work, path)
        except OSError as error:
            raise _refused(path, error) from error

    def _path(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"object name {name!r} leads out of the store")
        return self._root / pure


class S3Store:
    """A prefix of a bucket. The objects are encrypted before they come here; the bucket may encrypt them once more."""

    def __init__(self, clients: RegionClients, bucket: str, prefix: str) -> None:
        self._clients = clients
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/"

    @property
    def location(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    async def put(self, name: str, data: bytes) -> None:
        await self._clients.call("s3", "put_object", Bucket=self._bucket, Key=self._prefix + name, Body=data)

    async def get(self, name: str) -> bytes:
        answer = await self._clients.call("s3", "get_object", Bucket=self._bucket, Key=self._prefix + name)
        try:
            return bytes(await asyncio.to_thread(answer["Body"].read))
        except Exception as error:
            raise self._clients.explain(error, "s3:get_object") or error from error

    async def list(self) -> list[StoredObject]:
        answer = await self._clients.call_all("s3", "list_objects_v2", Bucket=self._bucket, Prefix=self._prefix)
        return [
            StoredObject(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])
            for item in answer.get("Contents", [])
        ]

    async def delete(self, names: Iterable[str]) -> None:
        keys = [self._prefix + name for name in names]
        for start in range(0, len(keys), _DELETE_BATCH):
            answer = await self._clients.call(
                "s3",
                "delete_objects",
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key} for key in keys[start : start + _DELETE_BATCH]], "Quiet": True},
            )
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise PermissionDeniedError(
                    f"S3 did not delete {len(answer['Errors'])} objects: {first.get('Code')}",
                    where=f"s3://{self._bucket}/{first.get('Key')}",
                    hint="an object lock or the bucket's policy keeps them; see the bucket's settings",
                )

    def claim(self, folder: str) -> AbstractContextManager[None]:
        del folder
        return contextlib.nullcontext()

    def is_claimed(self, folder: str) -> bool | None:
        del folder
        return None


def _lock(descriptor: int, path: Path) -> None:
    """Take the lock of a folder. `is_claimed` of another process holds it for a moment, a writer for much longer."""
    import fcntl

    end = time.monotonic() + _PROBE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ConflictError(
                    "another process writes this backup at this moment",
                    where=str(path),
                    hint="wait until it has ended, then repeat the command",
                ) from None
            time.sleep(0.01)
        else:
            return


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path, durable=True) as stream:
        stream.write(data)


def _walk(root: Path) -> list[StoredObject]:
    found = []
    for folder, _, files in os.walk(root):
        for file in files:
            path = Path(folder, file)
            # Another process may be removing what we list.
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(StoredObject(path.relative_to(root).as_posix(), status.st_size, modified))
    return sorted(found, key=lambda item: item.name)


def _refused(path: Path, error: OSError) -> MjctlError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError("the file is not in the backup store", where=str(path))
    return PermissionDeniedError(
        f"the backup store refuses: {error.strerror or error}",
        where=str(path),
        hint="make the folder writable for you, or look whether the disk is full",
    )
