"""Verifies a backup: reads all bytes of its objects, and reports objects that do not belong to the backup."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from mjctl.backup.archive import OTHER_RECORDS, ArchiveReader, DamagedObject
from mjctl.backup.digest import RecordDigest
from mjctl.backup.keys import Unlocker, unlock
from mjctl.backup.streams import first_error
from mjctl.clients.objects import ObjectStore
from mjctl.models.backup import MANIFEST_NAME, BackupEntry, Part, Problem, VerifyReport
from mjctl.models.errors import VerificationError

_CHUNKS_AT_A_TIME = 4


async def open_archive(store: ObjectStore, entry: BackupEntry, unlockers: Sequence[Unlocker]) -> ArchiveReader:
    """Decrypt the root key of a backup, check the signature of the manifest, and return a reader of the backup.

    Args:
        unlockers: the regions whose KMS keys may decrypt the root key of the backup.

    Raises:
        VerificationError: the manifest of the backup was altered or cannot be read.
        NotFoundError: none of the regions has a key that can decrypt this backup.
    """
    if entry.signed is None:
        raise VerificationError(entry.problem or "it has no manifest", where=entry.backup_id)
    keys = await unlock(entry.signed, unlockers)
    return ArchiveReader(store, keys.cipher(), entry.signed.manifest)


async def verify(
    store: ObjectStore,
    entry: BackupEntry,
    unlockers: Sequence[Unlocker],
    *,
    on_progress: Callable[[int], None] = lambda _bytes: None,
) -> VerifyReport:
    """Read all objects of a backup and check the objects.

    Args:
        on_progress: receives the number of bytes read since the last call.

    Returns:
        The report, which names the object of each problem.

    Raises:
        NotFoundError: none of the regions has a key that can decrypt this backup.
        PermissionDeniedError: KMS or the store denies access.
        UnreachableError: KMS or the store does not answer.
    """
    started = time.perf_counter()
    try:
        reader = await open_archive(store, entry, unlockers)
    except VerificationError as error:
        problem = Problem(MANIFEST_NAME, error.what)
        return VerifyReport(
            entry.backup_id, len(entry.objects), entry.size_bytes, 0, time.perf_counter() - started, (problem,)
        )
    problems: list[Problem] = []
    gate = asyncio.Semaphore(_CHUNKS_AT_A_TIME)

    async def chunk(part: Part, index: int) -> RecordDigest | None:
        async with gate:
            try:
                records = await reader.chunk(part, index)
            except DamagedObject as error:
                problems.append(Problem(error.name, error.reason))
                return None
            digest = RecordDigest()
            await asyncio.to_thread(digest.update, records)
            on_progress(part.chunks[index].size)
            return digest

    async def whole(part: Part) -> int:
        digests = await first_error([chunk(part, index) for index in range(len(part.chunks))])
        total = RecordDigest()
        for digest in digests:
            if digest is None:
                return 0  # The function `chunk` has added the damaged chunk to `problems`.
            total.merge(digest)
        if (total.records, total.hexdigest()) != (part.records, part.digest):
            problems.append(Problem(part.label, OTHER_RECORDS))
        return total.records

    records = await first_error([whole(part) for part in reader.manifest.parts])
    known = {*reader.manifest.objects(), MANIFEST_NAME}
    problems += [Problem(name, "it does not belong to the backup") for name in entry.objects if name not in known]
    return VerifyReport(
        backup_id=entry.backup_id,
        objects=len(entry.objects),
        bytes=entry.size_bytes,
        records=sum(records),
        seconds=time.perf_counter() - started,
        problems=tuple(sorted(problems, key=lambda problem: problem.object)),
    )
