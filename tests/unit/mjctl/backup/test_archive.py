"""Tests the archive's format with a real directory as store. The encryption keys are constants, and do not come from
KMS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjctl.backup import archive
from mjctl.backup.archive import ArchiveReader, DamagedObject, PartWriter
from mjctl.backup.catalog import encode_manifest, parse_manifest, read_catalog
from mjctl.backup.digest import RecordDigest
from mjctl.backup.keys import BackupKeys
from mjctl.clients.objects import DirectoryStore
from mjctl.models.backup import FORMAT, BackupState, Kind, Manifest, Part, WrappedKey, new_backup_id
from mjctl.models.errors import VerificationError

KEYS = BackupKeys(b"k" * 32, [WrappedKey("us-east-1", "arn:aws:kms:::key/1", "AAAA")])
RECORDS = [f"record {number}".encode() * 3 for number in range(1000)]


async def write(store: DirectoryStore, records: list[bytes], backup_id: str | None = None) -> tuple[str, Part]:
    backup_id = backup_id or new_backup_id()
    writer = PartWriter(store, KEYS.cipher(), backup_id, Kind.TABLE, "matches")
    await writer.add(records)
    return backup_id, await writer.finish({})


def manifest(backup_id: str, *parts: Part) -> Manifest:
    return Manifest(FORMAT, backup_id, "arena", "test", "us-east-1", "a", "b", "me", {"migration": "1"}, parts)


async def read(store: DirectoryStore, backup_id: str, part: Part) -> list[bytes]:
    reader = ArchiveReader(store, KEYS.cipher(), manifest(backup_id, part))
    return [record async for batch in reader.read(part) for record in batch]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    monkeypatch.setattr(archive, "CHUNK_BYTES", 4000)
    return DirectoryStore(tmp_path / "store")


async def test_records_are_read_in_the_order_in_which_they_were_written(store: DirectoryStore) -> None:
    backup_id, part = await write(store, RECORDS)
    assert len(part.chunks) > 5
    assert part.records == len(RECORDS)
    assert part.raw_bytes == sum(map(len, RECORDS))
    assert await read(store, backup_id, part) == RECORDS


async def test_files_are_private_and_contain_no_plain_record(store: DirectoryStore) -> None:
    backup_id, _ = await write(store, RECORDS)
    folder = Path(store.location) / backup_id
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    for file in folder.iterdir():
        assert oct(file.stat().st_mode & 0o777) == "0o600"
        assert b"record" not in file.read_bytes()


async def test_a_chunk_cannot_replace_another_chunk(store: DirectoryStore) -> None:
    # The decryption detects that two chunks were exchanged, even if the manifest lists the chunks in the new order.
    backup_id, part = await write(store, RECORDS)
    folder = Path(store.location) / backup_id
    first, second = (folder / part.object_name(index) for index in (0, 1))
    first_bytes, second_bytes = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_bytes)
    second.write_bytes(first_bytes)
    chunks = (part.chunks[1], part.chunks[0], *part.chunks[2:])
    swapped = Part(part.kind, part.name, part.records, part.raw_bytes, part.digest, {}, chunks)
    with pytest.raises(DamagedObject, match=r"table\.matches\.000000: it cannot be decrypted"):
        await read(store, backup_id, swapped)


async def test_a_chunk_of_another_backup_is_detected(store: DirectoryStore) -> None:
    backup_id, part = await write(store, RECORDS)
    other = new_backup_id()
    for index in range(len(part.chunks)):
        name = part.object_name(index)
        await store.put(f"{other}/{name}", await store.get(f"{backup_id}/{name}"))
    with pytest.raises(DamagedObject, match="cannot be decrypted"):
        await read(store, other, part)


async def test_a_part_without_its_last_chunk_is_detected(store: DirectoryStore) -> None:
    backup_id, part = await write(store, RECORDS)
    shorter = Part(part.kind, part.name, part.records, part.raw_bytes, part.digest, {}, part.chunks[:-1])
    with pytest.raises(DamagedObject, match="differ from the records that the manifest counts"):
        await read(store, backup_id, shorter)


async def test_a_reader_that_stops_early_leaves_no_task(store: DirectoryStore) -> None:
    backup_id, part = await write(store, RECORDS)
    reading: AsyncGenerator[list[bytes], None] = ArchiveReader(store, KEYS.cipher(), manifest(backup_id, part)).read(
        part
    )
    async for _ in reading:
        break
    await reading.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_the_store_is_an_error_of_the_part(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_name: str, _data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store, "put", full)
    with pytest.raises(OSError, match="disk full"):
        await write(store, RECORDS)


def test_the_signature_covers_every_field() -> None:
    signed = KEYS.sign(manifest(new_backup_id()))
    KEYS.check(signed)
    for change in ({"environment": "prod"}, {"database": {"migration": "2"}}, {"created_at": "c"}):
        altered = signed.__class__(
            Manifest(**{name: getattr(signed.manifest, name) for name in Manifest.__struct_fields__} | change),
            signed.keys,
            signed.mac,
        )
        with pytest.raises(VerificationError):
            KEYS.check(altered)
    with pytest.raises(VerificationError):
        KEYS.check(signed.__class__(signed.manifest, (), signed.mac))
    with pytest.raises(VerificationError):
        BackupKeys(b"x" * 32, KEYS.wrapped).check(signed)


def test_every_changed_byte_of_a_manifest_is_detected() -> None:
    data = encode_manifest(KEYS.sign(manifest(new_backup_id())))
    for position in range(len(data)):
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[position] ^= bit
            with pytest.raises((ValueError, VerificationError)):
                KEYS.check(parse_manifest(bytes(changed)))


async def test_a_backup_without_a_manifest_is_incomplete(store: DirectoryStore) -> None:
    backup_id, part = await write(store, RECORDS)
    (entry,) = await read_catalog(store)
    assert (entry.backup_id, entry.state) == (backup_id, BackupState.INCOMPLETE)
    await store.put(f"{backup_id}/manifest.json", encode_manifest(KEYS.sign(manifest(backup_id, part))))
    (entry,) = await read_catalog(store)
    assert entry.state is BackupState.COMPLETE


@pytest.mark.parametrize("damage", ["missing", "shorter", "manifest"])
async def test_the_catalog_shows_a_damaged_backup(store: DirectoryStore, damage: str) -> None:
    backup_id, part = await write(store, RECORDS)
    await store.put(f"{backup_id}/manifest.json", encode_manifest(KEYS.sign(manifest(backup_id, part))))
    file = Path(store.location) / backup_id / (part.object_name(2) if damage != "manifest" else "manifest.json")
    if damage == "missing":
        file.unlink()
    else:
        os.truncate(file, 10)
    (entry,) = await read_catalog(store)
    assert entry.state is BackupState.DAMAGED
    assert file.name in (entry.problem or "")


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), max_size=30), st.randoms(use_true_random=False))
def test_the_digest_depends_on_all_records_but_not_on_their_order(records: list[bytes], random: object) -> None:
    digest, merged = RecordDigest(), RecordDigest()
    digest.update(records)
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for record in shuffled:
        part = RecordDigest()
        part.update([record])
        merged.merge(part)
    assert digest == merged
    merged.update([b"another record"])
    assert digest != merged
