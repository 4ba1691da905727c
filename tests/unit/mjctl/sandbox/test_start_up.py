"""Tests that commands of mjctl do not load the modules of the stage, which only ministack's process needs."""

from __future__ import annotations

import json
import subprocess
import sys


def test_commands_load_only_the_paths_and_the_names_of_the_stage() -> None:
    code = "import json, sys, mjctl.sandbox.daemon; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    package = "mjctl.sandbox.stage."
    loaded = {name.removeprefix(package) for name in json.loads(done.stdout) if name.startswith(package)}
    assert loaded == {"layout", "leftovers", "names"}
