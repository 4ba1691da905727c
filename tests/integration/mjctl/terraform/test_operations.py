from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mjctl.models.errors import ConflictError, Interrupted, LockedError, PermissionDeniedError, TerraformError
from mjctl.terraform import operations
from mjctl.terraform.events import ProvisionerLine
from mjctl.terraform.lock import held_by, unit_lock
from mjctl.terraform.plan_file import SavedPlan

# The tests of Terraform's own behaviour run with Terraform from PATH and with the pip engine. The tests without
# `with_both_engines` run with one engine only, because the pip engine starts slowly.
with_both_engines = pytest.mark.parametrize("engine", ["path", "pip"], indirect=True)


async def deploy(bench: Any, region: str = "us-east-1", **variables: Any) -> None:
    stack = bench.stack(region)
    await operations.init(bench.runner, stack)
    planned = await operations.plan(bench.runner, stack, variables, bench.events.append)
    await operations.apply(bench.runner, stack, planned.saved, bench.events.append)


@with_both_engines
async def test_plan_apply_plan_again_and_destroy(bench: Any) -> None:
    stack = bench.stack()
    assert not stack.exists()
    await deploy(bench)
    assert stack.exists()
    assert ProvisionerLine("terraform_data.sleeper", "began") in bench.events

    again = await operations.plan(bench.runner, stack, {}, bench.events.append)
    assert not again.pending
    assert again.changes == ()

    changed = await operations.plan(bench.runner, stack, {"word": "two"}, bench.events.append)
    assert changed.pending
    assert {change.address: change.action for change in changed.changes} == {
        "terraform_data.sleeper": "replace",
        "terraform_data.after": "update",
    }
    assert stack.outputs() == {"contract": {"word": "one"}}

    destroyed = await operations.plan(bench.runner, stack, {}, bench.events.append, destroy=True)
    summary = await operations.apply(bench.runner, stack, destroyed.saved, bench.events.append)
    assert summary.remove == 2
    assert not stack.exists()


async def test_init_runs_once_for_the_same_code(bench: Any) -> None:
    stack = bench.stack()
    assert await operations.init(bench.runner, stack)
    assert not await operations.init(bench.runner, stack)
    (stack.source_dir / "more.tf").write_text("locals { more = 1 }\n")
    assert await operations.init(bench.runner, stack)


async def test_a_saved_plan_is_private_and_removed_after_the_apply(bench: Any) -> None:
    stack = bench.stack()
    await operations.init(bench.runner, stack)
    planned = await operations.plan(bench.runner, stack, {}, bench.events.append)
    for path in (planned.saved.path, planned.saved.seal_path, stack.variables_file):
        assert path.stat().st_mode & 0o077 == 0
    assert stack.terraform_dir.stat().st_mode & 0o077 == 0
    await operations.apply(bench.runner, stack, planned.saved, bench.events.append)
    assert not planned.saved.path.exists()
    assert not planned.saved.seal_path.exists()


async def test_a_plan_of_one_region_is_refused_for_another(bench: Any) -> None:
    planned_stack, other = bench.stack("us-east-1"), bench.stack("eu-west-1")
    for stack in (planned_stack, other):
        await operations.init(bench.runner, stack)
    planned = await operations.plan(bench.runner, planned_stack, {}, bench.events.append)
    with pytest.raises(ConflictError, match="for another region"):
        await operations.apply(bench.runner, other, planned.saved, bench.events.append)
    assert not planned_stack.exists()
    assert not other.exists()


@pytest.mark.parametrize("what", ["state", "code", "variables", "plan"])
async def test_a_plan_is_refused_after_a_change_of_its_inputs(bench: Any, what: str) -> None:
    stack = bench.stack()
    await deploy(bench)
    planned = await operations.plan(bench.runner, stack, {"word": "two"}, bench.events.append)
    if what == "state":
        state = json.loads(stack.state_file.read_text())
        stack.state_file.write_text(json.dumps({**state, "serial": state["serial"] + 1}))
    elif what == "code":
        (stack.source_dir / "more.tf").write_text("locals { more = 1 }\n")
    elif what == "variables":
        stack.variables_file.write_text("{}")
    else:
        planned.saved.path.write_bytes(planned.saved.path.read_bytes() + b"x")
    serial = stack.position().serial
    with pytest.raises(ConflictError, match="the saved plan cannot be applied"):
        await operations.apply(bench.runner, stack, planned.saved, bench.events.append)
    assert stack.position().serial == serial


