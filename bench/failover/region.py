"""Deploys the local region whose servers the benchmark attacks, and reads the state of the region."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.directory import Directory
from mjctl.clients.boto import RegionClients
from mjctl.local.supervisor import SupervisorClient
from mjctl.models.config_file import load_environment
from mjctl.models.contract import Contract
from mjctl.models.workspace import Workspace
from mjctl.terraform.contracts import deployed_contracts

REGION = "us-east-1"
PROJECT = Workspace.discover(Path(__file__)).project_dir
SEATS = 4
MODES = {
    "failover": {"seats": SEATS, "duration_seconds": 45},
    "rolling": {"seats": 10, "duration_seconds": 60},
    "probe": {"seats": 2, "duration_seconds": 2},
}
_ALL_SERVE_SECONDS = 60.0


class Home:
    """Runs mjctl on a copy of this project with the benchmark's game modes. The copy has its own folder of state."""

    def __init__(self, folder: Path) -> None:
        self._project = folder / "project"
        self._environment = {"MJCTL_HOME": str(folder / "home"), "MJCTL_PROJECT_DIR": str(self._project)}
        (self._project / "configs").mkdir(parents=True)
        for name in ("terraform", "gameserver", "mjctl", "web"):
            (self._project / name).symlink_to(PROJECT / name)
        config = yaml.safe_load((PROJECT / "configs" / "local.yaml").read_text())
        config["game"]["modes"] = MODES
        (self._project / "configs" / "local.yaml").write_text(yaml.safe_dump(config))

    def mjctl(self, *arguments: str) -> None:
        """Run a command of mjctl.

        Raises:
            RuntimeError: the command failed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments],
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mjctl {' '.join(arguments)} exited with {done.returncode}\n{done.stderr}")

    def contract(self) -> Contract:
        """Return the contract of the deployed region."""
        os.environ.update(self._environment)
        workspace = Workspace.discover()
        return deployed_contracts(workspace, load_environment(workspace, "local"), (REGION,))[REGION]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Check a condition repeatedly for at most `seconds`, and return whether the condition became true."""
    deadline = time.monotonic() + seconds
    while not (true := await condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes' state
        await asyncio.sleep(0.02)
    return true


class Region:
    """Reads the state of the deployed region.

    Args:
        contract: contract that the region's stack has published.
        clients: AWS clients of the region.
        redis: client of the region's state store.

    Attributes:
        directory: the live servers and the matches of the region.
    """

    def __init__(self, contract: Contract, clients: RegionClients, redis: Redis) -> None:
        socket = contract.fleet.supervisor_socket
        if socket is None:
            raise RuntimeError("the region has no supervisor")
        self.contract, self.clients, self.redis = contract, clients, redis
        self.directory = Directory(redis)
        self._supervisor = SupervisorClient(Path(socket), scope="")

    async def pid(self, server_id: str) -> int | None:
        """Return the process id of a game server, or None if the server does not run."""
        process = await asyncio.to_thread(self._supervisor.process, server_id)
        return process.pid if process is not None and process.running else None

    async def all_serve(self) -> None:
        """Wait until every game server is alive and accepts players."""
        names = {server.id for server in self.contract.fleet.servers}

        async def all_alive() -> bool:
            return {server.id for server in await self.directory.servers(1.1) if not server.draining} == names

        await until(all_alive, _ALL_SERVE_SECONDS)

    async def snapshot_tick(self, match_id: str) -> int:
        """Return the tick of a match's stored snapshot, or -1 without a snapshot."""
        raw: Any = await self.redis.get(keys.snapshot(match_id))
        return -1 if raw is None else int(msgspec.msgpack.decode(raw)["tick"])
