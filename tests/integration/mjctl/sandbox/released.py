"""Reads the corrections of an emulator's modules in a child process, because emulators read settings when imported."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys


def corrections_of(*modules: str) -> set[str]:
    """Return the names of the corrections of modules, and check that the installed release of the emulator is known."""
    code = (
        "import importlib, json, sys;"
        "lists = [importlib.import_module(name).CORRECTIONS for name in sys.argv[1:]];"
        "print('\\n' + json.dumps([[c.name, c.emulator, c.version] for corrections in lists for c in corrections]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True)
    corrections = json.loads(done.stdout.splitlines()[-1])
    for name, emulator, version in corrections:
        assert version == importlib.metadata.version(emulator), (
            f"{name}: check whether the new release of {emulator} needs this correction"
        )
    return {name for name, _, _ in corrections}
