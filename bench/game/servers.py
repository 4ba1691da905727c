"""Starts the game server of this project and Colyseus, each as a single process on a single core."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from game import machine
from game.generator import Generator
from game.services import CLIENT_ID, REGION, Services
from gameserver.cluster.directory import Directory
from gameserver.match import MatchSpec
from gameserver.runtime.state_cluster import StateCluster

PEER = Path(__file__).parent / "peer"
TICK_RATE_HZ = 20
_MATCH_SECONDS = 3600.0

NODE_ENV = "production"
"""Value of NODE_ENV for Colyseus, by the production checklist of https://docs.colyseus.io/deployment."""

SEMI_SPACE_MIB = 64
"""Default of `--max-semi-space-size` for Colyseus. Node's documentation raises the value for applications that allocate
many short-lived objects, and advises to benchmark 16, 32, 64 and 128 MiB:
https://nodejs.org/learn/diagnostics/memory/understanding-and-tuning-memory
https://nodejs.org/api/cli.html#--max-semi-space-sizesize-in-mib"""


class OurServer:
    """Runs `gameserver serve` compiled, as in its image, with JWT, limits, leases, snapshots, events and metrics on.

    Args:
        services: Redis, the emulated AWS and the issuer of tokens.
        folder: folder for logs, and for the compiled game server if the benchmark has compiled it.
        room_size: number of players in a room.
        core: number of the CPU core on which the server runs.
        limits: True to keep the server's default limits of players and of connections from one address.
        name: id of the server. A server with another id than "bench" leaves the matches of earlier servers in Redis.
        variables: further environment variables of the server.
    """

    name = "ours"
    protocol = "mj1"

    def __init__(
        self,
        services: Services,
        folder: Path,
        room_size: int,
        core: int,
        *,
        limits: bool = False,
        name: str = "bench",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._services = services
        self._room_size = room_size
        self._rooms = folder / "rooms"
        if name == "bench":
            services.reset()
        self.port, self.ops_port = machine.free_port(), machine.free_port()
        environment = {
            "AWS_ENDPOINT_URL": services.aws_endpoint,
            "AWS_REGION": REGION,
            **services.aws_key.variables,
            "AWS_EC2_METADATA_DISABLED": "true",
            "GAMESERVER_PROJECT": "game",
            "GAMESERVER_ENVIRONMENT": "bench",
            "GAMESERVER_REGION": REGION,
            "GAMESERVER_ZONE": f"{REGION}a",
            "GAMESERVER_SERVER_ID": name,
            "GAMESERVER_STATE_CLUSTER": str(services.state_cluster).lower(),
            "GAMESERVER_STATE_URL": services.redis_url,
            # Revisions before the state store keep the matches in the cache.
            "GAMESERVER_CACHE_URL": services.redis_url,
            "GAMESERVER_PORT": str(self.port),
            "GAMESERVER_OPS_PORT": str(self.ops_port),
            "GAMESERVER_EVENTS_TOPIC_ARN": services.topic_arn,
            "GAMESERVER_ISSUER": services.issuer.url,
            "GAMESERVER_CLIENT_ID": CLIENT_ID,
            "GAMESERVER_JWKS_URL": f"{services.issuer.url}/jwks.json",
            "GAMESERVER_TICK_RATE_HZ": str(TICK_RATE_HZ),
            "PYTHONPATH": str(compiled_in(folder)),
            **(variables or {}),
        }
        self._encryption: ssl.SSLContext | None = None
        if "GAMESERVER_TLS_OWN_CERTIFICATE" in environment:
            # The benchmark started the server on this machine, so the server's own certificate is not verified.
            self._encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._encryption.check_hostname = False
            self._encryption.verify_mode = ssl.CERT_NONE
        if not limits:
            # Raise the server's limit of players, because the benchmark finds out how many players the server sustains.
            # Switch off the limit of connections from one address, because all players have the same address.
            environment |= {"GAMESERVER_MAX_PLAYERS": "20000", "GAMESERVER_UNJOINED_PER_ADDRESS": "0"}
        log = folder / f"ours-{name}.log"
        self.process = machine.start(
            # Let Python import the compiled package gameserver from PYTHONPATH (-P), and not the package in the current
            # folder.
            [sys.executable, "-P", "-m", "gameserver", "serve"],
            core=core,
            log=log,
            environment=environment,
        )
        try:
            machine.await_port(self.ops_port, self.process, log)
            while self._get("/readyz")[0] != 200:
                time.sleep(0.05)
            loaded = Path(f"/proc/{self.process.pid}/maps").read_text()
            if compiled_in(folder).exists() and str(compiled_in(folder) / "gameserver" / "match.") not in loaded:
                raise RuntimeError("the server did not load the compiled modules")
        except BaseException:
            self.close()
            raise

    def make_room(self, generator: Generator, rooms: int) -> None:
        """Create matches in Redis as the API does.

        The benchmark does not measure the creation of matches, because in production another process runs the API.
        """

        async def create() -> list[str]:
            client: Any = StateCluster if self._services.state_cluster else Redis
            redis = client.from_url(self._services.redis_url)
            directory = Directory(redis)
            now_ms = round(time.time() * 1000)
            ids = [await directory.new_match_id("bench") for _ in range(rooms)]
            for match_id in ids:
                spec = MatchSpec(match_id, "arena", self._room_size, _MATCH_SECONDS, "arena", now_ms, "bench")
                await directory.create_match(spec)
            await redis.aclose()
            return ids

        generator.rooms(asyncio.run(create()), self._rooms)

    def evidence(self) -> dict[str, float]:
        """Return some counters of the server, which show that the server's features were on."""
        wanted = ("commits", "commit_failures", "events_published", "event_backlog", "event_lag_seconds", "joins")
        lines = dict(line.rpartition(" ")[::2] for line in self._get("/metrics")[1].splitlines() if line[0] != "#")
        values = {name: lines.get(f"gameserver_{name}_total", lines.get(f"gameserver_{name}")) for name in wanted}
        return {name: float(value) for name, value in values.items() if value is not None}

    def rooms(self) -> int:
        """Return the number of matches on the server."""
        return int(json.loads(self._get("/status")[1])["matches"])

    def close(self) -> None:
        """Kill the server without a drain, because no other server could take the matches over."""
        self.process.kill()
        self.process.wait()

    def _get(self, path: str) -> tuple[int, str]:
        try:
            place = f"127.0.0.1:{self.ops_port}{path}"
            with (
                urllib.request.urlopen(f"http://{place}", timeout=10)
                if self._encryption is None
                else urllib.request.urlopen(f"https://{place}", timeout=10, context=self._encryption)
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""


def compiled_in(folder: Path) -> Path:
    """Return the folder that contains the compiled game server, if the benchmark has compiled it."""
    return folder / "compiled"


class Colyseus:
    """Runs peer/server.mjs: the game alone, without tokens, storage, events or metrics.

    Args:
        folder: folder for the log of the Colyseus server.
        room_size: number of players in a room.
        core: number of the CPU core on which the server runs.
        semi_space_mib: size in MiB of a semi-space of V8's heap.
    """

    name = "colyseus"
    protocol = "colyseus"

    def __init__(self, folder: Path, room_size: int, core: int, semi_space_mib: int = SEMI_SPACE_MIB) -> None:
        self.port = machine.free_port()
        log = folder / "colyseus.log"
        self.process = machine.start(
            [node_binary(), *node_flags(semi_space_mib), PEER / "server.mjs", str(self.port), str(room_size)],
            core=core,
            log=log,
            environment={"NODE_ENV": NODE_ENV},
        )
        machine.await_port(self.port, self.process, log)

    def make_room(self, generator: Generator, rooms: int) -> None:
        """Do nothing, because Colyseus creates a room when the room's first player joins."""

    def evidence(self) -> dict[str, float]:
        """Return no counters, because Colyseus publishes no counters."""
        return {}

    def close(self) -> None:
        """Stop the server."""
        machine.stop(self.process)


Server = OurServer | Colyseus


def node_flags(semi_space_mib: int) -> list[str]:
    """Return the command line flags of the Node process that runs Colyseus."""
    return [f"--max-semi-space-size={semi_space_mib}"]


def install_peer() -> None:
    """Install Colyseus by `npm ci`, unless node_modules is newer than the lock file.

    Raises:
        RuntimeError: npm is not installed.
    """
    installed = PEER / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (PEER / "package-lock.json").stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("install npm, which installs Colyseus and its Node: apt-get install npm")
    subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=PEER,
        check=True,
        stdout=sys.stderr,
    )
    os.utime(installed)


def node_binary() -> Path:
    """Return the path of the Node program that Colyseus's lock file pins."""
    machine_name = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    return PEER / "node_modules" / f"node-linux-{machine_name}" / "bin" / "node"


def versions() -> dict[str, str]:
    """Return the versions of Python, Node and the packages that the two servers use."""
    packages = json.loads((PEER / "node_modules" / ".package-lock.json").read_text())["packages"]
    node = subprocess.run([node_binary(), "--version"], check=True, capture_output=True, text=True)
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("picows", "uvloop", "msgspec", "redis")},
        "node": node.stdout.strip(),
        **{
            name: packages[f"node_modules/{name}"]["version"]
            for name in ("@colyseus/core", "@colyseus/schema", "@colyseus/ws-transport", "ws")
        },
    }
