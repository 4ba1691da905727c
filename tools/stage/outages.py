"""Kills parts of a stage with two regions while players play, and reports what the players see: `make stage-outages`.

Usage: python -m tools.stage.outages [OUTAGE...] [--base FOLDER] [--output json]

The program deploys two regions from nothing, unless `--base` names a folder with a deployed base of an earlier run. An
outage passes if every match of the load test is played to its end and stored once, and every check of `mjctl health`
passes afterwards. The report names the failed checks and the alarms of the outage.

The exit codes are:

- 0: every outage passed
- 1: an outage did not pass
- 2: the base cannot be deployed
- 130: Ctrl-C
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tools.stage.commands import Ran
from tools.stage.operator import PRIMARY, Operator, expect, run_program
from tools.stage.steps import Failure, failed_checks, finding_of, processes_of

_PLAYERS = 20
_PLAY_SECONDS = 50
_DEPLOY_PLAYERS = 50
# A deploy that replaces the game servers takes about 100 s on the stage.
_DEPLOY_SECONDS = 200
# The first calls of the functions start their processes.
_JOIN_SECONDS = 120.0
_HEALTHY_SECONDS = 240.0
_ENTRY = "gameserver/__main__.py"


def task(operator: Operator) -> None:
    """Kill the process of a game server."""
    with _players(operator):
        _servers(operator)[0].kill()
        _wait_until_healthy(operator)


def stopped_task(operator: Operator) -> None:
    """Stop a task by the API of ECS."""
    fleet = operator.outputs(PRIMARY)["fleet"]
    ecs = operator.client("ecs", PRIMARY)
    with _players(operator):
        running = ecs.list_tasks(cluster=fleet["cluster"], serviceName=fleet["service"])["taskArns"]
        ecs.stop_task(cluster=fleet["cluster"], task=running[0])
        _wait_until_healthy(operator)


def state_store(operator: Operator) -> None:
    """Kill the primary node of the state store's only shard."""
    group = operator.outputs(PRIMARY)["managed"]["state_group"]
    with _players(operator):
        _primary(operator, group).kill()
        _wait_until_healthy(operator)


def writer(operator: Operator) -> None:
    """Kill the writer of the database."""
    with _players(operator):
        _writer(operator).kill()
        _wait_until_healthy(operator)


def whole_region(operator: Operator) -> None:
    """Kill all processes behind the region's resources, which the stage then starts again with their disks."""
    with _players(operator, seconds=_PLAY_SECONDS + 40):
        killed = _of_region(operator)
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        operator.note(f"{len(killed)} processes killed")
        _wait_until_healthy(operator)


def rolling_deploy(operator: Operator) -> None:
    """Replace all game servers by a new release."""
    with (
        _players(operator, players=_DEPLOY_PLAYERS, seconds=_DEPLOY_SECONDS),
        operator.changed(_ENTRY, lambda text: f"{text}\n# A new release.\n"),
    ):
        operator.mjctl("deploy", "--region", PRIMARY, "--auto-approve")
        _wait_until_healthy(operator)


OUTAGES: dict[str, Callable[[Operator], None]] = {
    "task": task,
    "stopped-task": stopped_task,
    "state-store": state_store,
    "writer": writer,
    "whole-region": whole_region,
    "rolling-deploy": rolling_deploy,
}


@contextmanager
def _players(operator: Operator, *, players: int = _PLAYERS, seconds: int = _PLAY_SECONDS) -> Iterator[None]:
    """Run a load test during the block, and check its result after the block."""
    arguments = ("loadtest", "--region", PRIMARY, "--players", str(players), "--duration", str(seconds))
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(operator.commands.run, *arguments)
        _wait_until_playing(operator, load, players)
        yield
        ran = load.result()
    rows = ran.document.get("regions") or [{}]
    if "matches" not in rows[0]:
        raise Failure("mjctl loadtest", finding_of(ran))
    row = rows[0]
    stored, delay = row["verification"], row["input_to_state_ms"]
    operator.note(
        f"{row['matches']['ended']} of {row['matches']['started']} matches ended, {stored['matches']} compared, "
        f"{len(stored['missing'])} missing, {row['reconnects']} reconnects, {sum(row['errors'].values())} errors, "
        f"input to state p50 {delay['p50']} ms, p99 {delay['p99']} ms, longest {delay['max']} ms"
    )
    expect(row["matches"]["ended"] == row["matches"]["started"], "a match was not played to its end")
    expect(stored["verified"], f"the stored matches are wrong: {stored}")


