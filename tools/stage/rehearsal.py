"""Does an operator's work on a stage with two regions, and checks each result: `make stage-rehearsal`.

Usage: python -m tools.stage.rehearsal [OPERATION...] [--base FOLDER] [--output json]

The program deploys two regions from nothing, unless `--base` names a folder with a deployed base of an earlier run.
Each operation begins with two healthy regions. All operations except `remove-region` leave two healthy regions.
An operation passes only if players play a match after the operation, and the match is stored.

The exit codes are:

- 0: every operation has the expected result
- 1: an operation has another result
- 2: the base cannot be deployed
- 130: Ctrl-C
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tools.stage.commands import Ran
from tools.stage.operator import PRIMARY, SECOND, Operator, expect, run_program

_SCALE_SECONDS = 240.0
_START = "gameserver/__main__.py"
_BAD_START = "import sys\n\nif 'serve' in sys.argv:\n    raise SystemExit('this image cannot start')\n"


def bad_image(operator: Operator) -> None:
    """Deploy an image that cannot start: the canary returns to its revision, and the other region stays unchanged."""
    before = operator.revisions()
    with operator.changed(_START, lambda text: _BAD_START + text):
        canary = ("--strategy", "canary", "--canary", PRIMARY, "--rollback-on-failure")
        ran = operator.mjctl("deploy", "--all-regions", *canary, "--auto-approve", code=4)
    outcomes = _outcomes(ran)
    expect(outcomes.get(PRIMARY) == "rolled_back", f"the canary is {outcomes.get(PRIMARY)} instead of rolled back")
    expect(outcomes.get(SECOND) == "not_started", f"{SECOND} is {outcomes.get(SECOND)} instead of not started")
    expect(operator.revisions() == before, "the regions do not run their earlier revision")
    operator.healthy()
    operator.play(PRIMARY)


def release_and_rollback(operator: Operator) -> None:
    """Deploy a good release as a canary, and return both regions to the earlier revision."""
    before = operator.revisions()
    with operator.changed(_START, lambda text: f"{text}\n# A new release.\n"):
        operator.mjctl("deploy", "--all-regions", "--strategy", "canary", "--canary", SECOND, "--auto-approve")
        after = operator.revisions()
        expect(not set(after.values()) & set(before.values()), "a region still runs its earlier revision")
        operator.play(SECOND)
        operator.mjctl("rollback", "--all-regions", "--auto-approve")
    expect(operator.revisions() == before, "a region does not run its earlier revision after the rollback")
    operator.healthy()
    operator.play(PRIMARY)


def drift(operator: Operator) -> None:
    """Change a queue by hand: `drift` finds the change, and `deploy` removes it."""
    operator.mjctl("drift", "--region", PRIMARY)
    queue = operator.outputs(PRIMARY)["queues"]["persistence"]["url"]
    sqs = operator.client("sqs", PRIMARY)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "7"})
    rows = operator.mjctl("drift", "--region", PRIMARY, code=2).document["regions"]
    paths = [path["path"] for row in rows for change in row["changes"] for path in change["attributes"]]
    expect("visibility_timeout_seconds" in paths, f"drift does not name the changed attribute: {paths}")
    operator.mjctl("deploy", "--region", PRIMARY, "--auto-approve")
    operator.mjctl("drift", "--region", PRIMARY)
    operator.play(PRIMARY)


def scale(operator: Operator) -> None:
    """Start a second game server in each zone, and return the minimum to one. Autoscaling stops the servers later."""
    zones = len(operator.outputs(PRIMARY)["zones"])
    operator.mjctl("servers", "scale", "2", "--region", PRIMARY, "--auto-approve")
    # Application Auto Scaling starts the servers within minutes.
    began = time.monotonic()
    while (ready := _ready_servers(operator)) < 2 * zones and time.monotonic() - began < _SCALE_SECONDS:
        time.sleep(2)
    expect(ready == 2 * zones, f"{ready} servers are ready instead of {2 * zones}")
    operator.note(f"{ready} servers ready after {time.monotonic() - began:.0f} s")
    operator.mjctl("servers", "scale", "--reset", "--region", PRIMARY, "--auto-approve")
    operator.healthy(PRIMARY)
    operator.play(PRIMARY)


def failover(operator: Operator) -> None:
    """Move players and the database's writer out of a region and back."""
    operator.players_reach(SECOND)
    operator.mjctl("failover", "--region", SECOND, "--auto-approve")
    operator.players_reach(PRIMARY)
    operator.mjctl("failover", "--region", SECOND, "--restore", "--auto-approve")
    operator.players_reach(SECOND)
    moved = operator.mjctl("failover", "--region", PRIMARY, "--auto-approve").document["regions"][0]
    writer = (moved["writer"] or {}).get("to")
    expect(writer == SECOND, f"the database's writer is in {writer} instead of {SECOND}")
    operator.players_reach(SECOND)
    back = operator.mjctl("failover", "--region", PRIMARY, "--restore", "--with-writer", "--auto-approve")
    writer = (back.document["regions"][0]["writer"] or {}).get("to")
    expect(writer == PRIMARY, f"the database's writer is in {writer} instead of {PRIMARY}")
    operator.healthy()
    operator.play(PRIMARY)
    operator.play(SECOND)


def backups(operator: Operator) -> None:
    """Make both kinds of backups, and check that a drill notices backups without data.

    The stage keeps the backups of AWS as records without data, so their drill must fail with the exit code 14. The
    backup task makes a portable backup of the real database, and a drill must prove the portable backup.
    """
    managed = ("--kind", "managed", "--region", PRIMARY)
    operator.mjctl("backup", "create", *managed)
    operator.mjctl("backup", "list", *managed)
    operator.mjctl("backup", "drill", *managed, "--only", "table", code=14)
    operator.mjctl("backup", "create", "--region", PRIMARY)
    operator.mjctl("backup", "drill", "latest", "--region", PRIMARY)
    operator.play(PRIMARY)


def remove_region(operator: Operator) -> None:
    """Remove a region. The rehearsal ends with this operation, because the keys of the region wait for their deletion.

    KMS creates no replica of a key in a region in which a replica waits for its deletion:
    https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-delete.html
    """
    operator.mjctl("destroy", "--region", SECOND, "--auto-approve")
    operator.players_reach(PRIMARY)
    operator.healthy(PRIMARY)


OPERATIONS: dict[str, Callable[[Operator], None]] = {
    "bad-image": bad_image,
    "release-and-rollback": release_and_rollback,
    "drift": drift,
    "scale": scale,
    "failover": failover,
    "backups": backups,
    "remove-region": remove_region,
}


def _ready_servers(operator: Operator) -> int:
    rows = operator.commands.run("servers", "list", "--region", PRIMARY).document["regions"][0]["servers"]
    return sum(row["state"] == "ready" for row in rows)


def _outcomes(ran: Ran) -> dict[str, str]:
    return {row["region"]: row["outcome"] for row in ran.document["regions"]}


if __name__ == "__main__":
    sys.exit(run_program("tools.stage.rehearsal", __doc__.splitlines()[0], OPERATIONS))
