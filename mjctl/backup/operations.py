"""Executes the backup commands in one region: opens the AWS clients and the backup store, and returns results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mjctl.backup import create as creation
from mjctl.backup import drill as drilling
from mjctl.backup import restore as restoring
from mjctl.backup import retention
from mjctl.backup import verify as verifying
from mjctl.backup.archive import ArchiveReader
from mjctl.backup.catalog import find_backup, read_catalog
from mjctl.backup.create import OnProgress, PlannedPart, Selection, backup_clients
from mjctl.backup.destination import Destination
from mjctl.backup.destination import copies as copies_of
from mjctl.backup.keys import Unlocker, unlock
from mjctl.backup.messages import TaskWork
from mjctl.backup.remote import needs_task, run_in_task
from mjctl.clients.backup_keys import DATA_KEY, BackupKeyring, same_key
from mjctl.clients.boto import RegionClients
from mjctl.clients.objects import ObjectStore, open_store
from mjctl.models.backup import (
    BackupEntry,
    BackupState,
    DrillReport,
    Kind,
    Manifest,
    PrunePlan,
    RestorePlan,
    RestoreReport,
    RetentionPolicy,
    VerifyReport,
)
from mjctl.models.contract import Contract
from mjctl.models.errors import (
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    UnreachableError,
    VerificationError,
)


@contextmanager
def region_store(contract: Contract, location: str | None) -> Iterator[tuple[RegionClients, ObjectStore]]:
    """Open the AWS clients of a region and the region's backup store.

    Args:
        location: folder or URL of the store; None for the store in the region's contract.
    """
    with backup_clients(contract) as clients:
        yield clients, open_store(contract, clients, location)


async def plan_create(contract: Contract, selection: Selection) -> list[PlannedPart]:
    """List the parts that a backup of this region would contain now.

    Raises:
        RefusedError: the selection contains the cache, and the cache is private.
    """
    _refuse_private_cache(contract, selection)
    if needs_task(contract, selection.kinds):
        return list((await run_in_task(contract, TaskWork.PLAN, None, kinds=selection.kinds)).parts)
    with backup_clients(contract) as clients:
        return await creation.plan(contract, clients, selection)


async def create(
    contract: Contract,
    selection: Selection,
    location: str | None,
    *,
    copy_to: Contract | None = None,
    on_progress: OnProgress = lambda _label, _count: None,
) -> Manifest:
    """Make a portable backup of the region.

    Args:
        location: folder or URL of the store; None for the store in the region's contract.
        copy_to: contract of another region; its store receives a copy of the backup, which its KMS key can decrypt.

    Raises:
        RefusedError: the selection contains the cache, and the cache is private.
    """
    _refuse_private_cache(contract, selection)
    with region_store(contract, location) as (clients, store):
        if needs_task(contract, selection.kinds):
            manifest = await _created_by_task(contract, selection, location, on_progress)
        else:
            manifest = await creation.create(contract, clients, store, selection, on_progress=on_progress)
        if copy_to is not None and copy_to.region != contract.region:
            entry = await find_backup(store, manifest.backup_id)
            assert entry.signed is not None  # noqa: S101  a complete backup has a manifest
            keys = await unlock(entry.signed, [Unlocker(contract, clients)])
            with region_store(copy_to, location) as (theirs, target):
                await creation.copy(manifest, keys, store, target, Unlocker(copy_to, theirs))
        return manifest


async def _created_by_task(
    contract: Contract, selection: Selection, location: str | None, on_progress: OnProgress
) -> Manifest:
    report = await run_in_task(contract, TaskWork.CREATE, location, kinds=selection.kinds, on_progress=on_progress)
    if report.manifest is None:
        raise VerificationError(
            "the backup task ended without the manifest of its backup",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl backup list {contract.scope}` shows the complete backups",
        )
    return report.manifest


def kinds_of_default(contract: Contract) -> tuple[Kind, ...]:
    """Return the kinds of stores that a portable backup of the region contains if the operator selects none.

    A portable backup lacks a private cache. The game can compute the values of the cache again.
    """
    return tuple(kind for kind in Kind if kind is not Kind.CACHE or contract.cache.access == "direct")


def _refuse_private_cache(contract: Contract, selection: Selection) -> None:
    if Kind.CACHE in selection.kinds and contract.cache.access != "direct":
        raise RefusedError(
            "the cache is private: this machine cannot read the cache, so a portable backup would lack the cache",
            where=f"{contract.environment}, {contract.region}",
            hint="use `--kind managed` to let AWS back up all stores, or make a portable backup without the cache: "
            "`--only table --only database`",
        )


async def catalog(contract: Contract, location: str | None) -> list[BackupEntry]:
    """List all backups in the region's store, the oldest first, and check which of them the region can decrypt."""
    with region_store(contract, location) as (clients, store):
        entries = await read_catalog(store)
        keyring = BackupKeyring(contract, clients)
        return [await _with_key(entry, keyring) for entry in entries]


