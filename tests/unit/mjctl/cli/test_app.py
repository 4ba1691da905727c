"""Tests that `mjctl` starts fast, because every call waits for the start."""

from __future__ import annotations

import subprocess
import sys

from mjctl.cli.app import tree

# Modules that each take a tenth of a second or more to import.
HEAVY = ("boto3", "botocore", "mjctl.models.environment", "pydantic", "redis", "sqlalchemy")


def test_the_tree_of_commands_is_built_without_a_slow_import() -> None:
    program = f"import sys, mjctl.cli.app as app; app.tree(); print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_a_process_builds_the_tree_once() -> None:
    assert tree() is tree()
