"""Tests that Ctrl-C stops a coroutine cleanly, also if Ctrl-C comes before the coroutine begins."""

from __future__ import annotations

import ast
import asyncio
import signal
from pathlib import Path

import pytest

import mjctl
from mjctl import event_loop

PACKAGE = Path(mjctl.__file__).parent


def interrupted_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop while SIGINT comes."""
    signal.raise_signal(signal.SIGINT)
    return asyncio.new_event_loop()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, interrupted_loop])
def test_ctrl_c_cancels_the_coroutine_that_then_ends(loop_factory: object) -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("began")
        try:
            if loop_factory is asyncio.new_event_loop:
                signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(10)
        finally:
            steps.append("ended")

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(work(), loop_factory)  # type: ignore[arg-type]
    assert steps == ["began", "ended"]


def test_the_result_and_the_signals_of_the_caller_are_kept() -> None:
    async def work() -> int:
        return len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert event_loop.run(work()) == len(blocked)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked


def test_an_error_of_the_coroutine_is_raised() -> None:
    async def work() -> None:
        raise LookupError("nothing")

    with pytest.raises(LookupError, match="nothing"):
        event_loop.run(work())


def test_commands_run_coroutines_only_here() -> None:
    """Check that only programs that no operator interrupts, and the work of another thread, call asyncio themselves."""
    allowed = {
        "deploy/observation.py",
        "event_loop.py",
        "local/emulator.py",
        "local/terminator.py",
        "operations/backup_task.py",
        "sandbox/serve.py",
        "sandbox/stage/cache_door.py",
        "sandbox/stage/database_door.py",
        "sandbox/stage/proxy.py",
    }
    callers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("asyncio.run", "asyncio.Runner")
    }
    assert callers == allowed
