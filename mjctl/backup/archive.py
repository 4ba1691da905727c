"""The format of a portable backup: chunks of records that are compressed, encrypted and bound to their position.

    <backup id>/<kind>.<name>.<number>   12 bytes nonce, then AES-256-GCM of zstd of a MessagePack array of records
    <backup id>/manifest.json            SignedManifest: parts with counts, digests and the chunks' hashes

The encryption of a chunk authenticates the backup's id, the part and the chunk's number, so that a chunk cannot replace
another chunk. The manifest is stored after all chunks: a backup without a manifest is incomplete.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from mjctl.backup.digest import RecordDigest
from mjctl.backup.streams import to_its_end
from mjctl.clients.objects import ObjectStore
from mjctl.models.backup import FORMAT, Chunk, Kind, Manifest, Part, object_name
from mjctl.models.errors import NotFoundError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Size in bytes of a backup's chunk before compression. Larger chunks compress better and need fewer S3 requests, but
# several chunks must fit into memory at the same time.
CHUNK_BYTES = 4 * 1024 * 1024
_ZSTD_LEVEL = 3
_NONCE_BYTES = 12
# Maximum number of chunks of one part that mjctl encrypts and stores, or fetches, at the same time.
_CHUNKS_AT_A_TIME = 4
# Error text for a part whose chunks are all intact, but whose records differ from the counts and the digest in the
# manifest.
OTHER_RECORDS = "its records differ from the records that the manifest counts"


class DamagedObject(VerificationError):
    """Reports that an object of a backup is missing or differs from the object that was written.

    Attributes:
        name: name of the object within the backup.
        reason: the damage in words, for example "it is missing".
    """

    def __init__(self, backup_id: str, name: str, reason: str) -> None:
        super().__init__(
            f"{name}: {reason}",
            where=backup_id,
            hint="use another backup; a damaged backup cannot be restored. "
            "`mjctl backup verify` lists all damaged objects",
        )
        self.name = name
        self.reason = reason


@dataclass
class PartWriter:
    """Collects the records of one part and stores them in chunks, up to four chunks at the same time.

    Attributes:
        store: the object store that receives the chunks.
        cipher: encrypts the chunks.
        backup_id: id of the backup, which is also the folder of its objects.
        kind: kind of the store from which the records come.
        name: name of the part, unique among the parts of its kind.
    """

    store: ObjectStore
    cipher: AESGCM
    backup_id: str
    kind: Kind
    name: str
    _pending: list[bytes] = field(default_factory=list)
    _pending_bytes: int = 0
    _digest: RecordDigest = field(default_factory=RecordDigest)
    _chunks: list[asyncio.Task[Chunk]] = field(default_factory=list)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CHUNKS_AT_A_TIME))

    async def add(self, records: Sequence[bytes]) -> None:
        """Add records to the part. The writer stores each full chunk in the background.

        Raises:
            MjctlError: an earlier chunk could not be stored.
        """
        for record in records:
            self._pending.append(record)
            self._pending_bytes += len(record)
            if self._pending_bytes >= CHUNK_BYTES:
                await self._flush()

    async def finish(self, schema: dict[str, Any]) -> Part:
        """Wait until all chunks of the part are stored, and return the part's description for the manifest.

        Args:
            schema: the description of the table or relation that a restore needs, as `tables.describe` or
                `Relation.to_schema` returns it; {} for a cache namespace.

        Raises:
            MjctlError: a chunk could not be stored.
        """
        if self._pending:
            await self._flush()
        chunks = await asyncio.gather(*self._chunks)
        return Part(
            kind=self.kind,
            name=self.name,
            records=self._digest.records,
            raw_bytes=self._digest.bytes,
            digest=self._digest.hexdigest(),
            schema=schema,
            chunks=tuple(chunks),
        )

    async def abort(self) -> None:
        """Cancel the writes of chunks to the store, and wait until the writes have ended."""
        for task in self._chunks:
            task.cancel()
        await asyncio.gather(*self._chunks, return_exceptions=True)

    async def _flush(self) -> None:
        records, self._pending, self._pending_bytes = self._pending, [], 0
        await self._gate.acquire()
        # If an earlier chunk could not be stored, raise its error now, because `finish` would raise the error only
        # after mjctl has read the whole part.
        for task in self._chunks:
            if task.done():
                task.result()
        index = len(self._chunks)
        self._chunks.append(asyncio.create_task(self._store(index, records)))

    async def _store(self, index: int, records: list[bytes]) -> Chunk:
        try:
            data, digest = await asyncio.to_thread(self._seal, index, records)
            self._digest.merge(digest)
            name = object_name(self.kind, self.name, index)
            await to_its_end(self.store.put(f"{self.backup_id}/{name}", data))
            return Chunk(len(records), len(data), hashlib.sha256(data).hexdigest())
        finally:
            self._gate.release()

    def _seal(self, index: int, records: list[bytes]) -> tuple[bytes, RecordDigest]:
        import zstandard

        digest = RecordDigest()
        digest.update(records)
        plain = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(msgspec.msgpack.encode(records))
        nonce = os.urandom(_NONCE_BYTES)
        position = _position(self.backup_id, self.kind, self.name, index)
        return nonce + self.cipher.encrypt(nonce, plain, position), digest


@dataclass(frozen=True)
class ArchiveReader:
    """Reads the parts of a backup, and checks every chunk before it returns the chunk's records.

    Attributes:
        store: the object store that contains the backup.
        cipher: decrypts the chunks.
        manifest: the backup's manifest, with a verified signature.
    """

    store: ObjectStore
    cipher: AESGCM
    manifest: Manifest

    async def read(self, part: Part) -> AsyncGenerator[list[bytes], None]:
        """Yield the records of `part`, one list for each chunk. Up to four chunks are fetched at the same time.

        Raises:
            DamagedObject: a chunk is missing or altered, or the part's records differ from the manifest's count and
                digest. `read` finds a difference from the count or digest only after the part's last chunk.
        """
        digest = RecordDigest()
        ahead: list[asyncio.Task[list[bytes]]] = []
        try:
            for index in range(len(part.chunks)):
                while len(ahead) < min(_CHUNKS_AT_A_TIME, len(part.chunks) - index):
                    ahead.append(asyncio.create_task(self.chunk(part, index + len(ahead))))
                records = await ahead.pop(0)
                await asyncio.to_thread(digest.update, records)
                yield records
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
        if (digest.records, digest.hexdigest()) != (part.records, part.digest):
            raise DamagedObject(self.manifest.backup_id, part.label, OTHER_RECORDS)

    async def chunk(self, part: Part, index: int) -> list[bytes]:
        """Return the records of one chunk.

        Raises:
            DamagedObject: the chunk is missing or altered.
        """
        name = part.object_name(index)
        try:
            data = await self.store.get(f"{self.manifest.backup_id}/{name}")
        except NotFoundError:
            raise DamagedObject(self.manifest.backup_id, name, "it is missing") from None
        return await asyncio.to_thread(self._open, part, index, data)

    def _open(self, part: Part, index: int, data: bytes) -> list[bytes]:
        import zstandard
        from cryptography.exceptions import InvalidTag

        expected, name = part.chunks[index], part.object_name(index)

        def damaged(reason: str) -> DamagedObject:
            return DamagedObject(self.manifest.backup_id, name, reason)

        if len(data) != expected.size:
            raise damaged(f"it has {len(data)} bytes, not {expected.size}")
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise damaged("its bytes were changed (SHA-256 differs)")
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            plain = self.cipher.decrypt(nonce, sealed, _position(self.manifest.backup_id, part.kind, part.name, index))
            packed = zstandard.ZstdDecompressor().decompress(plain)
            records = msgspec.msgpack.decode(packed, type=list[bytes])
        except InvalidTag:
            raise damaged(
                "it cannot be decrypted: it was altered, or is a chunk of another position or another backup"
            ) from None
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise damaged(f"it cannot be unpacked: {error}") from None
        if len(records) != expected.records:
            raise damaged(f"it contains {len(records)} records, not {expected.records}")
        return records


def _position(backup_id: str, kind: Kind, name: str, index: int) -> bytes:
    parts = (FORMAT.encode(), backup_id.encode(), kind.value.encode(), name.encode(), str(index).encode())
    # Write the length of each field of a chunk's position before the field. Without the lengths, the fields ("ab", "c")
    # and ("a", "bc") would be the same bytes, and a chunk could take the place of another chunk.
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
