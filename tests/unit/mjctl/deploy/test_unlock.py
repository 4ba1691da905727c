"""`mjctl unlock` removes the lock note of a process that has ended, and keeps the note of a running process."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mjctl.deploy.unlock import unlock_region
from mjctl.models.config_file import load_environment
from mjctl.models.environment import Environment
from mjctl.models.errors import LockedError
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack

PROJECT = Workspace.discover(Path(__file__)).project_dir
REGION = "us-east-1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(PROJECT, tmp_path)


@pytest.fixture
def environment(workspace: Workspace) -> Environment:
    return load_environment(workspace, "local")


@pytest.fixture
def stack(workspace: Workspace, environment: Environment) -> Stack:
    stack = Stack.of_unit(workspace, environment, REGION)
    stack.prepare()
    stack.state_file.write_text(json.dumps({"serial": 1, "resources": [{}]}))
    return stack


def note_of(stack: Stack) -> Path:
    return stack.state_file.with_name(f".{stack.state_file.name}.lock.info")


@contextmanager
def held_by_another_process(stack: Stack) -> Iterator[None]:
    """Lock the state file as Terraform does, in another process, because fcntl excludes only other processes."""
    script = (
        "import fcntl, sys; state = open(sys.argv[1], 'r+b'); fcntl.lockf(state, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(stack.state_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.stdin.close()


DAMAGED = ["", "{", "[]", "null", '{"Who": "x"}', '"text"', "\xff"]


async def test_without_a_lock_there_is_nothing_to_do(workspace: Workspace, environment: Environment) -> None:
    assert "nothing to unlock" in await unlock_region(workspace, environment, REGION, None)


async def test_the_lock_note_of_a_dead_run_is_removed(
    workspace: Workspace, environment: Environment, stack: Stack
) -> None:
    note_of(stack).write_text(json.dumps({"ID": "abc"}))
    assert (await unlock_region(workspace, environment, REGION, None)).startswith("removed lock abc")
    assert not note_of(stack).exists()


@pytest.mark.parametrize("content", DAMAGED)
async def test_a_damaged_lock_note_is_removed_too(
    workspace: Workspace, environment: Environment, stack: Stack, content: str
) -> None:
    note_of(stack).write_text(content, encoding="latin-1")
    message = await unlock_region(workspace, environment, REGION, None)
    assert message.startswith("removed a damaged lock note")
    assert not note_of(stack).exists()


@pytest.mark.parametrize("content", DAMAGED[:2])
async def test_a_damaged_lock_note_of_a_living_run_is_kept(
    workspace: Workspace, environment: Environment, stack: Stack, content: str
) -> None:
    note_of(stack).write_text(content)
    with held_by_another_process(stack), pytest.raises(LockedError, match="a Terraform process has locked the state"):
        await unlock_region(workspace, environment, REGION, None)
    assert note_of(stack).exists()
    with stack.state_file.open("r+b") as state:
        fcntl.lockf(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
