"""Making a portable backup: all stores of a region read at the same time, and the manifest written last."""

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

# Told of records as they are read or written: (label of the part, how many more).
OnProgress = Callable[[str, int], None]
# Long enough for a page of a large table; a backup that waits a minute is not worth giving up.
TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 5


@dataclass(frozen=True)
class Selection:
    """What goes into a backup. `cache_namespaces`: globs, `!` takes away; what is computed anew need not be kept."""

    kinds: Collection[Kind] = tuple(Kind)
    cache_namespaces: Sequence[str] = ("*",)


@dataclass(frozen=True)
class PlannedPart:
    """One part that a backup would have. `records`: counted now."""

    kind: Kind
    name: str
    records: int


@dataclass
class _Writing:
    """What is under way, so that it can be undone."""

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
    """Clients with the patience that reading whole stores needs."""
    return RegionClients(contract, timeout_seconds=TIMEOUT_SECONDS, attempts=_ATTEMPTS)


async def plan(contract: Contract, clients: RegionClients, selection: Selection) -> list[PlannedPart]:
    """What a backup would hold now. Reads all of the tables and the cache, and changes nothing."""
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
    """Back the region up into `store`: whole, or (on an error or a cancellation) with nothing left behind.

    PostgreSQL is read as of one moment; every item and key is consistent in itself.

    Raises:
        UnreachableError, PermissionDeniedError: a store, KMS or the object store refuses or does not answer.
        RefusedError: the cache is private and asked for.
        VerificationError: the store does not show what was stored in it.
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
    """Store the signed manifest: from here on there is a backup."""
    await to_its_end(store.put(f"{manifest.backup_id}/{MANIFEST_NAME}", encode_manifest(keys.sign(manifest))))


async def copy(
    manifest: Manifest, keys: BackupKeys, source: ObjectStore, target: ObjectStore, unlocker: Unlocker
) -> None:
    """Copy a backup into the store of another region, whose own KMS key opens the copy too."""
    rewrapped = await keys.wrap_for(unlocker, manifest)
    gate = asyncio.Semaphore(8)

    async def one(name: str) -> None:
        async with gate:
            await target.put(name, await source.get(name))

    with target.claim(manifest.backup_id):
        await first_error([one(f"{manifest.backup_id}/{name}") for name in manifest.objects()])
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
    done = await first_error(work)
    facts: dict[str, Any] = {}
    for found, _ in done:
        facts |= found
    return facts, tuple(part for _, parts in done for part in parts)


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
    # The manifest first, should it have been stored: what is half removed must not list as good.
    names = sorted(
        (item.name for item in await writing.store.list() if item.name.startswith(own)),
        key=lambda name: not name.endswith(f"/{MANIFEST_NAME}"),
    )
    await writing.store.delete(names)


async def _confirm(store: ObjectStore, backup_id: str) -> None:
    entry = await find_backup(store, backup_id)
    if entry.problem is not None:
        raise VerificationError(f"the store does not show what was stored: {entry.problem}", where=store.location)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