async def _with_key(entry: BackupEntry, keyring: BackupKeyring) -> BackupEntry:
    if entry.state is not BackupState.COMPLETE or entry.signed is None:
        return entry
    try:
        problem = await keyring.problem(entry.signed.keys)
    except (PermissionDeniedError, UnreachableError):
        # If KMS does not answer or denies access, list the backup with None (unknown) in the field `opens`.
        return entry
    return replace(entry, opens=problem is None, problem=problem)


async def unreadable_without(
    destroyed: Mapping[str, Contract], remaining: Mapping[str, Contract], location: str | None
) -> dict[str, list[BackupEntry]]:
    """Return the complete backups that can be decrypted now, but not after the destroy of the regions `destroyed`.

    Args:
        destroyed: the contracts of the regions that will be destroyed with their keys, by region.
        remaining: the contracts of the other deployed regions, by region. A backup that a key of a remaining region can
            decrypt stays readable.
        location: folder or URL of the store; None for the store in each region's contract.

    Returns:
        For each destroyed region the backups in its store that become unreadable, the oldest first.
    """
    kept = [contract.keys[DATA_KEY] for contract in remaining.values() if DATA_KEY in contract.keys]
    # `mjctl backup create --copy-to REGION` stores a copy of the backup in REGION, and the KMS key of REGION can
    # decrypt the copy.
    copied = {
        entry.backup_id for contract in remaining.values() for entry in await catalog(contract, location) if entry.opens
    }
    lost: dict[str, list[BackupEntry]] = {}
    for region, contract in destroyed.items():
        for entry in await catalog(contract, location):
            keys = entry.signed.keys if entry.signed is not None else ()
            readable = any(same_key(key.key_id, other) for key in keys for other in kept)
            if entry.opens and not readable and entry.backup_id not in copied:
                lost.setdefault(region, []).append(entry)
    return lost


async def find(contract: Contract, location: str | None, wanted: str) -> BackupEntry:
    """Return the backup `wanted` of the region's store: an id, or `latest` for the newest complete backup.

    Raises:
        NotFoundError: the store has no backup `wanted`, or that backup is incomplete.
    """
    with region_store(contract, location) as (_, store):
        return await find_backup(store, wanted)


