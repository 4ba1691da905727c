"""What another release of moto has saved is not read, and not an end either."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

# In a process of its own: importing the emulator patches what boto3 does.
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


def test_another_release_s_state_is_left_and_then_replaced(tmp_path: Path) -> None:
    (tmp_path / "moto.pickle").write_bytes(pickle.dumps("1.0.0") + b"objects of classes that are no more")
    assert loaded(tmp_path) == ["False", "True"]


def test_nothing_saved_yet(tmp_path: Path) -> None:
    assert loaded(tmp_path) == ["False", "True"]
    assert [path.name for path in tmp_path.iterdir()] == ["moto.pickle"]
