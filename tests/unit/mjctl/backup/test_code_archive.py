"""The program of the backup task: a zip that contains all code that the task imports."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

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
