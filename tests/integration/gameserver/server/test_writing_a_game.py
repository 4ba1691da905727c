"""Tests of docs/writing-a-game.md: its mode is deployed, and its client, started twice, plays a game."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from gameserver.client import ApiError, GameClient
from gameserver.cluster import keys
from gameserver.runtime.settings import Settings

PAGE = (Path(__file__).parents[4] / "docs" / "writing-a-game.md").read_text()


def _code(language: str) -> str:
    """Return the last code block of the page."""
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[-1])


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def region(make_settings: Any, run_environment: Any, tmp_path: Path) -> Iterator[Settings]:
    """Start an API and a game server with the modes of the page, and yield the API's settings."""
    base: Settings = make_settings()
    modes = json.dumps(yaml.safe_load(_code("yaml"))["game"]["modes"])
    settings = {
        command: dataclasses.replace(base, port=_free_port(), ops_port=_free_port(), server_id=f"{command}-1")
        for command in ("api", "serve")
    }
    processes = []
    try:
        for command, own in settings.items():
            variables = {**run_environment(own), "GAMESERVER_MODES": modes}
            with (tmp_path / f"{command}.log").open("wb") as log:
                arguments = [sys.executable, "-m", "gameserver", command]
                processes.append(subprocess.Popen(arguments, env=variables, stdout=log, stderr=log))
        yield settings["api"]
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _output(program: Path, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        return (await process.communicate())[0]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_client_of_the_page_plays_the_mode_of_the_page(
    region: Settings, eventually: Any, tmp_path: Path
) -> None:
    program = tmp_path / "client.py"
    program.write_text(_code("python"))
    url = f"http://127.0.0.1:{region.port}"
    redis = Redis.from_url(region.state_url)

    async def ready() -> bool:
        async with GameClient(url) as visitor:
            try:
                await visitor.leaderboard()
            except ApiError as error:
                return error.status not in (0, 503)
            return bool(await redis.zcard(keys.SERVERS))

    async def open_match() -> bool:
        return bool(await redis.zcard(keys.open_matches("duel")))

    await eventually(ready, 30)
    run = uuid.uuid4().hex[:8]
    async with asyncio.timeout(60), asyncio.TaskGroup() as players:
        ada = players.create_task(_output(program, url, f"ada-{run}"))
        await eventually(open_match, 30)
        bob = players.create_task(_output(program, url, f"bob-{run}"))
    await redis.aclose()
    assert ada.result() == bob.result()
    assert b"'reason': 'finished'" in ada.result(), ada.result()
