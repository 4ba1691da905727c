"""Tests which states of moto mjctl loads, and which values of metrics mjctl keeps."""

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

# The program puts values of four and of one hours ago, deletes old values, saves the state and loads it again.
OLD_VALUES = """
import sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from moto.cloudwatch.models import cloudwatch_backends
from mjctl.sandbox.moto_state import MotoState, forget_old_values
backend = cloudwatch_backends["123456789012"]["eu-west-1"]
now = datetime.now(UTC).replace(tzinfo=None)
def put():
    for hours in (4, 1):
        moment = now - timedelta(hours=hours)
        backend.put_metric_data("a", [{"MetricName": f"m{hours}", "Value": 1.0, "Timestamp": moment}])
def kept():
    return ",".join(value.name for value in backend.metric_data) or "none"
put()
forget_old_values()
print(kept())
backend.put_metric_alarm(
    "day", "a", "m", "LessThanThreshold", 1, 86400, 1.0, "Sum", "", [], []
)
backend.metric_data.clear()
put()
forget_old_values()
print(kept())
state = MotoState(Path(sys.argv[1]))
state.save()
MotoState(Path(sys.argv[1])).load()
backend = cloudwatch_backends["123456789012"]["eu-west-1"]
print(kept(), *backend.alarms)
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


def test_old_values_of_metrics_are_deleted_unless_an_alarm_looks_at_them_and_no_value_is_saved(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OLD_VALUES, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["m1", "m4,m1", "none day"]
