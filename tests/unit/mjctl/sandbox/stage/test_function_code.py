from __future__ import annotations

import py_compile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mjctl.sandbox.stage.function_code import CodeFolders, SharingZipFiles

FIRST = {"game/__init__.py": "", "game/rules.py": "LIMIT = 1\n", "data.json": "{}"}


@pytest.fixture
def shared(tmp_path: Path) -> SharingZipFiles:
    return SharingZipFiles(zipfile, CodeFolders(tmp_path / "shared"))


def unpacked(shared: SharingZipFiles, process: Path, files: Mapping[str, str], archive: str = "code.zip") -> Path:
    """Unpack `files` as ministack does for a new process, and return the folder of the process's code."""
    code = process / "code"
    code.mkdir(parents=True)
    with zipfile.ZipFile(process / archive, "w") as written:
        for name, text in files.items():
            written.writestr(name, text)
    with shared.ZipFile(str(process / archive)) as opened:
        opened.extractall(str(code))
    return code


def texts(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_processes_with_equal_code_share_the_files_and_their_compiled_form(
    shared: SharingZipFiles, tmp_path: Path
) -> None:
    first = unpacked(shared, tmp_path / "1", FIRST)
    compiled = py_compile.compile(str(first / "game" / "rules.py"))
    second = unpacked(shared, tmp_path / "2", FIRST)
    assert compiled is not None
    assert second.resolve() == first.resolve()
    assert (second / Path(compiled).relative_to(first)).exists()


def test_a_release_gets_the_compiled_form_of_its_unchanged_files(shared: SharingZipFiles, tmp_path: Path) -> None:
    old = unpacked(shared, tmp_path / "1", FIRST)
    kept, changed = (Path(str(py_compile.compile(str(old / "game" / name)))) for name in ("__init__.py", "rules.py"))
    release = FIRST | {"game/rules.py": "LIMIT = 2\n", "added.py": "A = 1\n"}
    new = unpacked(shared, tmp_path / "2", release)
    assert texts(old)["game/rules.py"] == FIRST["game/rules.py"]
    assert (new / kept.relative_to(old)).samefile(kept)
    assert not (new / changed.relative_to(old)).exists()
    assert texts(new) == release


def test_a_removed_file_is_not_in_the_next_release(shared: SharingZipFiles, tmp_path: Path) -> None:
    unpacked(shared, tmp_path / "1", FIRST)
    release = {name: text for name, text in FIRST.items() if name != "data.json"}
    assert texts(unpacked(shared, tmp_path / "2", release)) == release


def test_the_code_of_an_earlier_run_is_removed(shared: SharingZipFiles, tmp_path: Path) -> None:
    old = unpacked(shared, tmp_path / "1", FIRST).resolve()
    CodeFolders(tmp_path / "shared")
    assert not old.exists()


def test_a_layer_is_unpacked_for_each_process(shared: SharingZipFiles, tmp_path: Path) -> None:
    layer = unpacked(shared, tmp_path / "1", FIRST, "layer_0.zip")
    assert not layer.is_symlink()
    assert texts(layer) == FIRST
