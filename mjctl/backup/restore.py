"""Plans a restore, executes the plan, and compares the restored stores with the backup.

A single transaction fills the database and compares it with the backup. If the transaction fails, PostgreSQL keeps the
rows that it had before the restore.

A restore overwrites the items of a table, and then removes items that are not in the backup. A restore invalidates a
cache namespace before it writes keys. An operator can repeat an interrupted restore.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from mjctl.backup import cache, database, tables
from mjctl.backup.archive import ArchiveReader
from mjctl.backup.create import TIMEOUT_SECONDS, OnProgress
from mjctl.backup.destination import Destination
from mjctl.backup.streams import first_error
from mjctl.backup.tally import RestoreMoment, Tally, never
from mjctl.clients.stores import cache as open_cache
from mjctl.models.backup import Comparison, Kind, Part, RestorePlan, RestoreReport, RestoreStep
from mjctl.models.errors import ConflictError, NotFoundError, VerificationError


async def plan(reader: ArchiveReader, to: Destination, kinds: Collection[Kind] = tuple(Kind)) -> RestorePlan:
    """Return a step for each part of the backup that a restore writes. The function changes nothing in the stores.

    Args:
        reader: reads the objects of the backup.
        to: the stores that the restore writes to.
        kinds: the kinds of stores to restore.

    Raises:
        NotFoundError: the live stores lack a table or relation that the backup contains.
        ConflictError: the live database is at another migration than the backup.
    """
    manifest = reader.manifest
    parts = [part for part in manifest.parts if part.kind in kinds]
    if to.scratch is not None:
        steps = [RestoreStep(part, to.target(manifest, part), None) for part in parts]
    else:
        steps = [
            *await _database_steps(reader, to, [part for part in parts if part.kind is Kind.DATABASE]),
            *await first_error([_table_step(to, part) for part in parts if part.kind is Kind.TABLE]),
            *await _cache_steps(reader, to, [part for part in parts if part.kind is Kind.CACHE]),
        ]
    return RestorePlan(
        backup_id=manifest.backup_id,
        source=f"{manifest.environment}, {manifest.region}, {manifest.created_at}",
        target=to.where,
        steps=tuple(steps),
        notes=_notes(reader, to),
    )


async def execute(
    steps: RestorePlan,
    reader: ArchiveReader,
    to: Destination,
    *,
    on_progress: OnProgress = lambda _label, _count: None,
) -> RestoreReport:
    """Execute the steps of a restore plan. A DynamoDB table that already equals the backup is not written.

    Returns:
        The report, with a comparison for each part. A table or cache namespace that differs from the backup is
        reported, and raises no error.

    Raises:
        VerificationError: the backup is damaged (DamagedObject), or the restored database differs from the backup and
            was rolled back.
    """
    started = time.perf_counter()
    work = _Work(reader, to, on_progress)
    if to.scratch is not None:
        await to.create(reader.manifest, {step.part.kind for step in steps.steps})
    by_kind = {kind: [step for step in steps.steps if step.part.kind is kind] for kind in Kind}
    compared = await work.database(by_kind[Kind.DATABASE]) if by_kind[Kind.DATABASE] else []
    compared += await first_error([work.table(step) for step in by_kind[Kind.TABLE]])
    for step in by_kind[Kind.CACHE]:
        compared.append(await work.namespace(step))
    return RestoreReport(reader.manifest.backup_id, to.where, tuple(compared), time.perf_counter() - started)


@dataclass(frozen=True)
class _Work:
    reader: ArchiveReader
    to: Destination
    on_progress: OnProgress
    clock: RestoreMoment = field(default_factory=RestoreMoment)

    async def database(self, steps: Sequence[RestoreStep]) -> list[Comparison]:
        """Restore all relations of the database, and compare the rows with the backup, in one transaction."""
        compared = []
        async with database.writing(self.to.database_contract, self.to.clients) as snapshot:
            relations = [database.Relation.of(step.part.schema) for step in steps]
            # Truncate empty relations too, because TRUNCATE locks a relation: no other connection can write a row
            # before the restored rows are compared.
            await snapshot.empty(relations)
            for step, relation in zip(steps, relations, strict=True):
                started = time.perf_counter()
                archive, restored = Tally(self.clock, never), Tally(self.clock, never)
                async with aclosing(self._counted(step.part, archive)) as batches:
                    await snapshot.fill(relation, batches)
                async with aclosing(snapshot.lines(relation)) as lines:
                    async for batch in lines:
                        restored.take(batch)
                comparison = _comparison(step, archive, restored, started)
                if not comparison.equal:
                    raise VerificationError(
                        f"{step.part.label} differs from the backup after the restore; the database was rolled back to "
                        "its earlier rows",
                        where=f"{self.to.where}: {restored.seen} rows instead of {archive.seen}",
                        hint="probably a trigger or rule of the database changes rows. Restore into a scratch copy "
                        "(`--into NAME`) to compare the rows",
                    )
                compared.append(comparison)
            await snapshot.set_sequences(self.reader.manifest.database.get("sequences", {}))
        return compared

    async def table(self, step: RestoreStep) -> Comparison:
        started = time.perf_counter()
        clients, name, schema = self.to.clients, step.target, step.part.schema
        if step.existing == step.part.records and (same := await self._is_equal(step, started)) is not None:
            return same
        archive = self._table_tally(step)
        keys: set[bytes] = set()
        async with aclosing(self._counted(step.part, archive)) as batches:
            async for records in batches:
                items = [tables.decode_item(record) for record in records]
                if step.existing:
                    keys.update(_key_hash(tables.key_of(item, schema)) for item in items)
                await tables.put(clients, name, items)
        if step.existing:
            await self._delete_others(step, keys)
        return _comparison(step, archive, await self._read_table(step), started)

    async def namespace(self, step: RestoreStep) -> Comparison:
        started = time.perf_counter()
        archive, restored = (Tally(self.clock, cache.expires_at_ms) for _ in range(2))
        async with open_cache(self.to.contract, self.to.clients, timeout_seconds=TIMEOUT_SECONDS) as redis:
            writer = cache.NamespaceWriter(redis, step.target)
            await writer.begin()
            async with aclosing(self._counted(step.part, archive)) as batches:
                async for records in batches:
                    await writer.write(records)
            async for batch in cache.scan(redis, step.target):
                restored.take(batch)
        return _comparison(step, archive, restored, started)

    async def _counted(self, part: Part, tally: Tally) -> AsyncGenerator[list[bytes], None]:
        """Yield the records of `part` that have not expired, and count all records of `part` in `tally`."""
        async with aclosing(self.reader.read(part)) as batches:
            async for records in batches:
                living = await asyncio.to_thread(tally.take, records)
                self.on_progress(part.label, len(records))
                yield living

    async def _is_equal(self, step: RestoreStep, started: float) -> Comparison | None:
        archive = self._table_tally(step)
        async with aclosing(self.reader.read(step.part)) as batches:
            async for records in batches:
                await asyncio.to_thread(archive.take, records)
        comparison = _comparison(step, archive, await self._read_table(step), started)
        return comparison if comparison.equal else None

    async def _read_table(self, step: RestoreStep) -> Tally:
        tally = self._table_tally(step)
        async with aclosing(tables.scan(self.to.clients, step.target)) as pages:
            async for items in pages:
                await asyncio.to_thread(lambda page: tally.take(tables.encode_items(page)), items)
        return tally

    async def _delete_others(self, step: RestoreStep, keys: Collection[bytes]) -> None:
        """Remove the table's items whose keys are not in `keys`, the hashed keys of the backup's items."""
        names = {f"#k{number}": column["AttributeName"] for number, column in enumerate(step.part.schema["key_schema"])}
        narrowed = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        async with aclosing(tables.scan(self.to.clients, step.target, **narrowed)) as pages:
            async for items in pages:
                others = [item for item in items if _key_hash(item) not in keys]
                await tables.delete(self.to.clients, step.target, others)

    def _table_tally(self, step: RestoreStep) -> Tally:
        schema = step.part.schema
        return Tally(self.clock, lambda record: tables.expires_at_ms(tables.decode_item(record), schema))


async def _database_steps(reader: ArchiveReader, to: Destination, parts: Sequence[Part]) -> list[RestoreStep]:
    if not parts:
        return []
    migration = reader.manifest.database.get("migration")
    async with database.reading(to.contract, to.clients) as snapshot:
        if snapshot.facts["migration"] != migration:
            raise ConflictError(
                f"the backup's schema is at migration {migration}, and the live database's schema is at migration "
                f"{snapshot.facts['migration']}",
                where=to.where,
                hint="deploy the version of the game that made the backup, repeat the restore, and deploy the new "
                "version again; or restore into a scratch copy: `--into NAME`",
            )
        relations = {relation.label: relation for relation in snapshot.relations}
        missing = [part.name for part in parts if part.name not in relations]
        if missing:
            raise NotFoundError(
                f"the database has no table {', '.join(missing)}, which the backup contains",
                where=to.where,
                hint="restore into a scratch copy, which gets all PostgreSQL tables of the backup: `--into NAME`",
            )
        return [
            RestoreStep(part, to.target(reader.manifest, part), await snapshot.count(relations[part.name]))
            for part in parts
        ]


async def _table_step(to: Destination, part: Part) -> RestoreStep:
    name = to.table(part.name)
    items = await tables.count(to.clients, name)
    if items is None:
        raise NotFoundError(
            f"the table {name} does not exist",
            where=to.where,
            hint=f"`mjctl deploy --env {to.contract.environment} --region {to.contract.region}` creates the table",
        )
    return RestoreStep(part, name, items)


async def _cache_steps(reader: ArchiveReader, to: Destination, parts: Sequence[Part]) -> list[RestoreStep]:
    if not parts:
        return []
    async with open_cache(to.contract, to.clients, timeout_seconds=TIMEOUT_SECONDS) as redis:
        return [
            RestoreStep(part, to.target(reader.manifest, part), await cache.count(redis, part.name)) for part in parts
        ]


def _notes(reader: ArchiveReader, to: Destination) -> tuple[str, ...]:
    manifest, contract = reader.manifest, to.contract
    notes = ["accounts and passwords are not part of a backup: they stay in the user pool"]
    if to.scratch is None:
        scope = f"--env {contract.environment} --region {contract.region}"
        notes.append(
            "the game keeps writing during a restore, and the comparison reports its writes as differences. If another "
            f"region is deployed, first move the players to it: `mjctl failover {scope} --wait 300`"
        )
    if (manifest.environment, manifest.project) != (contract.environment, contract.project):
        notes.append(
            f"the players' contact fields cannot be decrypted here: environment {manifest.environment} encrypted them"
        )
    elif manifest.region != contract.region and contract.target == "local":
        notes.append(
            "the players' contact fields cannot be decrypted here: each local region has its own key, and region "
            f"{manifest.region} encrypted them"
        )
    return tuple(notes)


def _comparison(step: RestoreStep, archive: Tally, restored: Tally, started: float) -> Comparison:
    return Comparison(
        kind=step.part.kind,
        name=step.part.name,
        target=step.target,
        archived=archive.seen,
        expired=archive.expired,
        expiring=archive.expiring,
        durable=archive.durable.records,
        restored=restored.durable.records,
        equal=restored.equals(archive),
        seconds=time.perf_counter() - started,
    )


def _key_hash(key: tables.Item) -> bytes:
    return hashlib.blake2b(tables.encode_item(key), digest_size=16).digest()
