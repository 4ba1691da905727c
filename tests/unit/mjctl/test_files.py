"""Tests of private files: atomic replacement, permissions, clean-up after a failure, locks, and errors of the disk."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mjctl
from mjctl.files import append_private, explained_disk_errors, file_lock, read_json, replacing, write_private
from mjctl.models.errors import MjctlError, PermissionDeniedError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_write_replaces_the_file_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, '{"name": "Zoë"}')
    assert mode(path) == 0o600
    assert read_json(path) == {"name": "Zoë"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o177])
def test_a_umask_does_not_open_the_file_to_others(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_private(tmp_path / "written", "a")
        append_private(tmp_path / "appended").close()
    finally:
        os.umask(before)
    assert mode(tmp_path / "written") == 0o600
    assert mode(tmp_path / "appended") == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_private(path, "old")
    with pytest.raises(TypeError), replacing(path) as stream:
        stream.writelines([b"half of the new content", "not bytes"])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_private(path, "old")
    program = (
        "import os, pathlib, signal, sys\n"
        "from mjctl.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half')\n"
        "    stream.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # A kill leaves the temporary file behind, which stays private and does not match a pattern such as *.json.
    assert [mode(leftover) for leftover in tmp_path.iterdir() if leftover != path] == [0o600]
    assert list(tmp_path.glob("*.json")) == [path]
    write_private(path, "new")
    assert path.read_text() == "new"


def test_a_durable_write_reaches_the_disk_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush = os.fsync

    def record(descriptor: int) -> None:
        flushed.append(Path(f"/dev/fd/{descriptor}").resolve().name)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with replacing(tmp_path / "part", durable=True) as stream:
        stream.write(b"content")
    assert len(flushed) == 2
    assert flushed[0].startswith(".part.")
    assert flushed[1] == tmp_path.name


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(MjctlError, match="cannot write to the disk") as caught, explained_disk_errors("the region"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.where == "the region"
    assert "free space" in (caught.value.hint or "")
    with pytest.raises(MjctlError) as missing:
        write_private(tmp_path / "no-folder" / "file", "a")
    assert str(tmp_path / "no-folder") in (missing.value.where or "")


def test_a_file_where_a_folder_is_expected_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionDeniedError) as caught:
        write_private(tmp_path / "file" / "inner", "a")
    assert str(tmp_path / "file") in (caught.value.where or "")
    assert "MJCTL_HOME" in (caught.value.hint or "")


def test_appending_keeps_earlier_lines_and_escapes_invalid_characters(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("first\n", "\udcff\n"):
        with append_private(path) as stream:
            stream.write(text)
    assert path.read_text() == "first\n\\udcff\n"


@pytest.mark.parametrize("text", ["", "[1]", '{"cut": ', "\x00"])
def test_damaged_json_reads_as_an_empty_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.json").write_text(text)
    assert read_json(tmp_path / "file.json") == {}
    assert read_json(tmp_path / "missing.json") == {}


def test_a_lock_excludes_another_holder_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "file.lock"
    waits = (
        "import pathlib, sys\n"
        "from mjctl.files import file_lock\n"
        "print('started', flush=True)\n"
        "with file_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
    )
    with file_lock(path):
        other = subprocess.Popen([sys.executable, "-c", waits, str(path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "started\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
    out, _ = other.communicate(timeout=60)
    assert out == "locked\n"
    assert mode(path) == 0o600


def test_only_this_module_creates_private_files() -> None:
    """Check that no other module creates files with O_CREAT or mkstemp, because its files would have other guarantees.

    `serve.py` is an exception: a daemon needs a descriptor for its output before any Python stream exists.
    """
    allowed = {"files.py", "sandbox/serve.py"}
    root = Path(mjctl.__file__).parent
    copies = []
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("O_CREAT", "mkstemp") and name not in allowed:
                copies.append(f"{name}:{node.lineno}")
    assert copies == []
