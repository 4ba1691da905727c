"""Tests that mjctl ignores a saved state of moto that a different release of moto has written."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

# The program runs in a child process, because an import of moto changes the behaviour of boto3.
LOAD = """
import sys
from pathlib import Path
from mjctl.sandbox.moto_state import MotoState
state = MotoState(Path(sys.argv[1]))
print(state.load())
state.save()
print(MotoState(Path(sys.argv[1])).load())
"""


def loaded(folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_state_of_another_release_is_ignored_and_then_replaced(tmp_path: Path) -> None:
    (tmp_path / "moto.pickle").write_bytes(pickle.dumps("1.0.0") + b"objects of classes that do not exist")
    assert loaded(tmp_path) == ["False", "True"]


def test_a_missing_state_is_no_error(tmp_path: Path) -> None:
    assert loaded(tmp_path) == ["False", "True"]
    assert [path.name for path in tmp_path.iterdir()] == ["moto.pickle"]
