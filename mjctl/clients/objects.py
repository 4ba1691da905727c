"""Object stores of backups: a folder on this machine, or a prefix of an S3 bucket. Objects are written atomically."""

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
# `is_claimed` in another process locks a folder for microseconds. `claim` waits 2 seconds at most until the folder is
# unlocked.
_PROBE_SECONDS = 2.0
# S3 deletes 1000 objects at most by a single DeleteObjects request.
_DELETE_BATCH = 1000


@dataclass(frozen=True)
class StoredObject:
    """Describes an object of a store.

    Attributes:
        name: The object's name relative to the store, with `/` between folders.
        size: The size in bytes.
        modified_at: The time when the object was last written.
    """

    name: str
    size: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Stores objects by name.

    A method that reads or writes raises NotFoundError for a missing object or bucket, PermissionDeniedError if the
    store refuses access, and UnreachableError if the store does not answer.
    """

    @property
    def location(self) -> str:
        """Return the store's address, for people."""

    async def put(self, name: str, data: bytes) -> None:
        """Write the object `name` durably, and replace an existing object atomically."""

    async def get(self, name: str) -> bytes:
        """Return the content of the object `name`."""

    async def list(self) -> list[StoredObject]:
        """List all objects in the order of their names. A store that does not exist yet has no objects."""

    async def delete(self, names: Iterable[str]) -> None:
        """Delete the objects in the given order. A missing object is no error."""

    def claim(self, folder: str) -> AbstractContextManager[None]:
        """Mark `folder` as being written by this process until the end of the `with` block.

        A claim of a folder also ends when the process that claimed the folder ends, even by SIGKILL.
        """

    def is_claimed(self, folder: str) -> bool | None:
        """Return whether a running process has claimed `folder`, or None if the store cannot know."""


def open_store(contract: Contract, clients: RegionClients, location: str | None = None) -> ObjectStore:
    """Return the store of a region's portable backups.

    The objects in a bucket or in the folder `location` are below `<environment>/<region>/`, so that several regions can
    share a store.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region.
        location: `s3://BUCKET/PREFIX` or a folder. The default store is the folder or the bucket that the contract
            names.

    Raises:
        ConfigError: `location` is None, and the contract names no store.
        UsageError: `location` is not the address of a store.
    """
    part = contract.backup
    if location is None and part.directory is not None:
        return DirectoryStore(Path(part.directory))
    if location is None and part.bucket is not None:
        location = f"s3://{part.bucket}"
    if location is None:
        raise ConfigError(
            "no store for portable backups is configured",
            where=f"{contract.environment}, {contract.region}",
            hint="set backup.store in the environment's file, or give --store s3://BUCKET/PREFIX",
        )
    parts = urlsplit(location)
    own = PurePosixPath(contract.environment, contract.region)
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(clients, parts.netloc, str(PurePosixPath(parts.path.strip("/")) / own))
    if parts.scheme in ("", "file") and parts.path:
        return DirectoryStore(expanded(parts.path).absolute() / own)
    raise UsageError(
        f"`{location}` is not the address of a backup store", hint="give s3://BUCKET/PREFIX or the path of a folder"
    )


class DirectoryStore(ObjectStore):
    """Stores objects as files of mode 0600 in folders of mode 0700.

    A file gets the object's name only after its content was flushed to the disk.
    """

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
            # Remove the claimed folder if no object was written into it; rmdir fails for a folder with objects.
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
        # Remove the folder after the last object in it, because rmdir fails while the folder contains another object.
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
            raise ValueError(f"the object name {name!r} leads out of the store")
        return self._root / pure


class S3Store(ObjectStore):
    """Stores objects below a prefix of an S3 bucket.

    Callers encrypt the objects, and the bucket may encrypt them again.
    """

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
                    hint="check the bucket's object lock and policy, which may forbid the deletion",
                )

    def claim(self, folder: str) -> AbstractContextManager[None]:
        del folder
        return contextlib.nullcontext()

    def is_claimed(self, folder: str) -> bool | None:
        del folder
        return None


def _lock(descriptor: int, path: Path) -> None:
    """Lock a folder, and wait 2 seconds at most while another process locks the folder in `is_claimed`.

    Raises:
        ConflictError: another process writes into the folder or deletes from the folder.
    """
    import fcntl

    end = time.monotonic() + _PROBE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ConflictError(
                    "another process writes or deletes this backup now",
                    where=str(path),
                    hint="wait until the other process has ended, then repeat the command",
                ) from None
            time.sleep(0.01)
        else:
            return


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path, durable=True) as stream:
        stream.write(data)


def _walk(root: Path) -> list[StoredObject]:
    objects = []
    for folder, _, files in os.walk(root):
        for file in files:
            path = Path(folder, file)
            # Another process may delete a listed file before `stat` reads the file's size.
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                objects.append(StoredObject(path.relative_to(root).as_posix(), status.st_size, modified))
    return sorted(objects, key=lambda item: item.name)


def _refused(path: Path, error: OSError) -> MjctlError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError("the backup store does not contain the file", where=str(path))
    return PermissionDeniedError(
        f"cannot read or write the backup store: {error.strerror or error}",
        where=str(path),
        hint="give this user access to the folder, and check that the disk is not full",
    )