def _wait_until_playing(operator: Operator, load: Future[Ran], players: int) -> None:
    began = time.monotonic()
    while time.monotonic() - began < _JOIN_SECONDS and not load.done():
        rows = operator.commands.run("servers", "list", "--region", PRIMARY).document.get("regions", ())
        if sum(server["players"] or 0 for row in rows for server in row.get("servers", ())) >= players // 2:
            return
    raise Failure("the players", f"fewer than {players // 2} play after {_JOIN_SECONDS:.0f} s")


def _wait_until_healthy(operator: Operator) -> None:
    """Wait until every check of `mjctl health` passes, and note the failed checks and the alarms until then."""
    prefix = operator.outputs(PRIMARY)["managed"]["alarm_prefix"]
    cloudwatch = operator.client("cloudwatch", PRIMARY)
    began = time.monotonic()
    checks: dict[str, None] = {}
    alarms: dict[str, None] = {}
    while True:
        ran = operator.commands.run("health", "--region", PRIMARY)
        seconds = time.monotonic() - began
        described = cloudwatch.describe_alarms(AlarmNamePrefix=prefix, StateValue="ALARM")
        checks |= dict.fromkeys(failed_checks(ran))
        # moto ignores the parameter StateValue.
        firing = [alarm["AlarmName"] for alarm in described["MetricAlarms"] if alarm["StateValue"] == "ALARM"]
        alarms |= dict.fromkeys(name.removeprefix(prefix) for name in firing)
        if ran.code == 0 or seconds > _HEALTHY_SECONDS:
            break
    operator.note(f"failed checks: {', '.join(checks) or 'none'}; alarms: {', '.join(alarms) or 'none'}")
    expect(ran.code == 0, f"after {seconds:.0f} s: {finding_of(ran)}")
    operator.note(f"healthy after {seconds:.0f} s")


def _processes(operator: Operator) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the processes of the stage and their command lines."""
    for process in processes_of(operator.commands):
        with suppress(psutil.Error):
            yield process, " ".join(process.cmdline())


def _servers(operator: Operator) -> list[psutil.Process]:
    """Return the processes of the region's game servers."""
    servers = [process for process, line in _processes(operator) if line.endswith("-m gameserver serve")]
    return [server for server in servers if server.environ().get("AWS_REGION") == PRIMARY]


def _primary(operator: Operator, group: str) -> psutil.Process:
    """Return the only primary node of a replication group in cluster mode. AWS does not tell the roles of such nodes.

    Raises:
        Failure: not exactly one node is a primary.
    """
    nodes = [
        (process, Path(line.rpartition(" ")[2]).with_name("nodes.conf"))
        for process, line in _processes(operator)
        if f"/cache-{PRIMARY}-{group}-" in line
    ]
    primaries = [process for process, state in nodes if "myself,master" in state.read_text(encoding="utf-8")]
    expect(len(primaries) == 1, f"{len(primaries)} of {len(nodes)} nodes of {group} are primaries")
    return primaries[0]


def _writer(operator: Operator) -> psutil.Process:
    """Return the only PostgreSQL server that writes.

    Raises:
        Failure: not exactly one server writes.
    """
    # Only a server that is no copy of another server has a process `walwriter`.
    parents = [process.parent() for process, line in _processes(operator) if line.startswith("postgres: walwriter")]
    writers = [parent for parent in parents if parent is not None]
    expect(len(writers) == 1, f"{len(writers)} servers of the database write")
    return writers[0]


def _of_region(operator: Operator) -> list[psutil.Process]:
    """Return the game servers, the nodes of the two stores and the database servers of the region."""
    stores = [
        process
        for process, line in _processes(operator)
        if f"/cache-{PRIMARY}-" in line or f"/volumes/{PRIMARY}-" in line
    ]
    return [*_servers(operator), *stores, *(child for store in stores for child in store.children())]


if __name__ == "__main__":
    sys.exit(run_program("tools.stage.outages", __doc__.splitlines()[0], OUTAGES))