async def verify(
    contract: Contract,
    location: str | None,
    wanted: str | None,
    *,
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> list[VerifyReport]:
    """Read all objects of one or all backups in the region's store, and check the objects.

    Args:
        wanted: id of a backup, or `latest` for the newest finished backup, damaged or not; None for all backups that
            have a manifest.
        on_progress: receives the number of bytes read since the last call.

    Raises:
        NotFoundError: the store has no backup `wanted`, or no backup at all.
    """
    with region_store(contract, location) as (clients, store):
        if wanted is None:
            entries = [entry for entry in await read_catalog(store) if entry.state is not BackupState.INCOMPLETE]
        else:
            # Let `latest` mean the newest finished backup even if that backup is damaged, because `verify` must find
            # the damage.
            entries = [await find_backup(store, wanted, damaged=True)]
        if not entries:
            raise NotFoundError(
                "there is no backup yet",
                where=store.location,
                hint="`mjctl backup create --region REGION` makes a backup",
            )
        unlocker = Unlocker(contract, clients)
        return [await verifying.verify(store, entry, [unlocker], on_progress=on_progress) for entry in entries]


@dataclass(frozen=True)
class Restore:
    """Plans and executes the restore of one portable backup.

    Attributes:
        source: contract of the region whose store contains the backup.
        destination: contract of the region that is restored into.
        location: folder or URL of the store; None for the store in the source's contract.
        backup: id of the backup, or `latest` for the newest complete backup.
        into: name of a scratch copy in the destination; None to overwrite the destination's live stores.
        kinds: the kinds of stores to restore.
    """

    source: Contract
    destination: Contract
    location: str | None
    backup: str
    into: str | None
    kinds: tuple[Kind, ...] = tuple(Kind)

    async def plan(self) -> RestorePlan:
        """Return the steps of the restore.

        The method reads the backup and the destination's stores, and changes nothing.

        Raises:
            RefusedError: the destination's database is private, and the restore includes the database.
        """
        if needs_task(self.destination, self.kinds):
            raise RefusedError(
                "the database is private: mjctl restores a portable backup of a private database only in a drill",
                where=f"{self.destination.environment}, {self.destination.region}",
                hint="restore the tables with `--only table`, and the database with `--kind managed`",
            )
        with backup_clients(self.source) as ours, backup_clients(self.destination) as theirs:
            reader = await self._open(self.backup, ours, theirs)
            return await restoring.plan(reader, Destination(self.destination, theirs, self.into), self.kinds)

    async def execute(
        self, plan: RestorePlan, *, on_progress: OnProgress = lambda _label, _count: None
    ) -> RestoreReport:
        """Execute the steps of a plan that the method `plan` returned.

        Raises:
            VerificationError: the backup is damaged, or the restored database differs from the backup and was rolled
                back.
        """
        with backup_clients(self.source) as ours, backup_clients(self.destination) as theirs:
            # Open the backup by its id, because `latest` may be another backup now than at the time of the plan.
            reader = await self._open(plan.backup_id, ours, theirs)
            to = Destination(self.destination, theirs, self.into)
            return await restoring.execute(plan, reader, to, on_progress=on_progress)

    async def _open(self, backup: str, ours: RegionClients, theirs: RegionClients) -> ArchiveReader:
        store = open_store(self.source, ours, self.location)
        entry = await find_backup(store, backup)
        unlockers = [Unlocker(self.source, ours), Unlocker(self.destination, theirs)]
        return await verifying.open_archive(store, entry, unlockers)


async def plan_prune(contract: Contract, location: str | None, policy: RetentionPolicy) -> PrunePlan:
    """Decide which backups in the region's store to keep and which to remove, without removing a backup."""
    with region_store(contract, location) as (_, store):
        knows_writers = store.is_claimed("-") is not None
        return retention.plan(await read_catalog(store), policy, knows_writers=knows_writers)


async def prune(contract: Contract, location: str | None, plan: PrunePlan) -> dict[str, Any]:
    """Remove the backups that `plan` removes. Returns: `{"removed": [ids], "freed_bytes": int}`."""
    with region_store(contract, location) as (_, store):
        freed = await retention.prune(store, plan)
    return {"removed": [entry.backup_id for entry in plan.removed], "freed_bytes": freed}


async def drill(
    contract: Contract,
    location: str | None,
    wanted: str,
    run_checks: drilling.RunChecks,
    *,
    on_progress: OnProgress = lambda _label, _count: None,
) -> DrillReport:
    """Restore one portable backup into a scratch copy in the backup's region, check the copy and remove the copy."""
    with region_store(contract, location) as (clients, store):
        entry = await find_backup(store, wanted)
        if needs_task(contract):
            report = await run_in_task(
                contract, TaskWork.DRILL, location, name=entry.backup_id, on_progress=on_progress
            )
            if report.drill is None:
                raise VerificationError(
                    "the backup task ended without the report of the drill",
                    where=entry.backup_id,
                    hint=f"repeat the drill. `mjctl backup discard {contract.scope}` lists scratch copies that remain",
                )
            return report.drill
        return await drilling.drill(contract, clients, store, entry, run_checks, on_progress=on_progress)


async def copies(contract: Contract) -> list[str]:
    """Return the names of the scratch copies in this region."""
    if needs_task(contract) and contract.backup.task is not None:
        return list((await run_in_task(contract, TaskWork.COPIES, None)).names)
    with backup_clients(contract) as clients:
        return await copies_of(contract, clients)


async def discard(contract: Contract, name: str) -> list[str]:
    """Remove a scratch copy, and return the names of its removed parts."""
    if needs_task(contract) and contract.backup.task is not None:
        return list((await run_in_task(contract, TaskWork.DISCARD, None, name=name)).names)
    with backup_clients(contract) as clients:
        return await Destination(contract, clients, name).remove()
