"""The program of the backup task: a zip that contains all code that the task imports."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import gameserver
from mjctl.backup.code_archive import code_archive


def test_the_task_runs_from_the_archive_alone(tmp_path: Path) -> None:
    program = tmp_path / "program.zip"
    program.write_bytes(code_archive())
    assert code_archive() == program.read_bytes()
    with zipfile.ZipFile(program) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("mjctl/cli/", "mjctl/sandbox/", "mjctl/terraform/"))]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mjctl.operations.backup_task, mjctl.backup.cache\n"
        "files = [module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'mjctl']\n"
        "print(all(file.startswith(sys.argv[1]) for file in files), len(files) > 50)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_the_image_contains_every_package_that_the_task_imports() -> None:
    script = (
        "import sys, mjctl.operations.backup_task, mjctl.backup.cache\n"
        "modules = [module for name, module in sys.modules.items() if name.split('.')[0] == 'mjctl']\n"
        "print(*(module.__file__ for module in modules), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = {name for file in done.stdout.split() for name in imports(ast.parse(Path(file).read_text()))}
    requirements = (Path(gameserver.__path__[0]) / "requirements.txt").read_text()
    installed = {normalized(name) for name in re.findall(r"^([a-z][\w.-]*)==", requirements, re.MULTILINE)}
    packages = packages_distributions()
    missing = {
        name
        for name in imported - sys.stdlib_module_names - {"mjctl", "gameserver"}
        if not installed & {normalized(package) for package in packages[name]}
    }
    assert {"asyncpg", "pydantic", "zstandard"} <= imported
    assert missing == set()


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the first part of the name of each imported module, also of an import in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module.split(".")[0]
        yield from imports(child)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
