"""Fuzzes the protocol's decoders and a match's inputs, then attacks a live server (`make fuzz`).

1. atheris (libFuzzer) passes bytes to every decoder, and the decoded messages to a match of each bundled game.
   libFuzzer runs for `--seconds` with at most 512 MB. The measured coverage includes this project's Python, but not
   msgspec's C code.
2. A hostile client attacks a real server from a separate process, in the ways that `BadClient.hammer` lists, while
   another client plays normally (the good client). The result has the good client's latency from input to frame and its
   frame rate, with and without the attack. `make bench-flood` measures floods at full speed.

The last line of the output is a JSON object. The exit code is 1 after a crash, or if the server did not survive. The
program needs `pip install atheris`, which `make fuzz` runs.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from game.servers import OurServer
from game.services import Services
from redis.asyncio import Redis

from gameserver.client import Bot, GameClient
from gameserver.cluster.directory import Directory
from gameserver.match import Match, MatchSpec
from gameserver.protocol import (
    CODECS,
    JSON,
    MAX_CLIENT_FRAME_BYTES,
    MSGPACK,
    Codec,
    Hello,
    Input,
    Ping,
    ProtocolError,
    Say,
)
from gameserver.rules.arena import Move
from gameserver.server.chat import sanitise

_MEMORY_MB = 512
_MAX_INPUT_BYTES = MAX_CLIENT_FRAME_BYTES
_WARM_UP_SECONDS = 2.0
_TICK_RATE_HZ = 20


def fuzz_target(folder: Path, seconds: int) -> None:
    """Run libFuzzer in this process until libFuzzer ends the process.

    Any exception other than ProtocolError is a crash.
    """
    # Import atheris by its name, because atheris has no type stubs and only this function needs the package.
    atheris: Any = importlib.import_module("atheris")
    games = {"arena": 4, "noughts": 2}
    specs = [MatchSpec(f"fuzz-{name}", name, seats, 60.0, name, 0, "fuzz") for name, seats in games.items()]

    def test_one_input(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        spec = specs[provider.ConsumeIntInRange(0, len(specs) - 1)]
        codec = list(CODECS.values())[provider.ConsumeIntInRange(0, len(CODECS) - 1)]
        match = Match(spec, _TICK_RATE_HZ)
        seats = [match.join(f"p{slot}", f"P{slot}", 1)[0] for slot in range(spec.seats)]
        decode = codec.input_decoder(match.action_type)
        while provider.remaining_bytes():
            payload = provider.ConsumeBytes(provider.ConsumeIntInRange(1, 64))
            seat = seats[provider.ConsumeIntInRange(0, len(seats) - 1)]
            for decoder in (codec.decode_hello, codec.decode_server, decode):
                try:
                    message: Any = decoder(payload)
                except ProtocolError:
                    continue
                if isinstance(message, Input) and decoder is decode:
                    match.input(seat, message.sequence, message.action)
                elif isinstance(message, Say):
                    match.say(seat, sanitise(message.text).encode(), 1)
            frame = match.tick(1)
            if frame is not None:
                codec.encode(frame)
            match.acknowledge(match.take_events())
        Match.restore(spec, _TICK_RATE_HZ, match.snapshot())

    for module in ("gameserver.protocol", "gameserver.match", "gameserver.rules.arena", "gameserver.rules.noughts"):
        for value in vars(importlib.import_module(module)).values():
            if getattr(value, "__module__", "") == module and isinstance(value, type):
                _instrument(atheris, value)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(_seeds()):
        (corpus / str(number)).write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-max_len={_MAX_INPUT_BYTES}",
        "-timeout=10",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/", str(corpus)], test_one_input
    )
    atheris.Fuzz()


def _instrument(atheris: Any, kind: type) -> None:
    """Let atheris measure the coverage of all methods of a class that is already imported."""
    for name, method in list(vars(kind).items()):
        if type(method).__name__ == "function":
            setattr(kind, name, atheris.instrument_func(method))


def _seeds() -> Sequence[bytes]:
    messages = [Hello("m", "t", "Ada", "r"), Input(1, Move(0.5, -1.0)), Input(2, [4]), Ping(1), Say("gg \u202e")]
    encoded = [codec.encode(message) for codec in (MSGPACK, JSON) for message in messages]
    # Append the bytes from which FuzzedDataProvider takes lengths and choices, because FuzzedDataProvider
    # reads lengths and choices from the end of the data.
    return [part + bytes([len(part) - 1, 0, 1]) for part in encoded]


def run_fuzzer(folder: Path, seconds: int) -> dict[str, Any]:
    """Run libFuzzer in a separate process, and return its figures and the names of the files with crashing inputs."""
    done = subprocess.run(
        [sys.executable, __file__, "--target", str(folder), "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    crashes = [path.name for path in folder.iterdir() if path.name.startswith(("crash-", "oom-", "timeout-"))]
    if done.returncode != 0:
        print(done.stderr[-4000:], file=sys.stderr)
    return {
        "seconds": seconds,
        "exit_code": done.returncode,
        "executions": int(stats.get("number_of_executed_units", 0)),
        "peak_memory_mb": int(stats.get("peak_rss_mb", 0)),
        "coverage_edges_first_last": [int(coverage[0][0]), int(coverage[-1][0])] if coverage else [],
        "crashes": crashes,
    }


class BadClient:
    """Attacks a server over raw sockets.

    Args:
        port: TCP port of the server.
        match_id: id of the match that the client joins.
        token: a valid access token, with which the hostile client joins the match.
    """

    def __init__(self, port: int, match_id: str, token: str) -> None:
        self._port = port
        self._hello = Hello(match_id, token, "Mallory")
        self._idle: list[socket.socket] = []
        self._random = random.Random(1)

    def hammer(self, seconds: float) -> Counter[str]:
        """Attack the server in random ways for `seconds`, and count the attacks of each way."""
        ways: list[Callable[[], None]] = [
            self.garbage_for_a_handshake,
            self.garbage_for_a_hello,
            self.oversized_frame,
            self.bad_token,
            self.flood,
            self.control_frames,
            self.fragments,
            self.malformed_inputs,
            self.read_nothing,
        ]
        counts: Counter[str] = Counter()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            way = self._random.choice(ways)
            try:
                way()
            except OSError:
                counts["closed_by_server"] += 1
            counts[way.__name__] += 1
        return counts

    def garbage_for_a_handshake(self) -> None:
        """Send random bytes instead of an HTTP request."""
        with self._connect() as sock:
            sock.sendall(self._random.randbytes(2000))

    def garbage_for_a_hello(self) -> None:
        """Send random bytes instead of a `Hello`."""
        with self._open(MSGPACK) as sock:
            sock.sendall(_frame(self._random.randbytes(200)))

    def oversized_frame(self) -> None:
        """Send a frame that is larger than the server allows."""
        with self._open(MSGPACK) as sock:
            sock.sendall(_frame(b"x" * (4 * MAX_CLIENT_FRAME_BYTES)))

    def bad_token(self) -> None:
        """Send a `Hello` with an invalid token."""
        with self._open(JSON) as sock:
            sock.sendall(_frame(JSON.encode(Hello("m", "a.b.c")), text=True))
            sock.recv(1000)

    def flood(self) -> None:
        """Join the match, and send 3,000 inputs without a pause."""
        with self._seated() as sock:
            for number in range(3000):
                sock.sendall(_frame(MSGPACK.encode(Input(number + 1, Move(1.0, 0.0)))))

    def control_frames(self) -> None:
        """Send 3,000 PING frames and 3,000 PONG frames without a pause."""
        with self._open(MSGPACK) as sock:
            for _ in range(3000):
                # An empty PING frame and an empty PONG frame, with a mask of zeros.
                sock.sendall(b"\x89\x80" + bytes(4) + b"\x8a\x80" + bytes(4))

    def fragments(self) -> None:
        """Send 1,001 fragments of a message, without the last fragment."""
        with self._open(MSGPACK) as sock:
            # The first fragment of a binary message, and 1,000 continuation frames that do not end the message.
            sock.sendall((b"\x02\x81" + bytes(4) + b"a") + (b"\x00\x81" + bytes(4) + b"a") * 1000)
            sock.recv(1000)

    def malformed_inputs(self) -> None:
        """Join the match, and send an input with values of wrong types."""
        with self._seated() as sock:
            sock.sendall(_frame(MSGPACK.encode(Input(1, [float("inf"), "x"]))))
            sock.recv(100_000)

    def read_nothing(self) -> None:
        """Join the match, and never read the frames of the server. At most 20 connections that never read stay open."""
        self._idle.append(self._seated())
        if len(self._idle) > 20:
            self._idle.pop(0).close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=2.0)

    def _open(self, codec: Codec) -> socket.socket:
        sock = self._connect()
        request = (
            "GET /play HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {codec.name}\r\n\r\n"
        )
        sock.sendall(request.encode())
        sock.recv(1000)
        return sock

    def _seated(self) -> socket.socket:
        sock = self._open(MSGPACK)
        sock.sendall(_frame(MSGPACK.encode(self._hello)))
        sock.recv(1000)
        return sock


def _frame(payload: bytes, *, text: bool = False) -> bytes:
    """Return a WebSocket frame with `payload` as a client sends it, with a mask of zeros."""
    first, size = 0x81 if text else 0x82, len(payload)
    header = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    return header + bytes(4) + payload


async def live(services: Services, server: OurServer, seconds: float) -> dict[str, Any]:
    """Measure latency and frame rate of the good client without and with the hostile client, and return the figures."""
    redis = Redis.from_url(services.redis_url)
    match_id = uuid4().hex
    spec = MatchSpec(match_id, "arena", 10, 3600.0, "arena", round(time.time() * 1000), "bench")
    await Directory(redis).create_match(spec)
    await redis.aclose()
    async with GameClient("", timeout_seconds=10) as good:
        good.use_token(services.issuer.token())
        connection = await good.join((match_id, f"ws://127.0.0.1:{server.port}/play"))
        playing = asyncio.create_task(Bot(connection).play())
        await asyncio.sleep(_WARM_UP_SECONDS)

        async def measured(wait: float) -> dict[str, Any]:
            connection.samples.latency_ms.clear()
            frames = connection.samples.frames
            began = time.monotonic()
            await asyncio.sleep(wait)
            rate = (connection.samples.frames - frames) / (time.monotonic() - began)
            ordered = sorted(connection.samples.latency_ms)
            share = {f"p{p}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 2) for p in (50, 99)}
            return {**share, "frames_per_second": round(rate, 2), "samples": len(ordered)}

        memory_before = _memory_mb(server.process.pid)
        baseline = await measured(seconds)
        # Give the hostile client a valid access token, and let it join the good client's match, where the hostile
        # client can do the most harm.
        order = {"port": server.port, "match_id": match_id, "token": services.issuer.token(), "seconds": seconds}
        bad = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--bad", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        hammering = asyncio.create_task(bad.communicate(json.dumps(order).encode()))
        hammered = await measured(seconds)
        attacks = json.loads((await hammering)[0])
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        return {
            "baseline": baseline,
            "hammered": hammered,
            "p99_ratio": round(hammered["p99_ms"] / baseline["p99_ms"], 2),
            "attacks": attacks,
            "reconnects": connection.reconnects,
            "server_memory_mb_before_after": [memory_before, _memory_mb(server.process.pid)],
            "server_alive": server.process.poll() is None,
        }


def _memory_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024


def main() -> int:
    """Run the fuzzer and the attack, print the results, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="seconds that libFuzzer runs")
    parser.add_argument(
        "--live-seconds",
        type=float,
        default=30.0,
        help="seconds of each of the two measurements: without and with the hostile client",
    )
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--bad", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.target:
        fuzz_target(arguments.target, arguments.seconds)
        return 0
    if arguments.bad:
        order = json.load(sys.stdin)
        client = BadClient(order["port"], order["match_id"], order["token"])
        print(json.dumps(client.hammer(order["seconds"])))
        return 0
    with tempfile.TemporaryDirectory(prefix="mjctl-fuzz-") as name:
        folder = Path(name)
        fuzzed = run_fuzzer(folder, arguments.seconds)
        with Services(folder, core=0) as services:
            server = OurServer(services, folder, room_size=10, core=(os.cpu_count() or 1) - 1)
            try:
                lived = asyncio.run(live(services, server, arguments.live_seconds))
            finally:
                server.process.terminate()
                server.process.wait(20)
    result = {"fuzzer": fuzzed, "live": lived, "python": platform.python_version(), "load_average": os.getloadavg()[0]}
    print(json.dumps(result))
    return 0 if fuzzed["exit_code"] == 0 and not fuzzed["crashes"] and lived["server_alive"] else 1


if __name__ == "__main__":
    sys.exit(main())
