"""What a look at a backup store shows: whole backups, damaged ones, and what stopped runs have left."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from mjctl.clients.objects import ObjectStore, StoredObject
from mjctl.models.backup import (
    FORMAT,
    MANIFEST_NAME,
    BackupEntry,
    BackupState,
    SignedManifest,
    created_at_of,
    is_backup_id,
)
from mjctl.models.errors import NotFoundError

_READS_AT_A_TIME = 16


async def read_catalog(store: ObjectStore) -> list[BackupEntry]:
    """Every backup in the store, the oldest first. Objects are not read, only manifests; what is no backup is left out.

    Signatures are not checked here: that takes the key, and `verify`.
    """
    folders = _folders(await store.list())
    gate = asyncio.Semaphore(_READS_AT_A_TIME)

    async def one(backup_id: str) -> BackupEntry | None:
        async with gate:
            return await _look_again(store, backup_id, folders[backup_id])

    entries = await asyncio.gather(*(one(backup_id) for backup_id in sorted(folders)))
    return [entry for entry in entries if entry is not None]


async def newest_backup(store: ObjectStore) -> BackupEntry | None:
    """The newest complete backup, found without reading the others' manifests."""
    folders = _folders(await store.list())
    for backup_id in sorted(folders, reverse=True):
        entry = await _look_again(store, backup_id, folders[backup_id])
        if entry is not None and entry.state is BackupState.COMPLETE:
            return entry
    return None


async def find_backup(store: ObjectStore, wanted: str, *, damaged: bool = False) -> BackupEntry:
    """The backup with this id, or for `latest` the newest complete one (with `damaged`: the newest of all finished).

    Raises:
        NotFoundError: there is none, or it was never finished; says which there are.
    """
    entries = await read_catalog(store)
    complete = [entry for entry in entries if entry.state is BackupState.COMPLETE]
    finished = [entry for entry in entries if entry.state is not BackupState.INCOMPLETE] if damaged else complete
    if wanted == "latest" and finished:
        return finished[-1]
    for entry in entries:
        if entry.backup_id == wanted:
            if entry.state is BackupState.INCOMPLETE:
                raise NotFoundError(f"backup {wanted} was never finished", where=store.location)
            return entry
    known = ", ".join(entry.backup_id for entry in complete[-5:])
    raise NotFoundError(
        "there is no backup yet" if wanted == "latest" else f"no backup `{wanted}`",
        where=store.location,
        hint=f"the newest: {known}" if known else "`mjctl backup create --region REGION` makes one",
    )


def _folders(objects: Sequence[StoredObject]) -> dict[str, list[StoredObject]]:
    folders: dict[str, list[StoredObject]] = defaultdict(list)
    for item in objects:
        folder, slash, name = item.name.partition("/")
        if slash and name and is_backup_id(folder):
            folders[folder].append(item)
    return folders


async def _look_again(store: ObjectStore, backup_id: str, objects: Sequence[StoredObject]) -> BackupEntry | None:
    try:
        return await _look(store, backup_id, objects)
    except NotFoundError:
        return None  # pruned by another since it was listed


async def _look(store: ObjectStore, backup_id: str, objects: Sequence[StoredObject]) -> BackupEntry:
    sizes = {item.name.split("/", 1)[1]: item.size for item in objects}
    signed, problem = None, None
    if MANIFEST_NAME in sizes:
        try:
            signed = parse_manifest(await store.get(f"{backup_id}/{MANIFEST_NAME}"))
            problem = _first_problem(backup_id, signed, sizes)
        except ValueError as error:
            problem = str(error)
        state = BackupState.COMPLETE if problem is None else BackupState.DAMAGED
    else:
        state = BackupState.INCOMPLETE
    return BackupEntry(
        backup_id=backup_id,
        state=state,
        size_bytes=sum(sizes.values()),
        objects=tuple(sizes),
        created_at=created_at_of(backup_id),
        last_written_at=max(item.modified_at for item in objects),
        in_use=bool(store.is_claimed(backup_id)),
        problem=problem,
        signed=signed,
    )


def _first_problem(backup_id: str, signed: SignedManifest, sizes: dict[str, int]) -> str | None:
    if signed.manifest.backup_id != backup_id:
        return f"{MANIFEST_NAME} is that of another backup"
    for name, size in signed.manifest.objects().items():
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != size:
            return f"{name} has {sizes[name]} bytes, not {size}"
    return None


def parse_manifest(data: bytes) -> SignedManifest:
    """Raises ValueError unless `data` is, byte for byte, what `encode_manifest` makes of a manifest."""
    try:
        signed = msgspec.json.decode(data, type=SignedManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{MANIFEST_NAME} cannot be read: {error}") from None
    if signed.manifest.format != FORMAT:
        raise ValueError(f"{MANIFEST_NAME} has format {signed.manifest.format!r}, this mjctl reads {FORMAT}")
    # One spelling only: else a changed byte could hide in white space, escapes or the order of keys.
    if encode_manifest(signed) != data:
        raise ValueError(f"{MANIFEST_NAME} was altered: it is not spelled as it was written")
    return signed


def encode_manifest(value: object) -> bytes:
    """JSON with sorted keys, for people to read and for machines to sign."""
    return json.dumps(msgspec.to_builtins(value), indent=1, sort_keys=True).encode() + b"\n"
