"""The archive's format: records in chunks, each compressed, encrypted and bound to its place.

    <backup id>/<kind>.<name>.<number>   12 bytes nonce, then AES-256-GCM of zstd of a MessagePack array of records
    <backup id>/manifest.json            SignedManifest: parts with counts, digests and the chunks' hashes

A chunk is authenticated together with backup, part and number, so that none can stand in for another. The manifest is
stored after all else; a backup without one does not exist.
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

# Large enough for zstd to find what repeats and for S3's cost a request, small enough to hold several in memory.
CHUNK_BYTES = 4 * 1024 * 1024
_ZSTD_LEVEL = 3
_NONCE_BYTES = 12
# Chunks of one part that are being sealed, stored or fetched at the same time.
_CHUNKS_AT_A_TIME = 4


class DamagedObject(VerificationError):
    """One object is not what was written. `name` is its name within the backup."""

    def __init__(self, backup_id: str, name: str, what: str) -> None:
        super().__init__(
            f"{name}: {what}",
            where=backup_id,
            hint="this backup cannot be restored; `mjctl backup verify` shows all that is wrong with it",
        )
        self.name = name
        self.reason = what


@dataclass
class PartWriter:
    """Collects the records of one part and stores them chunk by chunk, a few at the same time."""

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
        for record in records:
            self._pending.append(record)
            self._pending_bytes += len(record)
            if self._pending_bytes >= CHUNK_BYTES:
                await self._flush()

    async def finish(self, schema: dict[str, Any]) -> Part:
        """Wait until everything is stored."""
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
        for task in self._chunks:
            task.cancel()
        await asyncio.gather(*self._chunks, return_exceptions=True)

    async def _flush(self) -> None:
        records, self._pending, self._pending_bytes = self._pending, [], 0
        await self._gate.acquire()
        # A failure ends the part with the next chunk, not only at its end.
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
        place = _place(self.backup_id, self.kind, self.name, index)
        return nonce + self.cipher.encrypt(nonce, plain, place), digest


@dataclass(frozen=True)
class ArchiveReader:
    """Reads parts back; every chunk is checked before its records are handed out."""

    store: ObjectStore
    cipher: AESGCM
    manifest: Manifest

    async def read(self, part: Part) -> AsyncGenerator[list[bytes], None]:
        """Records of `part`, chunk by chunk, a few fetched ahead.

        Raises:
            DamagedObject: a chunk is missing or altered, or (at the end) the part is not complete.
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
            raise DamagedObject(self.manifest.backup_id, part.label, "its records are not those that were counted")

    async def chunk(self, part: Part, index: int) -> list[bytes]:
        """Records of one chunk.

        Raises:
            DamagedObject: it is missing or altered.
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

        def damaged(what: str) -> DamagedObject:
            return DamagedObject(self.manifest.backup_id, name, what)

        if len(data) != expected.size:
            raise damaged(f"it has {len(data)} bytes, not {expected.size}")
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise damaged("its bytes were changed (SHA-256 differs)")
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            plain = self.cipher.decrypt(nonce, sealed, _place(self.manifest.backup_id, part.kind, part.name, index))
            packed = zstandard.ZstdDecompressor().decompress(plain)
            records = msgspec.msgpack.decode(packed, type=list[bytes])
        except InvalidTag:
            raise damaged("it does not decrypt: it belongs elsewhere, or to another backup") from None
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise damaged(f"it cannot be unpacked: {error}") from None
        if len(records) != expected.records:
            raise damaged(f"it holds {len(records)} records, not {expected.records}")
        return records


def _place(backup_id: str, kind: Kind, name: str, index: int) -> bytes:
    parts = (FORMAT.encode(), backup_id.encode(), kind.value.encode(), name.encode(), str(index).encode())
    # With lengths, or ("ab", "c") would authenticate as ("a", "bc").
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
