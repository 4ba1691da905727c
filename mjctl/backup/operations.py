"""The backup commands over one region: clients and store opened, work done, documents for `--output json`."""

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
from mjctl.models.errors import NotFoundError, PermissionDeniedError, RefusedError, UnreachableError


@contextmanager
def region_store(contract: Contract, location: str | None) -> Iterator[tuple[RegionClients, ObjectStore]]:
    """Open the clients of a region and its backup store.

    Args:
        location: Where the store is; None for the region's own store.
    """
    with backup_clients(contract) as clients:
        yield clients, open_store(contract, clients, location)


async def plan_create(contract: Contract, selection: Selection) -> list[PlannedPart]:
    """What a backup of this region would hold now.

    Raises:
        RefusedError: a chosen store cannot be reached from here by anybody.
    """
    _refuse_what_is_private(contract, selection)
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
    """Back the region up; with `copy_to` also into the store of, and for the key of, that region.

    Raises:
        RefusedError: a chosen store cannot be reached from here by anybody.
    """
    _refuse_what_is_private(contract, selection)
    with region_store(contract, location) as (clients, store):
        manifest = await creation.create(contract, clients, store, selection, on_progress=on_progress)
        if copy_to is not None and copy_to.region != contract.region:
            entry = await find_backup(store, manifest.backup_id)
            assert entry.signed is not None  # noqa: S101  a complete backup has a manifest
            keys = await unlock(entry.signed, [Unlocker(contract, clients)])
            with region_store(copy_to, location) as (theirs, target):
                await creation.copy(manifest, keys, store, target, Unlocker(copy_to, theirs))
        return manifest


def _refuse_what_is_private(contract: Contract, selection: Selection) -> None:
    if Kind.CACHE in selection.kinds and contract.cache.access != "direct":
        raise RefusedError(
            "the cache is private and cannot be read from here, so a portable backup would lack it",
            where=f"{contract.environment}, {contract.region}",
            hint="`--kind managed` has AWS back up everything; `--only table` (and, from inside the VPC, `--only"
            " database`) makes a portable one without the cache",
        )


async def catalog(contract: Contract, location: str | None) -> list[BackupEntry]:
    """Everything in the region's store, the oldest first, and whether the region can open it."""
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
        # The listing itself is right without an answer of KMS.
        return entry
    return replace(entry, opens=problem is None, problem=problem)


async def unreadable_without(
    going: Mapping[str, Contract], staying: Mapping[str, Contract], location: str | None
) -> dict[str, list[BackupEntry]]:
    """The complete backups that can be opened now, and no longer once the regions `going` and their keys are gone.

    Args:
        staying: The other deployed regions. A backup that the key of one of them opens stays readable.

    Returns:
        By the region whose store holds them; each list is the oldest first.
    """
    kept = [contract.keys[DATA_KEY] for contract in staying.values() if DATA_KEY in contract.keys]
    # `create --copy-to` leaves the same backup in the other region's store, for the other region's key.
    copied = {
        entry.backup_id for contract in staying.values() for entry in await catalog(contract, location) if entry.opens
    }
    lost: dict[str, list[BackupEntry]] = {}
    for region, contract in going.items():
        for entry in await catalog(contract, location):
            keys = entry.signed.keys if entry.signed is not None else ()
            readable = any(same_key(key.key_id, other) for key in keys for other in kept)
            if entry.opens and not readable and entry.backup_id not in copied:
                lost.setdefault(region, []).append(entry)
    return lost


async def find(contract: Contract, location: str | None, wanted: str) -> BackupEntry:
    """One backup of the region's store; `latest` is the newest complete one."""
    with region_store(contract, location) as (_, store):
        return await find_backup(store, wanted)


async def verify(
    contract: Contract,
    location: str | None,
    wanted: str | None,
    *,
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> list[VerifyReport]:
    """Read one backup back, or (`wanted` None) every one that has a manifest.

    Raises:
        NotFoundError: there is none.
    """
    with region_store(contract, location) as (clients, store):
        if wanted is None:
            entries = [entry for entry in await read_catalog(store) if entry.state is not BackupState.INCOMPLETE]
        else:
            # A damaged newest one is what verifying is for, not one to step over.
            entries = [await find_backup(store, wanted, damaged=True)]
        if not entries:
            raise NotFoundError("there is no backup yet", where=store.location, hint="`mjctl backup create` makes one")
        unlocker = Unlocker(contract, clients)
        return [await verifying.verify(store, entry, [unlocker], on_progress=on_progress) for entry in entries]


@dataclass(frozen=True)
class Restore:
    """One restore: from `source`'s store into `destination`, or into the copy `into` beside it."""

    source: Contract
    destination: Contract
    location: str | None
    backup: str
    into: str | None
    kinds: tuple[Kind, ...] = tuple(Kind)

    async def plan(self) -> RestorePlan:
        """Reads only."""
        with backup_clients(self.source) as ours, backup_clients(self.destination) as theirs:
            reader = await self._open(self.backup, ours, theirs)
            return await restoring.plan(reader, Destination(self.destination, theirs, self.into), self.kinds)

    async def execute(
        self, plan: RestorePlan, *, on_progress: OnProgress = lambda _label, _count: None
    ) -> RestoreReport:
        with backup_clients(self.source) as ours, backup_clients(self.destination) as theirs:
            # By its id: `latest` may be another one by now.
            reader = await self._open(plan.backup_id, ours, theirs)
            to = Destination(self.destination, theirs, self.into)
            return await restoring.execute(plan, reader, to, on_progress=on_progress)

    async def _open(self, backup: str, ours: RegionClients, theirs: RegionClients) -> ArchiveReader:
        store = open_store(self.source, ours, self.location)
        entry = await find_backup(store, backup)
        unlockers = [Unlocker(self.source, ours), Unlocker(self.destination, theirs)]
        return await verifying.open_archive(store, entry, unlockers)


async def plan_prune(contract: Contract, location: str | None, policy: RetentionPolicy) -> PrunePlan:
    """What would stay and what would go. Reads only."""
    with region_store(contract, location) as (_, store):
        knows_writers = store.is_claimed("-") is not None
        return retention.plan(await read_catalog(store), policy, knows_writers=knows_writers)


async def prune(contract: Contract, location: str | None, plan: PrunePlan) -> dict[str, Any]:
    """Do it; `{"removed": [ids], "freed_bytes": int}`."""
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
    """Rehearse the restore of one backup in its own region."""
    with region_store(contract, location) as (clients, store):
        entry = await find_backup(store, wanted)
        return await drilling.drill(contract, clients, store, entry, run_checks, on_progress=on_progress)


async def copies(contract: Contract) -> list[str]:
    """Names of the scratch copies in this region."""
    with backup_clients(contract) as clients:
        return await copies_of(contract, clients)


async def discard(contract: Contract, name: str) -> list[str]:
    """Remove a scratch copy; what was removed."""
    with backup_clients(contract) as clients:
        return await Destination(contract, clients, name).remove()
