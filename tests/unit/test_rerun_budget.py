"""Checks the limit of reruns: all test runs that share a list repeat at most two failed tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Each part of a test in SUITE (set-up, call, tear-down) fails the first time that it runs.
SUITE = """
import pathlib, pytest

def once(part):
    mark = pathlib.Path(__file__).with_name(part)
    if not mark.exists():
        mark.touch()
        raise AssertionError(part)

@pytest.fixture(scope="session")
def session():
    once("session")

@pytest.fixture
def torn_down():
    yield
    once("torn down")

def test_setup(session): pass
def test_call(): once("call")
def test_teardown(torn_down): pass
"""


def run(folder: Path, *options: str) -> str:
    """Run the tests in SUITE, and return the last line of pytest's output without the seconds."""
    return re.sub(r" in [\d.]+s.*", "", output(folder, *options).splitlines()[-1])


def output(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(folder), "--basetemp", str(folder / "tmp")),
            *("--rerun-list", str(folder / "reruns"), *options, str(folder / "test_suite.py")),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_suite.py").write_text(SUITE)
    return folder


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadfile")], ids=["alone", "with a worker"])
def test_the_third_failure_of_a_run_is_final(suite: Path, workers: tuple[str, ...]) -> None:
    assert run(suite, *workers) == "3 passed, 1 error, 2 rerun"
    assert [line.split("::")[1] for line in (suite / "reruns").read_text().splitlines()] == ["test_setup", "test_call"]


def test_several_runs_share_the_budget(suite: Path) -> None:
    (suite / "reruns").write_text("tests/other.py::test_of_an_earlier_part\n")
    assert run(suite, "-k", "setup or call") == "1 failed, 1 passed, 1 deselected, 1 rerun"


def test_what_fails_twice_fails(suite: Path) -> None:
    (suite / "test_suite.py").write_text("def test_it(): assert 0\n")
    assert run(suite) == "1 failed, 1 rerun"


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadfile")], ids=["alone", "with a worker"])
def test_the_first_failure_is_printed(suite: Path, workers: tuple[str, ...]) -> None:
    printed = output(suite, "-k", "call", *workers)
    assert "first failure of test_suite.py::test_call, call" in printed
    assert "AssertionError: call" in printed
