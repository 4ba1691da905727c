"""What CI runs a second time, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace

TWICE = Workspace.discover(Path(__file__)).project_dir / ".ci" / "twice"
AGAIN = "=== FAILED, their files are run once more:\n"
PASSED_THEN = "=== FAILED ONCE, PASSED THE SECOND TIME:\n"
# Fails the first time; the second test needs the first one to have run in the same process.
FLAKY = """
from pathlib import Path

made = []


def test_first():
    made.append(1)


def test_second():
    assert made
    seen = Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_fine.py").write_text("def test_fine():\n    pass\n")
    return tmp_path


def twice(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(TWICE), sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_what_passes_runs_once(project: Path) -> None:
    ran = twice(project)
    assert ran.returncode == 0
    assert ran.stdout.count("test session starts") == 1
    assert AGAIN not in ran.stdout


def test_what_passes_the_second_time_is_named(project: Path) -> None:
    (project / "tests" / "test_flaky.py").write_text(FLAKY)
    ran = twice(project, "-m", "not slow")
    assert ran.returncode == 0, ran.stdout
    assert AGAIN + "tests/test_flaky.py::test_second\n" in ran.stdout
    assert ran.stdout.endswith(PASSED_THEN + "tests/test_flaky.py::test_second\n")
    # Its file alone.
    assert "2 passed" in ran.stdout.split(AGAIN)[1]


def test_a_fault_fails_twice(project: Path) -> None:
    (project / "tests" / "test_fault.py").write_text("def test_fault():\n    assert 0\n")
    ran = twice(project)
    assert ran.returncode == 1
    assert ran.stdout.count("test session starts") == 2
    assert PASSED_THEN not in ran.stdout


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import nothing_like_it\n", 2),
        ("import pytest\n\n\ndef test_it():\n    pytest.exit('stopped')\n", 2),
        # As pytest-timeout ends a run in which it cannot end a test.
        ("import os\n\n\ndef test_it():\n    os._exit(1)\n", 1),
        ("import os\n\n\ndef test_it():\n    os.abort()\n", 134),
    ],
    ids=["collecting", "interrupted", "ended", "crashed"],
)
def test_a_run_that_left_tests_out_is_not_made_good(project: Path, text: str, code: int) -> None:
    (project / "tests" / "test_a_failure.py").write_text("def test_it():\n    assert 0\n")
    (project / "tests" / "test_left_out.py").write_text(text)
    ran = twice(project)
    assert ran.returncode == code
    assert AGAIN not in ran.stdout


def test_without_any_test_it_fails(project: Path) -> None:
    assert twice(project, "-k", "nothing_like_it").returncode == 5
