"""Measures the effect of WebSocket floods on a game server while a well-behaved client plays (`make bench-flood`).

The flooder is a separate process without an access token. The flooder sends as fast as its socket accepts data, and
connects again after the server has closed its connection. Each kind of flood in `_WAYS` lasts `--seconds`. Another
process requests `/healthz` up to 200 times a second. The time of the slowest answer shows how long the server's
event loop stalled at most. `frames_offered_per_second` counts the frames that the kernel accepted from the flooder; the
server reads fewer frames than this, because its limits stop the flooder. The last line of the output is a JSON object.

The exit code is 1 if the server did not survive, or if the well-behaved client lost its connection.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from game.servers import OurServer, compiled_in
from game.services import Services
from redis.asyncio import Redis

from gameserver.client import Bot, GameClient
from gameserver.cluster.directory import Directory
from gameserver.compilation import compile_into
from gameserver.match import MatchSpec

_MASK = bytes(4)
_WAYS = {
    "empty_pings": bytes([0x89, 0x80]) + _MASK,
    "pings_of_125_bytes": bytes([0x89, 0x80 | 125]) + _MASK + bytes(125),
    "pongs": bytes([0x8A, 0x80]) + _MASK,
    "no_frames_connect_only": b"",
}
_CHUNK_BYTES = 64 * 1024
_HANDSHAKE = (
    b"GET /play HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mj1.msgpack\r\n\r\n"
)


def flood(port: int, frame: bytes, seconds: float) -> dict[str, int]:
    """Send `frame` again and again without a pause and without reading.

    Returns the numbers of sent frames and of opened connections.
    """
    chunk = frame * max(1, _CHUNK_BYTES // len(frame)) if frame else b""
    sent_bytes = connections = 0
    held: list[socket.socket] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=2.0)
            connections += 1
            if not frame:
                # The flooder opens a WebSocket without joining a match. The flooder keeps its last 2,001 connections
                # open, so the server must close them.
                sock.sendall(_HANDSHAKE)
                held = [*held[-2000:], sock]
                continue
            with sock:
                sock.sendall(_HANDSHAKE)
                sock.recv(1000)
                while time.monotonic() < deadline:
                    sent_bytes += sock.send(chunk)
        except OSError:
            continue
    return {"frames": sent_bytes // len(frame) if frame else 0, "connections": connections}


def watch(port: int, seconds: float) -> dict[str, float]:
    """Request `/healthz` up to 200 times a second.

    Returns the time of the slowest answer in ms, and the counts of answers and failures.
    """
    longest = 0.0
    answers = failures = 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.monotonic()
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            answers += 1
        except (OSError, http.client.HTTPException):
            failures += 1
            connection.close()
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.005)
    return {"longest_ms": round(1000 * longest, 1), "answers": answers, "failures": failures}


async def _role(name: str, **order: Any) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--role", name, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    return dict(json.loads((await process.communicate(json.dumps(order).encode()))[0]))


def _memory_mb(pid: int, field: str = "VmRSS") -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(rf"{field}:\s+(\d+)", status)
    return round(int(match[1]) / 1024, 1) if match else 0.0


def _forget_highest(pid: int) -> float:
    """Reset the kernel's record of a process's highest memory. Returns the process's current memory in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory_mb(pid)


async def attack(server: OurServer, connection: Any, way: str, seconds: float) -> dict[str, Any]:
    """Flood the server in one way, and return the latency of the well-behaved client and the server's figures.

    The way `quiet` measures without a flood.
    """
    connection.samples.latency_ms.clear()
    pid = server.process.pid
    before = _forget_highest(pid)
    watching = asyncio.create_task(_role("watch", port=server.ops_port, seconds=seconds + 1))
    await asyncio.sleep(0.5)
    flooded: dict[str, Any] = {}
    if way in _WAYS:
        flooded = await _role("flood", port=server.port, frame=_WAYS[way].hex(), seconds=seconds)
    healthz = await watching
    ordered = sorted(connection.samples.latency_ms)
    return {
        "frames_offered_per_second": round(flooded.get("frames", 0) / seconds),
        "connections": flooded.get("connections", 0),
        "healthz": healthz,
        "good_client_p99_ms": round(ordered[len(ordered) * 99 // 100], 1) if ordered else None,
        "memory_mb_before_highest_after": [before, _memory_mb(pid, "VmHWM"), _memory_mb(pid)],
    }


async def run(services: Services, server: OurServer, seconds: float) -> dict[str, Any]:
    """Let a client play while the flooder floods the server in each way, and return the figures of each way."""
    redis = Redis.from_url(services.redis_url)
    match_id = uuid4().hex
    spec = MatchSpec(match_id, "arena", 10, 3600.0, "arena", round(time.time() * 1000), "bench")
    await Directory(redis).create_match(spec)
    await redis.aclose()
    async with GameClient("", timeout_seconds=10) as good:
        good.use_token(services.issuer.token())
        connection = await good.join((match_id, f"ws://127.0.0.1:{server.port}/play"))
        playing = asyncio.create_task(Bot(connection).play())
        await asyncio.sleep(2)
        ways = {}
        for way in ("quiet", *_WAYS):
            ways[way] = await attack(server, connection, way, seconds)
            print(f"{way}: {ways[way]}", file=sys.stderr)
            await asyncio.sleep(0.5)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        return {
            "ways": ways,
            "longest_stall_ms": max(
                figures["healthz"]["longest_ms"] for name, figures in ways.items() if name != "quiet"
            ),
            "good_client_reconnects": connection.reconnects,
            "server_alive": server.process.poll() is None,
        }


def main() -> int:
    """Run the benchmark, print its results, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds that each flood lasts")
    parser.add_argument("--uncompiled", action="store_true", help="run the game server as plain Python, not compiled")
    parser.add_argument("--role", choices=("flood", "watch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        order = json.load(sys.stdin)
        if options.role == "flood":
            done: dict[str, Any] = flood(order["port"], bytes.fromhex(order["frame"]), order["seconds"])
        else:
            done = watch(order["port"], order["seconds"])
        print(json.dumps(done))
        return 0
    with tempfile.TemporaryDirectory(prefix="mjctl-flood-") as name:
        folder = Path(name)
        if not options.uncompiled:
            compile_into(compiled_in(folder))
        with Services(folder, core=0) as services:
            server = OurServer(services, folder, room_size=10, core=(os.cpu_count() or 1) - 1, limits=True)
            try:
                result = asyncio.run(run(services, server, options.seconds))
            finally:
                server.close()
    facts = {
        "compiled": not options.uncompiled,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps({**result, **facts}))
    return 0 if result["server_alive"] and not result["good_client_reconnects"] else 1


if __name__ == "__main__":
    sys.exit(main())
