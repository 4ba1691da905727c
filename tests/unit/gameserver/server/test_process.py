from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import subprocess
import sys

import pytest

from gameserver import api
from gameserver.runtime.settings import Mode, Settings, SettingsError
from gameserver.server import run
from gameserver.server.process import end_tasks

SETTINGS = Settings(
    project="p",
    environment="e",
    region="r",
    state_url="redis://127.0.0.1:9",
    issuer="http://127.0.0.1:9",
    client_id="c",
    jwks_url="http://127.0.0.1:9/jwks.json",
)


async def test_a_task_that_misses_a_cancellation_is_cancelled_again() -> None:
    missed = 0

    async def stubborn() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                missed += 1
                if missed == 2:
                    raise

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.cancelled() for task in tasks)
    assert missed == 2
    await end_tasks([])


@pytest.mark.parametrize("missing", ["issuer", "client_id", "jwks_url"])
def test_a_server_that_cannot_check_tokens_does_not_start(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"GAMESERVER_{missing.upper()} is not set"):
        run(dataclasses.replace(SETTINGS, **{missing: ""}))


def test_a_port_in_use_is_named_and_nothing_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = {
            f"GAMESERVER_{field.name.upper()}": getattr(SETTINGS, field.name)
            for field in dataclasses.fields(SETTINGS)
            if isinstance(getattr(SETTINGS, field.name), str)
        }
        environment = {**os.environ, **variables, "GAMESERVER_PORT": str(port)}
        command = [sys.executable, "-m", "gameserver", "serve"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 78
    assert f"GAMESERVER_PORT: cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (Mode("duel", seats=2, duration_seconds=60, rules="chess"), "no rules called 'chess'"),
        (Mode("duel", seats=2, duration_seconds=60, rules="json"), "no rules called 'json'"),
        (Mode("duel", seats=3, duration_seconds=60, rules="noughts"), "2 seats, not 3"),
    ],
    ids=["missing", "elsewhere", "seats"],
)
def test_a_mode_that_cannot_be_played_is_refused_at_the_start(mode: Mode, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"mode 'duel' cannot be played: .*{reason}"):
        run(dataclasses.replace(SETTINGS, modes=(mode,)))
    with pytest.raises(SettingsError, match=f"mode 'duel' cannot be played: .*{reason}"):
        api.run(dataclasses.replace(SETTINGS, modes=(mode,)))
