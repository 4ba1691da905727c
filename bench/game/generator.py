"""Builds the load generator from its C sources, and sends commands to its standard input."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from game import machine

SOURCE = Path(__file__).parent / "loadgen"
_PARALLEL_JOINS = 64
_JOIN_SECONDS = 30.0


def build(folder: Path) -> Path:
    """Compile the load generator into `folder`, in about a second, and return the path of the program.

    Raises:
        RuntimeError: no C compiler is installed.
    """
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        raise RuntimeError("the load generator needs a C compiler (cc, gcc or clang)")
    binary = folder / "loadgen"
    sources = sorted(str(path) for path in SOURCE.glob("*.c"))
    subprocess.run([compiler, "-O2", "-Wall", "-std=gnu11", "-o", str(binary), *sources, "-lm"], check=True)
    return binary


@dataclass(frozen=True)
class Joined:
    """Reports how many players joined after a change of the number of players.

    Attributes:
        players: number of players who play after the change.
        wanted: number of players who should play after the change.
        joined: number of players who joined because of the change.
        seconds: time in seconds that the joins took.
    """

    players: int
    wanted: int
    joined: int
    seconds: float


class Generator:
    """Runs a process of the load generator on `core`.

    Args:
        binary: path of the compiled load generator.
        protocol: the game protocol, `mj1` or `colyseus`.
        port: TCP port of the measured server.
        room_size: players in a room, for the whole life of the process.
        tokens: file with an access token in each line.
        core: number of the CPU core on which the process runs.
        log: file for the error output of the process.
    """

    def __init__(self, binary: Path, protocol: str, port: int, room_size: int, tokens: Path, core: int, log: Path):
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                machine.on_core([binary, protocol, str(port), str(room_size), tokens], core),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                bufsize=1,
            )

    def rooms(self, ids: Sequence[str], file: Path) -> None:
        """Pass `ids`, the matches that the next players join, to the load generator through the new file `file`."""
        file.write_text("".join(f"{match_id}\n" for match_id in ids))
        self._ask(f"rooms {file}")

    def players(self, count: int) -> Joined:
        """Let players join or leave until `count` players play."""
        return Joined(**self._ask(f"players {count} {_PARALLEL_JOINS} {_JOIN_SECONDS}"))

    def measure(self, seconds: float) -> dict[str, Any]:
        """Measure latency and frame rate for `seconds`, and return the report that loadgen/measure.c writes."""
        return self._ask(f"measure {seconds}")

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the load generator ended at {line!r}; see its log")
        result: dict[str, Any] = json.loads(answer)
        return result
