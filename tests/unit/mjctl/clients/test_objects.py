"""Tests of the store in a folder, and of the choice of a region's backup store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from mjctl.clients.boto import RegionClients
from mjctl.clients.objects import DirectoryStore, S3Store, open_store
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError, UsageError
from tests.unit.mjctl.conftest import MakeContract


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


async def test_objects_are_written_replaced_listed_and_deleted(store: DirectoryStore, tmp_path: Path) -> None:
    assert await store.list() == []
    await store.put("b/2", b"two")
    await store.put("a/1", b"one")
    await store.put("a/1", b"ONE")
    assert [(item.name, item.size) for item in await store.list()] == [("a/1", 3), ("b/2", 3)]
    assert await store.get("a/1") == b"ONE"
    await store.delete(["a/1", "a/1", "never"])
    assert [item.name for item in await store.list()] == ["b/2"]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["b"]


async def test_a_missing_object_is_not_found(store: DirectoryStore) -> None:
    with pytest.raises(NotFoundError):
        await store.get("a/1")


async def test_the_error_of_a_folder_that_cannot_be_created_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(PermissionDeniedError) as caught:
        await DirectoryStore(tmp_path / "store").put("a/1", b"")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
async def test_a_name_that_leads_out_of_the_store_is_rejected(store: DirectoryStore, name: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        await store.put(name, b"")


def test_a_claim_ends_with_its_process(store: DirectoryStore) -> None:
    assert not store.is_claimed("a")
    with store.claim("a"):
        (Path(store.location) / "a" / "1").touch()
        assert store.is_claimed("a")
    assert not store.is_claimed("a")
    program = (
        "import os, sys; from pathlib import Path; from mjctl.clients.objects import DirectoryStore\n"
        f"with DirectoryStore(Path({store.location!r})).claim('a'):\n"
        "    print('claimed', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        assert store.is_claimed("a")
        process.kill()
        process.wait()
        assert not store.is_claimed("a")


def test_an_empty_claim_leaves_no_folder(store: DirectoryStore) -> None:
    with store.claim("a"):
        pass
    assert not (Path(store.location) / "a").exists()


def test_the_store_is_chosen_by_the_location_or_else_by_the_contract(
    make_contract: MakeContract, tmp_path: Path
) -> None:
    none = cast(RegionClients, None)
    local = make_contract(backup={"directory": str(tmp_path)})
    assert open_store(local, none).location == str(tmp_path)
    assert open_store(local, none, "/elsewhere").location == "/elsewhere/test/us-east-1"
    bucket = open_store(make_contract(backup={"bucket": "kept"}), none)
    assert isinstance(bucket, S3Store)
    assert bucket.location == "s3://kept/test/us-east-1/"
    assert open_store(local, none, "s3://other/a/b/").location == "s3://other/a/b/test/us-east-1/"
    with pytest.raises(ConfigError):
        open_store(make_contract(), none)
    with pytest.raises(UsageError):
        open_store(local, none, "ftp://host/x")
