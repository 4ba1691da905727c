"""`make bench-flood`: a client floods a real game server with WebSocket control frames while a good client plays.

The flooder is a process of its own. It has no token, sends as fast as the socket takes it, and connects again whenever
the server cuts it. Every way below lasts `--seconds` (4). Another process asks `/healthz` up to 200 times a second all
the time; its slowest answer bounds the longest stall of the server's event loop. `frames_offered_per_second` counts
what the kernel took from the flooder; the server reads no more of it than its limits allow. The last line is one JSON
object.

Exit code 1: the server did not survive, or the good client lost its connection.
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
    """Send `frame` without a pause and without reading. Returns what the socket took."""
    chunk = frame * max(1, _CHUNK_BYTES // len(frame)) if frame else b""
    sent_bytes = connections = 0
    held: list[socket.socket] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=2.0)
            connections += 1
            if not frame:
                # Never joins, never closes: the server has to get rid of it.
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
    """Ask `/healthz` 200 times a second, on one connection."""
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
    found = re.search(rf"{field}:\s+(\d+)", status)
    return round(int(found[1]) / 1024, 1) if found else 0.0


def _forget_highest(pid: int) -> float:
    """Have the kernel measure the highest memory from now on. Returns the memory now, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory_mb(pid)


async def attack(server: OurServer, connection: Any, way: str, seconds: float) -> dict[str, Any]:
    """One way of flooding, beside a good client's latency; without one for `quiet`."""
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
            "longest_stall_ms": max(found["healthz"]["longest_ms"] for name, found in ways.items() if name != "quiet"),
            "good_client_reconnects": connection.reconnects,
            "server_alive": server.process.poll() is None,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each way")
    parser.add_argument("--uncompiled", action="store_true", help="the server as plain Python")
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
