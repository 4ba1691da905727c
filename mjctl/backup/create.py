"""Makes a portable backup: reads all stores of a region at the same time, and writes the manifest last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mjctl
from mjctl.backup import cache, database, tables
from mjctl.backup.archive import PartWriter
from mjctl.backup.catalog import encode_manifest, find_backup
from mjctl.backup.keys import BackupKeys, Unlocker, new_keys
from mjctl.backup.streams import first_error, to_its_end
from mjctl.backup.tidy import tidy
from mjctl.clients.boto import RegionClients
from mjctl.clients.objects import ObjectStore
from mjctl.clients.stores import cache as open_cache
from mjctl.models.backup import FORMAT, MANIFEST_NAME, Kind, Manifest, Part, new_backup_id
from mjctl.models.contract import Contract
from mjctl.models.errors import VerificationError

# Type of the function that shows the progress of a backup or restore. Its arguments are the label of a part, and the
# number of the part's records that were processed since the last call.
OnProgress = Callable[[str, int], None]
# Time limit of one AWS request or Redis command of a backup. The default time limit of `RegionClients` (10 s) is too
# short to read a page of a large DynamoDB table.
TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 5


@dataclass(frozen=True)
class Selection:
    """Selects the stores and the cache namespaces that a backup contains.

    Attributes:
        kinds: the kinds of stores that the backup contains.
        cache_namespaces: patterns of cache namespaces, as in a shell. A pattern that begins with `!` excludes
            namespaces, for example namespaces whose values the game can compute again.
    """

    kinds: Collection[Kind] = tuple(Kind)
    cache_namespaces: Sequence[str] = ("*",)


@dataclass(frozen=True)
class PlannedPart:
    """Describes a part that a planned backup would contain: a relation, a table or a cache namespace.

    Attributes:
        kind: kind of store.
        name: name of the relation, table or cache namespace.
        records: number of rows, items or keys at the time of the plan.
    """

    kind: Kind
    name: str
    records: int


@dataclass
class _Writing:
    """Holds the state of an unfinished backup, so that mjctl can remove the backup's objects after an error."""

    contract: Contract
    clients: RegionClients
    store: ObjectStore
    keys: BackupKeys
    backup_id: str
    on_progress: OnProgress
    writers: list[PartWriter] = field(default_factory=list)

    async def part(
        self, kind: Kind, name: str, schema: dict[str, Any], batches: AsyncGenerator[list[bytes], None]
    ) -> Part:
        writer = PartWriter(self.store, self.keys.cipher(), self.backup_id, kind, name)
        self.writers.append(writer)
        async with contextlib.aclosing(batches):
            async for records in batches:
                await writer.add(records)
                self.on_progress(f"{kind}/{name}", len(records))
        return await writer.finish(schema)


def backup_clients(contract: Contract) -> RegionClients:
    """Open AWS clients of a region with a time limit of 30 s and 5 attempts for each request, to read whole stores."""
    return RegionClients(contract, timeout_seconds=TIMEOUT_SECONDS, attempts=_ATTEMPTS)


async def plan(contract: Contract, clients: RegionClients, selection: Selection) -> list[PlannedPart]:
    """List the parts that a backup would contain now, each with its number of records.

    The function reads all stores completely to count rows, items and keys, and writes no backup.
    """
    planned: list[PlannedPart] = []
    if Kind.DATABASE in selection.kinds:
        rows = await database.counts(contract, clients) or {}
        planned += [PlannedPart(Kind.DATABASE, name, count) for name, count in rows.items()]
    if Kind.TABLE in selection.kinds:
        for key, table in contract.tables.items():
            planned.append(PlannedPart(Kind.TABLE, key, await tables.count(clients, table.name) or 0))
    if Kind.CACHE in selection.kinds:
        async with open_cache(contract, clients, timeout_seconds=TIMEOUT_SECONDS) as redis:
            for name in await cache.namespaces(redis, selection.cache_namespaces):
                planned.append(PlannedPart(Kind.CACHE, name, await cache.count(redis, name)))
    return planned


