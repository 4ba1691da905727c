"""Tests that a stage's DNS names resolve only in the stage's own processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mjctl.sandbox.stage import names

NAME = "sqs.us-east-1.amazonaws.com"
# The program enters the mount namespace and starts a child process. The child process resolves a name that the program
# publishes later.
PROGRAM = f"""
import subprocess, sys
from pathlib import Path
from mjctl.sandbox.stage import names
hosts = Path(sys.argv[1])
names.enter(hosts)
look = "import socket; input(); print(socket.gethostbyname({NAME!r}))"
child = subprocess.Popen([sys.executable, "-c", look], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
names.publish(hosts, {{{NAME!r}: "127.64.0.9"}})
print(child.communicate("go\\n")[0].strip())
"""


def test_a_name_that_appears_later_resolves_in_a_child_process_and_not_outside(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(hosts)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "127.64.0.9"
    assert NAME not in Path("/etc/hosts").read_text(encoding="utf-8")
    assert names.published(hosts) == {NAME: "127.64.0.9"}


def test_a_name_that_is_gone_resolves_no_longer(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    names.publish(hosts, {"a.example": "127.64.0.1", "b.example": "127.64.0.2"})
    names.publish(hosts, {"b.example": "127.64.0.2"})
    assert hosts.read_text() == "127.0.0.1 localhost\n127.64.0.2 b.example\n"
    assert json.loads((tmp_path / "names.json").read_text()) == {"b.example": "127.64.0.2"}


def test_this_process_is_not_in_a_namespace() -> None:
    assert names.obstacle() is None
    with pytest.raises(socket.gaierror):
        socket.gethostbyname("never.stage.invalid")
