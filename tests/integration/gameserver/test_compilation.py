"""Tests that the compiled game server, as in its image, passes the tests of the compiled modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gameserver import compilation

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]
PROJECT = Path(__file__).parents[3]
_TESTS = (
    "tests/unit/gameserver/test_match.py",
    "tests/unit/gameserver/rules",
    "tests/unit/gameserver/server",
    "tests/integration/gameserver/server",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("compiled")
    compilation.compile_into(target)
    return target


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # With -P Python imports the package from PYTHONPATH, and not from the folder in which the process starts.
    path = os.pathsep.join((str(folder), str(PROJECT)))
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_with_types_is_compiled_and_imported(folder: Path) -> None:
    modules = compilation.modules()
    assert {"gameserver.match", "gameserver.server.connection", "gameserver.server.room"} <= set(modules)
    code = f"import importlib; [print(importlib.import_module(name).__file__) for name in {modules!r}]"
    done = _run(folder, "-c", code)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.split()]
    assert [file.is_relative_to(folder) and file.suffix != ".py" for file in files] == [True] * len(modules)
    assert not [path for path in folder.rglob("*") if path.suffix in {".c", ".o"}]


def test_the_compiled_modules_pass_the_tests_of_the_python_modules(folder: Path) -> None:
    done = _run(folder, "-m", "pytest", "-q", "-m", "not slow and not infra", "-p", "no:cacheprovider", *_TESTS)
    assert done.returncode == 0, done.stdout[-5000:]


def test_a_module_that_does_not_compile_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "gameserver"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "hot.py").write_text("class Hot:\n    pass\n")
    (broken / "hot.pxd").write_text("cdef class Hot:\n    cdef public NoSuchType heat\n")
    monkeypatch.setattr(compilation, "SOURCE", broken)
    with pytest.raises(compilation.CompilationError, match="gameserver does not compile"):
        compilation.compile_into(tmp_path / "made")
    assert not [*(tmp_path / "made").iterdir()]


def test_a_missing_compiler_is_reported_and_no_file_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gameserver.compilation", str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "CC": "/no/such/compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "/no/such/compiler" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_contains_the_package_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "gameserver").mkdir()
    with pytest.raises(compilation.CompilationError, match="already exists"):
        compilation.compile_into(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gameserver"]