async def create(
    contract: Contract,
    clients: RegionClients,
    store: ObjectStore,
    selection: Selection,
    *,
    on_progress: OnProgress = lambda _label, _count: None,
) -> Manifest:
    """Back up the region into `store`.

    If an error or a cancellation stops the backup, mjctl removes the stored objects.

    All relations of PostgreSQL are read as of one moment. Each item of a table and each key of the cache is read
    consistently, but different items and keys are read at different moments.

    Raises:
        UnreachableError: PostgreSQL, Redis, DynamoDB, KMS or the object store does not answer.
        PermissionDeniedError: PostgreSQL, Redis, DynamoDB, KMS or the object store denies access.
        RefusedError: the selection contains the cache, and this machine cannot connect to the cache.
        VerificationError: the stored backup has a missing object, or an object of a wrong size.
    """
    backup_id = new_backup_id()
    created_at = _now()
    keys = await new_keys(Unlocker(contract, clients), backup_id)
    with store.claim(backup_id):
        writing = _Writing(contract, clients, store, keys, backup_id, on_progress)
        try:
            facts, parts = await _write_parts(writing, selection)
            manifest = Manifest(
                format=FORMAT,
                backup_id=backup_id,
                project=contract.project,
                environment=contract.environment,
                region=contract.region,
                created_at=created_at,
                completed_at=_now(),
                created_by=f"mjctl {mjctl.__version__}",
                database=facts,
                parts=parts,
            )
            await commit(store, manifest, keys)
        except BaseException:
            await tidy(
                _undo(writing), f"removing the unfinished backup {backup_id}", leaves="`mjctl backup prune` removes it"
            )
            raise
    await _confirm(store, backup_id)
    return manifest


async def commit(store: ObjectStore, manifest: Manifest, keys: BackupKeys) -> None:
    """Sign the manifest with `keys` and store it as the last object, which makes the backup complete."""
    await to_its_end(store.put(f"{manifest.backup_id}/{MANIFEST_NAME}", encode_manifest(keys.sign(manifest))))


async def copy(
    manifest: Manifest, keys: BackupKeys, source: ObjectStore, target: ObjectStore, unlocker: Unlocker
) -> None:
    """Copy a backup into the store of another region, and let the KMS key of that region decrypt the copy too."""
    rewrapped = await keys.wrap_for(unlocker, manifest)
    gate = asyncio.Semaphore(8)

    async def copy_object(name: str) -> None:
        async with gate:
            await target.put(name, await source.get(name))

    with target.claim(manifest.backup_id):
        await first_error([copy_object(f"{manifest.backup_id}/{name}") for name in manifest.objects()])
        await commit(target, manifest, rewrapped)
    await _confirm(target, manifest.backup_id)


async def _write_parts(writing: _Writing, selection: Selection) -> tuple[dict[str, Any], tuple[Part, ...]]:
    work: list[Coroutine[Any, Any, tuple[dict[str, Any], list[Part]]]] = []
    if Kind.DATABASE in selection.kinds:
        work.append(_database(writing))
    if Kind.TABLE in selection.kinds:
        work += [_table(writing, key) for key in writing.contract.tables]
    if Kind.CACHE in selection.kinds:
        work.append(_cache(writing, selection.cache_namespaces))
    written = await first_error(work)
    facts: dict[str, Any] = {}
    for store_facts, _ in written:
        facts |= store_facts
    return facts, tuple(part for _, parts in written for part in parts)


async def _database(writing: _Writing) -> tuple[dict[str, Any], list[Part]]:
    async with database.reading(writing.contract, writing.clients) as snapshot:
        parts = [
            await writing.part(Kind.DATABASE, relation.label, relation.to_schema(), snapshot.lines(relation))
            for relation in snapshot.relations
        ]
        return snapshot.facts, parts


async def _table(writing: _Writing, key: str) -> tuple[dict[str, Any], list[Part]]:
    name = writing.contract.tables[key].name

    async def records() -> AsyncGenerator[list[bytes], None]:
        async for items in tables.scan(writing.clients, name):
            yield await asyncio.to_thread(tables.encode_items, items)

    schema = await tables.describe(writing.clients, name)
    return {}, [await writing.part(Kind.TABLE, key, schema, records())]


async def _cache(writing: _Writing, globs: Sequence[str]) -> tuple[dict[str, Any], list[Part]]:
    async with open_cache(writing.contract, writing.clients, timeout_seconds=TIMEOUT_SECONDS) as redis:
        return {}, [
            await writing.part(Kind.CACHE, name, {}, cache.scan(redis, name))
            for name in await cache.namespaces(redis, globs)
        ]


async def _undo(writing: _Writing) -> None:
    for writer in writing.writers:
        await writer.abort()
    own = f"{writing.backup_id}/"
    # Delete the manifest before the chunks, so that an interrupted deletion leaves an incomplete backup, and not a
    # backup that has a manifest and lacks chunks.
    names = sorted(
        (item.name for item in await writing.store.list() if item.name.startswith(own)),
        key=lambda name: not name.endswith(f"/{MANIFEST_NAME}"),
    )
    await writing.store.delete(names)


async def _confirm(store: ObjectStore, backup_id: str) -> None:
    entry = await find_backup(store, backup_id)
    if entry.problem is not None:
        raise VerificationError(
            f"the new backup is damaged in its store: {entry.problem}",
            where=f"{backup_id} in {store.location}",
            hint="check the store's disk space or bucket policy, and repeat the backup",
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
