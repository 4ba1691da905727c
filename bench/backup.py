"""Measures backup, verification, restore and drill of a region with 100,000 rows, 100,000 items and 100,000 keys.

`make bench-backup` deploys a local region in a temporary folder, fills the region, runs each command as a user does,
and destroys the region. The last line of the output is a JSON object with median seconds, sizes and versions. Items
take most of the time of a backup, restore or drill: the emulated AWS writes about 2,000 items a second, and reads about
10,000 items a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gameserver.cache import DistributedCache
from mjctl.backup import tables
from mjctl.backup.create import backup_clients
from mjctl.clients.stores import cache, database
from mjctl.models.contract import Contract

REGION = "us-east-1"
NAMESPACE = "bench"
DAY_SECONDS = 86_400
_CONNECTIONS = 50
_ROWS = """
INSERT INTO matches (match_id, region, server_id, state, mode, seats, reason, started_at, ended_at)
SELECT md5(i::text), 'us-east-1', 'game-us-east-1a-1', 'ended', 'arena', 10, 'time', now() - i * interval '1 minute',
       now() - i * interval '1 minute' + interval '3 minutes'
FROM generate_series(1, $1::int) i
"""


class Home:
    """Runs mjctl as a user without a terminal does, with its state and data in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mjctl(self, *arguments: str) -> str:
        """Run a command of mjctl, and return its output. Ends the benchmark if the command fails."""
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments],
            env={**os.environ, "MJCTL_HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"mjctl {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def timed(self, *arguments: str) -> tuple[float, Any]:
        """Run a command of `mjctl backup`, and return its duration in seconds and its JSON document."""
        started = time.monotonic()
        document = json.loads(self.mjctl("backup", *arguments, "--region", REGION, "--output", "json"))
        seconds = time.monotonic() - started
        print(f"backup {' '.join(arguments)}: {seconds:.2f} s", file=sys.stderr)
        return seconds, document


async def fill(contract: Contract, count: int) -> dict[str, float]:
    """Write `count` rows, `count` items and `count` keys, and return the seconds that each kind took."""
    seconds = {}
    with backup_clients(contract) as clients:
        started = time.monotonic()
        async with database(contract, clients, timeout_seconds=60) as connection:
            await connection.execute(_ROWS, count)
        seconds["rows"] = time.monotonic() - started
        started = time.monotonic()
        await tables.put(clients, contract.tables["matches"].name, (_item(number) for number in range(count)))
        seconds["items"] = time.monotonic() - started
        started = time.monotonic()
        async with cache(contract, clients, timeout_seconds=60) as redis:
            cached = DistributedCache(redis)
            for first in range(0, count, _CONNECTIONS):
                numbers = range(first, min(first + _CONNECTIONS, count))
                await asyncio.gather(
                    *(cached.set(NAMESPACE, f"k{number}", {"score": number}, DAY_SECONDS) for number in numbers)
                )
        seconds["keys"] = time.monotonic() - started
    return seconds


def _item(number: int) -> dict[str, Any]:
    player = {"player_id": {"S": f"player-{number}"}, "score": {"N": str(number % 500)}, "rank": {"N": "1"}}
    return {
        "match_id": {"S": f"{number:032x}"},
        "state": {"S": "ended"},
        "mode": {"S": "arena"},
        "region": {"S": REGION},
        "created_at": {"N": str(1_700_000_000_000 + number)},
        "ended_at": {"N": str(1_700_000_180_000 + number)},
        "result": {"M": {"reason": {"S": "time"}, "players": {"L": [{"M": player}]}}},
    }


def measure(home: Home, rounds: int) -> tuple[dict[str, list[float]], Any]:
    """Run each command `rounds` times.

    Returns the seconds by command, and the JSON document of the last `mjctl backup create`.
    """
    seconds: dict[str, list[float]] = {"create": [], "verify": [], "restore": [], "drill": []}
    document: Any = None
    for number in range(rounds):
        took, created = home.timed("create")
        seconds["create"].append(took)
        document = created["regions"][0]
        seconds["verify"].append(home.timed("verify")[0])
        took, restored = home.timed("restore", "--into", f"bench-{number}")
        assert restored["regions"][0]["equal"], restored
        seconds["restore"].append(took)
        home.mjctl("backup", "discard", f"bench-{number}", "--region", REGION, "--yes")
        took, drilled = home.timed("drill")
        assert drilled["regions"][0]["proven"], drilled
        seconds["drill"].append(took)
    return seconds, document


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count",
        type=int,
        default=100_000,
        help="number of PostgreSQL rows, of DynamoDB items and of cache keys that the region gets, each",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is measured")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mjctl-bench-"))
    home = Home(folder)
    try:
        home.mjctl("deploy", "--region", REGION, "--auto-approve")
        contract = Contract.parse(
            json.loads(home.mjctl("outputs", "--region", REGION, "--output", "json"))["regions"][0]["outputs"]
        )
        filled = asyncio.run(fill(contract, arguments.count))
        print(f"filled: {filled}", file=sys.stderr)
        seconds, document = measure(home, arguments.rounds)
    finally:
        home.mjctl("destroy", "--all-regions", "--auto-approve")
        shutil.rmtree(folder)
    result = {
        "median_seconds": {name: round(statistics.median(values), 2) for name, values in seconds.items()},
        "records": document["records"],
        "raw_bytes": document["raw_bytes"],
        "stored_bytes": document["stored_bytes"],
        "fill_seconds": {name: round(value, 1) for name, value in filled.items()},
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