@with_both_engines
async def test_the_error_of_an_invalid_variable_has_its_advice(bench: Any) -> None:
    stack = bench.stack()
    await operations.init(bench.runner, stack)
    with pytest.raises(TerraformError, match="word must not be bad: choose another") as caught:
        await operations.plan(bench.runner, stack, {"word": "bad"}, bench.events.append)
    assert str(stack.log_file) in (caught.value.hint or "")
    assert "word must not be bad" in stack.log_file.read_text()


@with_both_engines
async def test_an_interrupt_saves_the_state_and_releases_the_lock(bench: Any) -> None:
    stack = bench.stack()
    await operations.init(bench.runner, stack)
    planned = await operations.plan(bench.runner, stack, {"seconds": 60}, bench.events.append)
    running = asyncio.create_task(operations.apply(bench.runner, stack, planned.saved, bench.events.append))
    while ProvisionerLine("terraform_data.sleeper", "began") not in bench.events:
        assert not running.done(), running
        await asyncio.sleep(0.05)
    bench.cancellation.event.set()
    with pytest.raises(Interrupted):
        await running
    assert stack.position().serial is not None
    assert not list(stack.terraform_dir.glob(".*.lock.info"))

    bench.cancellation.event.clear()
    await deploy(bench, word="two")
    assert stack.outputs() == {"contract": {"word": "two"}}


@with_both_engines
async def test_the_error_of_a_locked_state_names_the_holder(bench: Any) -> None:
    stack = bench.stack()
    await operations.init(bench.runner, stack)
    planned = await operations.plan(bench.runner, stack, {"seconds": 30}, bench.events.append)
    running = asyncio.create_task(operations.apply(bench.runner, stack, planned.saved, bench.events.append))
    while ProvisionerLine("terraform_data.sleeper", "began") not in bench.events:
        assert not running.done(), running
        await asyncio.sleep(0.05)
    with pytest.raises(LockedError) as caught:
        await operations.plan(
            bench.runner,
            stack,
            {"seconds": 30},
            bench.events.append,
            saved=SavedPlan(stack.terraform_dir / "second.tfplan"),
        )
    assert "Who:" in caught.value.what
    assert "unlock" in (caught.value.hint or "")
    bench.cancellation.event.set()
    with pytest.raises(Interrupted):
        await running


async def test_terraform_variables_of_the_shell_are_ignored(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CLI_ARGS_plan", "-destroy")
    monkeypatch.setenv("TF_VAR_word", "bad")
    monkeypatch.setenv("TF_WORKSPACE", "elsewhere")
    await deploy(bench)
    assert bench.stack().outputs() == {"contract": {"word": "one"}}


def test_only_a_single_run_holds_a_region(bench: Any) -> None:
    stack = bench.stack()
    with unit_lock(stack, "deploy"):
        child = os.fork()
        if child == 0:
            try:
                with unit_lock(stack, "destroy"):
                    os._exit(0)
            except LockedError as error:
                os._exit(42 if "`deploy`" in error.what and str(os.getppid()) in error.what else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert held_by(stack) is None


def test_a_waiting_run_reports_the_holder_and_its_reason(bench: Any) -> None:
    stack = bench.stack()
    ready, tell = os.pipe()
    go, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        with unit_lock(stack, "deploy", message="release 7"):
            os.write(tell, b"x")
            os.read(go, 1)
        os._exit(0)
    os.read(ready, 1)
    with (
        pytest.raises(LockedError, match="release 7"),
        unit_lock(stack, "destroy", wait_seconds=0.3),
    ):
        pass
    messages: list[str] = []

    def record(text: str) -> None:
        messages.append(text)
        os.write(let_go, b"x")

    with unit_lock(stack, "destroy", wait_seconds=60, on_wait=record):
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(messages) == 1
    assert "`deploy` by" in messages[0]
    assert f"pid {child}" in messages[0]
    assert messages[0].endswith(": release 7")


def test_the_lock_is_free_after_its_holder_was_killed(bench: Any) -> None:
    stack = bench.stack()
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with unit_lock(stack, "deploy"):
            os.write(tell, b"x")
            signal.pause()
    os.read(ready, 1)
    assert (held_by(stack) or {})["pid"] == child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with unit_lock(stack, "destroy"):
        pass


def test_the_error_of_a_file_in_the_place_of_a_folder_has_advice(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder must be")
    with pytest.raises(PermissionDeniedError) as caught:
        bench.stack()
    assert "MJCTL_HOME" in (caught.value.hint or "")
