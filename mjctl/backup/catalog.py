"""Lists the backups in an object store: complete, damaged and incomplete backups."""

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
    """List all backups in the store, the oldest first. Objects that belong to no backup are ignored.

    The function reads the content of the manifests only, and the names and sizes of all other objects. The function
    does not check a manifest's signature, because the check needs the backup's key; `verify` checks the signature.
    """
    folders = _folders(await store.list())
    gate = asyncio.Semaphore(_READS_AT_A_TIME)

    async def read(backup_id: str) -> BackupEntry | None:
        async with gate:
            return await _read_entry_unless_pruned(store, backup_id, folders[backup_id])

    entries = await asyncio.gather(*(read(backup_id) for backup_id in sorted(folders)))
    return [entry for entry in entries if entry is not None]


async def newest_backup(store: ObjectStore) -> BackupEntry | None:
    """Return the newest complete backup, or None. The manifests of older backups are not read."""
    folders = _folders(await store.list())
    for backup_id in sorted(folders, reverse=True):
        entry = await _read_entry_unless_pruned(store, backup_id, folders[backup_id])
        if entry is not None and entry.state is BackupState.COMPLETE:
            return entry
    return None


async def find_backup(store: ObjectStore, wanted: str, *, damaged: bool = False) -> BackupEntry:
    """Return one backup.

    Args:
        wanted: the id of the backup, or `latest` for the newest complete backup.
        damaged: True if `latest` may also be a damaged backup.

    Raises:
        NotFoundError: the store has no backup `wanted`, or that backup is incomplete.
    """
    entries = await read_catalog(store)
    complete = [entry for entry in entries if entry.state is BackupState.COMPLETE]
    finished = [entry for entry in entries if entry.state is not BackupState.INCOMPLETE] if damaged else complete
    if wanted == "latest" and finished:
        return finished[-1]
    for entry in entries:
        if entry.backup_id == wanted:
            if entry.state is BackupState.INCOMPLETE:
                raise NotFoundError(
                    f"backup {wanted} is incomplete: it has no manifest",
                    where=store.location,
                    hint="`mjctl backup list` shows the complete backups, and whether a run still writes this backup",
                )
            return entry
    known = ", ".join(entry.backup_id for entry in complete[-5:])
    raise NotFoundError(
        "there is no backup yet" if wanted == "latest" else f"no backup `{wanted}`",
        where=store.location,
        hint=f"the newest backups: {known}" if known else "`mjctl backup create --region REGION` makes a backup",
    )


def _folders(objects: Sequence[StoredObject]) -> dict[str, list[StoredObject]]:
    folders: dict[str, list[StoredObject]] = defaultdict(list)
    for item in objects:
        folder, slash, name = item.name.partition("/")
        if slash and name and is_backup_id(folder):
            folders[folder].append(item)
    return folders


async def _read_entry_unless_pruned(
    store: ObjectStore, backup_id: str, objects: Sequence[StoredObject]
) -> BackupEntry | None:
    try:
        return await _read_entry(store, backup_id, objects)
    except NotFoundError:
        return None  # Another process has removed the backup since mjctl listed the store's objects.


async def _read_entry(store: ObjectStore, backup_id: str, objects: Sequence[StoredObject]) -> BackupEntry:
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
        return f"{MANIFEST_NAME} belongs to another backup"
    for name, size in signed.manifest.objects().items():
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != size:
            return f"{name} has {sizes[name]} bytes, not {size}"
    return None


def parse_manifest(data: bytes) -> SignedManifest:
    """Decode a manifest.

    Raises:
        ValueError: `data` is not exactly the output of `encode_manifest`, or has another format than `FORMAT`.
    """
    try:
        signed = msgspec.json.decode(data, type=SignedManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{MANIFEST_NAME} cannot be read: {error}") from None
    if signed.manifest.format != FORMAT:
        raise ValueError(f"{MANIFEST_NAME} has format {signed.manifest.format!r}, this version of mjctl reads {FORMAT}")
    # Reject a manifest whose bytes differ from the output of `encode_manifest`. The manifest's signature covers only
    # the decoded values, and would not detect changed white space, changed escapes or another order of keys.
    if encode_manifest(signed) != data:
        raise ValueError(f"{MANIFEST_NAME} was altered: its bytes are not as mjctl writes them")
    return signed


def encode_manifest(value: object) -> bytes:
    """Encode a manifest as indented JSON with sorted keys, so that equal manifests have equal bytes."""
    return json.dumps(msgspec.to_builtins(value), indent=1, sort_keys=True).encode() + b"\n"
