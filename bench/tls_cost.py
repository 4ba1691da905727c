"""Measures the CPU that TLS costs a game server, on the hop from a load balancer and on the hop between game servers
(`make bench-tls`).

The servers run compiled, as in their image, on one core. The players are light clients in a separate process on the
other core, next to Redis and the emulated AWS. Each player sends an input for each frame, 20 times a second. In the
ways `relayed`, all players connect to a server that relays them to the owner of the matches. The servers use the
certificates that they make for themselves, and the clients verify no certificate, like a load balancer of AWS.

The figures are medians of the repetitions, whose order of ways changes. The last line of the output is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from game import machine
from game.servers import OurServer, compiled_in
from game.services import Services
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from redis.asyncio import Redis

from gameserver.cluster.directory import Directory
from gameserver.compilation import compile_into
from gameserver.match import MatchSpec
from gameserver.protocol import MSGPACK, Hello, Input
from gameserver.rules.arena import Move
from gameserver.server.loop import new_event_loop

_ROOM = 10
_OWNED_SECONDS = 30.0
_AT_ONCE = 20
_TLS = {"GAMESERVER_TLS_OWN_CERTIFICATE": "true"}


class Way(NamedTuple):
    """Describes a way from the players to the owner of their matches.

    Attributes:
        tls: True if the servers accept only TLS.
        relayed: True if the players connect to a server that relays them to the owner.
    """

    tls: bool
    relayed: bool


WAYS = {
    "clear": Way(tls=False, relayed=False),
    "tls": Way(tls=True, relayed=False),
    "relayed_clear": Way(tls=False, relayed=True),
    "relayed_tls": Way(tls=True, relayed=True),
}


class Player(WSListener):
    """Sends an input for each frame of the server."""

    def __init__(self, hello: Hello) -> None:
        self.frames = 0
        self.seated = asyncio.Event()
        self._hello = hello
        self._move = Move(1.0, 0.0)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Ask for a seat."""
        transport.send(WSMsgType.BINARY, MSGPACK.encode(self._hello))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count the frame, and send an input."""
        if frame.msg_type is WSMsgType.BINARY:
            self.frames += 1
            self.seated.set()
            transport.send(WSMsgType.BINARY, MSGPACK.encode(Input(self.frames, self._move)))


async def play(order: dict[str, Any]) -> None:
    """Seat the players of `order`, and print the number of frames that they have received at each line of stdin."""
    context = None
    if order["url"].startswith("wss://"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    players = [Player(Hello(order["matches"][n // _ROOM], token)) for n, token in enumerate(order["tokens"])]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def join(player: Player) -> None:
        async with gate:
            await ws_connect(
                lambda: player,
                order["url"],
                ssl_context=context,
                extra_headers={"Sec-WebSocket-Protocol": MSGPACK.name},
                websocket_handshake_timeout=20.0,
            )
            await player.seated.wait()

    await asyncio.gather(*map(join, players))
    while await asyncio.to_thread(sys.stdin.readline):
        print(sum(player.frames for player in players), flush=True)


def measure(way: Way, services: Services, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Start the servers of a way, let the players play, and return the CPU and the memory that the servers used."""
    variables = dict(_TLS) if way.tls else {}
    if way.relayed:
        variables["GAMESERVER_PLAY_URL"] = "wss://play.test/"
    owner = OurServer(services, folder, _ROOM, options.server_core, variables=variables)
    servers = {"owner": owner}
    try:
        matches = [uuid4().hex for _ in range(options.players // _ROOM)]
        # The second server starts later, because the first server must own all matches.
        asyncio.run(_create(services, matches))
        if way.relayed:
            front = OurServer(services, folder, _ROOM, options.server_core, name="front", variables=variables)
            servers["front"] = front
            # Each server has seen the certificate of the other server after two heartbeats.
            time.sleep(1.5)
        entrance = servers.get("front", owner)
        order = {
            "url": f"{'wss' if way.tls else 'ws'}://127.0.0.1:{entrance.port}/play",
            "matches": matches,
            "tokens": [services.issuer.token() for _ in range(options.players)],
        }
        before = {name: (_cpu(server), machine.resident_bytes(server.process.pid)) for name, server in servers.items()}
        players = subprocess.Popen(
            machine.on_core([sys.executable, __file__, "--role"], options.player_core),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            _ask(players, json.dumps(order))
            joined = {name: _cpu(server) - before[name][0] for name, server in servers.items()}
            first, began = _ask(players), time.monotonic()
            used = {name: _cpu(server) for name, server in servers.items()}
            time.sleep(options.seconds)
            frames = _ask(players) - first
            seconds = time.monotonic() - began
            figures = {"frames_hz": round(frames / options.players / seconds, 1)}
            for name, server in servers.items():
                cost = (_cpu(server) - used[name]) / seconds / options.players
                figures[f"{name}_cpu_ms_per_client_second"] = round(1000 * cost, 4)
                figures[f"{name}_cpu_ms_per_join"] = round(1000 * joined[name] / options.players, 3)
                grown = machine.resident_bytes(server.process.pid) - before[name][1]
                figures[f"{name}_memory_per_connection_kib"] = round(grown / 1024 / options.players, 1)
            return figures
        finally:
            players.kill()
            players.wait()
    finally:
        for server in servers.values():
            server.close()


async def _create(services: Services, matches: list[str]) -> None:
    """Create the matches, and wait until the running server owns them."""
    redis = Redis.from_url(services.redis_url)
    directory = Directory(redis)
    for match_id in matches:
        spec = MatchSpec(match_id, "arena", _ROOM, 3600.0, "arena", round(time.time() * 1000), "bench")
        await directory.create_match(spec)
    give_up_at = time.monotonic() + _OWNED_SECONDS
    while not all([await directory.owner(match_id) for match_id in matches]):
        if time.monotonic() > give_up_at:
            raise TimeoutError("the server does not adopt the matches")
        await asyncio.sleep(0.2)
    await redis.aclose()


def _ask(players: subprocess.Popen[str], order: str = "") -> int:
    """Send the players' process a line, and return the number of frames that the players have received so far.

    The first line is the order of the players. The players answer only a second line, so a first line needs two.
    """
    if players.stdin is None or players.stdout is None:
        raise RuntimeError("the players have no pipes")
    players.stdin.write(f"{order}\n\n" if order else "\n")
    players.stdin.flush()
    return int(players.stdout.readline())


def _cpu(server: OurServer) -> float:
    return machine.cpu_seconds(server.process.pid)


def main() -> None:
    """Run the benchmark, and print its results."""
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=300, help="number of players, a multiple of 10")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--repetitions", type=int, default=3, help="how often each way is measured")
    parser.add_argument("--uncompiled", action="store_true", help="run the game servers as plain Python, not compiled")
    parser.add_argument("--role", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--server-core", type=int, default=cores[-1], help="number of the core of the game servers")
    parser.add_argument("--player-core", type=int, default=cores[0], help="number of the core of everything else")
    options = parser.parse_args()
    machine.raise_file_limit()
    if options.role:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(play(json.loads(sys.stdin.readline())))
        return
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as name:
        folder = Path(name)
        if not options.uncompiled:
            compile_into(compiled_in(folder))
        with Services(folder, options.player_core) as services:
            for repetition in range(options.repetitions):
                for way in list(WAYS) if repetition % 2 == 0 else reversed(WAYS):
                    runs[way].append(measure(WAYS[way], services, folder, options))
                    print(f"repetition {repetition + 1}: {way}: {runs[way][-1]}", file=sys.stderr)
    medians = {
        way: {figure: statistics.median(run[figure] for run in every) for figure in every[0]}
        for way, every in runs.items()
    }
    facts = {"players": options.players, "repetitions": options.repetitions, "compiled": not options.uncompiled}
    print(json.dumps({**medians, **facts, "machine": machine.describe()}))


if __name__ == "__main__":
    main()
