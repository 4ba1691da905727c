"""Lists, drains and restarts the game servers that run as ECS tasks.

The state of a task comes from ECS, and the state of its game server from the server registry. The server registry is in
Redis, and mjctl reads it through the ops function. A registry entry belongs to the ECS task whose id is part of the
server's id, or whose IP address is the server's address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mjctl.clients.boto import RegionClients
from mjctl.clients.ecs import Task, cluster_arn, read_service, read_tasks
from mjctl.clients.ops_function import OpsFunction, ops_function
from mjctl.fleet.model import Say, ServerChange, ServerRow
from mjctl.models.contract import Contract
from mjctl.models.drained import Drained
from mjctl.models.errors import ConflictError, MjctlError, NotFoundError, UnreachableError

_HAND_OVER_SECONDS = 60.0
# Ten minutes are enough for a new ECS task to pull its image, start, register and pass the load balancer's health
# checks.
_REPLACED_SECONDS = 600.0
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class _Server:
    """Holds the ECS task of a game server, the registry entry of the server, or both."""

    task: Task | None
    entry: dict[str, Any] | None

    @property
    def id(self) -> str:
        return str(self.entry["id"]) if self.entry else self.task.id if self.task else ""

    @property
    def ready(self) -> bool:
        running = self.task is None or self.task.status == "RUNNING"
        return self.entry is not None and not self.entry["draining"] and running


async def list_servers(contract: Contract) -> list[ServerRow]:
    """Return a row for every ECS task, and for every registered server without a task.

    If the ops function or Redis does not answer, the rows have no numbers of players and matches, and `last_incident`
    has the reason.

    Raises:
        PermissionDeniedError, UnreachableError: ECS refuses the request or does not answer.
    """
    with RegionClients(contract) as clients:
        tasks, answer = await asyncio.gather(read_tasks(contract, clients), _registry(contract))
    if isinstance(answer, MjctlError):
        return [_row(_Server(task, None), reason=answer.what) for task in tasks]
    return [_row(server) for server in _joined(tasks, answer)]


async def drain(
    contract: Contract, names: Sequence[str], say: Say, *, message: str | None = None
) -> list[ServerChange]:
    """Hand over the matches of the named servers, one server after another.

    A draining server fails the load balancer's health check, so ECS replaces the server's task.

    Args:
        contract: The contract of the region.
        names: The ids of the servers.
        say: Receives lines for the operator.
        message: The reason of the drain.

    Raises:
        NotFoundError: The region does not have one of the named servers.
        ConflictError: No other server of the region is ready to receive the matches.
        UnreachableError: The ops function does not answer, or a server does not hand over its matches in time.
    """
    changes = []
    async with ops_function(contract) as function:
        with RegionClients(contract) as clients:
            _find_all(contract, await _read_servers(contract, clients, function), names)
            for name in dict.fromkeys(names):
                started = time.monotonic()
                server, matches = await _hand_over(contract, clients, function, name, say, message)
                seconds = time.monotonic() - started
                changes.append(ServerChange(name, _zone(server), "drained", matches, seconds))
    return changes


async def restart(contract: Contract, names: Sequence[str], say: Say) -> list[ServerChange]:
    """Replace the ECS tasks of the named servers. Each new task must be ready before the next task stops.

    Args:
        contract: The contract of the region.
        names: The ids of the servers. Without ids, all servers of the region are replaced.
        say: Receives lines for the operator.

    Raises:
        NotFoundError: The region does not have one of the named servers.
        ConflictError: No other server of the region is ready to receive the matches.
        UnreachableError: The ops function does not answer, a server does not hand over its matches in time, or a new
            task is not ready in time. The remaining tasks are not replaced after an error.
    """
    changes = []
    async with ops_function(contract) as function:
        with RegionClients(contract) as clients:
            servers = await _read_servers(contract, clients, function)
            chosen = list(dict.fromkeys(names or [server.id for server in servers if server.task is not None]))
            _find_all(contract, servers, chosen)
            for name in chosen:
                started = time.monotonic()
                ready = sum(server.ready for server in await _read_servers(contract, clients, function))
                server, matches = await _hand_over(contract, clients, function, name, say)
                if server.task is not None:
                    say(f"{name}: stopping task {server.task.id}")
                    reason = f"mjctl servers restart by {function.operator}"[:255]
                    await clients.call(
                        "ecs", "stop_task", cluster=cluster_arn(contract), task=server.task.arn, reason=reason
                    )
                await _await_replacement(contract, clients, function, server, ready)
                seconds = time.monotonic() - started
                say(f"{name}: replaced after {seconds:.0f} s")
                changes.append(ServerChange(name, _zone(server), "restarted", matches, seconds))
    return changes


async def _hand_over(
    contract: Contract, clients: RegionClients, function: OpsFunction, name: str, say: Say, message: str | None = None
) -> tuple[_Server, int]:
    """Drain the server `name` after a check that another server can receive its matches.

    Returns:
        The server, and the number of its matches before the drain.

    Raises:
        NotFoundError: The region does not have one of the named servers.
        ConflictError: No other server of the region is ready to receive the matches.
        UnreachableError: The ops function does not answer, or the server does not hand over its matches in time.
    """
    servers = await _read_servers(contract, clients, function)
    (server,) = _find_all(contract, servers, [name])
    if not any(other.ready for other in servers if other.id != name):
        raise ConflictError(
            f"cannot stop {name}: no other server of the region is ready to receive its matches",
            where=f"{contract.environment}, {contract.region}",
            hint=f"wait until ECS has started another task: `mjctl servers list --env {contract.environment} "
            f"--region {contract.region}` shows the state of each server",
        )
    if server.entry is None:
        # A game server without a registry entry runs no matches, so there is nothing to hand over.
        return server, 0
    matches = int(server.entry["matches"])
    say(f"{name}: handing over {matches} match{'es' if matches != 1 else ''}")
    # The ops function of an earlier release refuses the unknown field `message`, so send the field only if it is set.
    await function.run("drain", server_id=name, **({"message": message} if message else {}))
    deadline = time.monotonic() + _HAND_OVER_SECONDS
    while time.monotonic() < deadline:
        now = {entry["id"]: entry for entry in await _entries(function)}.get(name)
        if now is None or (now["draining"] and now["matches"] == 0):
            say(f"{name}: all matches are handed over")
            return server, matches
        await asyncio.sleep(_POLL_SECONDS / 4)
    raise UnreachableError(
        f"{name} has not handed over its matches within {_HAND_OVER_SECONDS:g} s; the remaining servers were not "
        "changed",
        where=f"{contract.environment}, {contract.region}",
        hint=f"{_log_advice(contract)}; a server of an older release ignores a request to drain: deploy the "
        f"region first with `mjctl deploy --env {contract.environment} --region {contract.region}`",
    )


async def _await_replacement(
    contract: Contract, clients: RegionClients, function: OpsFunction, old: _Server, ready: int
) -> None:
    """Wait until the ECS task of `old` does not exist any more and at least `ready` servers of the region are ready.

    Raises:
        UnreachableError: The task still exists, or too few servers are ready, after ten minutes.
    """
    deadline = time.monotonic() + _REPLACED_SECONDS
    while time.monotonic() < deadline:
        servers = await _read_servers(contract, clients, function)
        ended = old.task is None or all(server.task is None or server.task.id != old.task.id for server in servers)
        if ended and sum(server.ready for server in servers) >= ready:
            return
        await asyncio.sleep(_POLL_SECONDS)
    service = await read_service(contract, clients)
    raise UnreachableError(
        f"no replacement of {old.id} is ready after {_REPLACED_SECONDS:g} s; the remaining servers were not replaced",
        where=f"{contract.environment}, {contract.region}",
        hint=f"the last event of the ECS service: {service.last_event or 'none'}",
    )


async def _registry(contract: Contract) -> list[dict[str, Any]] | MjctlError:
    try:
        async with ops_function(contract) as function:
            return await _entries(function)
    except MjctlError as error:
        return error


async def _entries(function: OpsFunction) -> list[dict[str, Any]]:
    """Return the registry entry of each server, with the requested drain or None under the added key `drained`."""
    answer = await function.run("servers")
    drains = answer.get("drains", {})
    return [{**entry, "drained": drains.get(entry["id"])} for entry in answer["servers"]]


def _log_advice(contract: Contract) -> str:
    group = contract.fleet.log_group
    return f"`aws logs tail {group} --region {contract.region}` shows why" if group else "the server's log says why"


async def _read_servers(contract: Contract, clients: RegionClients, function: OpsFunction) -> list[_Server]:
    tasks, entries = await asyncio.gather(read_tasks(contract, clients), _entries(function))
    return _joined(tasks, entries)


def _joined(tasks: Sequence[Task], entries: Sequence[dict[str, Any]]) -> list[_Server]:
    remaining = {entry["id"]: entry for entry in entries}

    def take(task: Task) -> dict[str, Any] | None:
        for name, entry in remaining.items():
            address = urlsplit(entry.get("private_url", "")).hostname
            if task.id in name or (task.address is not None and task.address == address):
                return remaining.pop(name)
        return None

    joined = [_Server(task, take(task)) for task in tasks]
    return joined + [_Server(None, entry) for entry in remaining.values()]


def _find_all(contract: Contract, servers: Sequence[_Server], names: Sequence[str]) -> list[_Server]:
    by_id = {server.id: server for server in servers}
    unknown = [name for name in names if name not in by_id]
    if unknown:
        raise NotFoundError(
            f"the region has no server {', '.join(unknown)}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"servers of the region: {', '.join(by_id) or 'none'}",
        )
    return [by_id[name] for name in names]


def _row(server: _Server, reason: str | None = None) -> ServerRow:
    entry, task = server.entry or {}, server.task
    started = task.started_at if task else None
    return ServerRow(
        id=server.id,
        zone=_zone(server),
        state=_state(server),
        pid=None,
        players=entry.get("players"),
        max_players=entry.get("max_players"),
        matches=entry.get("matches"),
        uptime_seconds=(datetime.now(UTC) - started).total_seconds() if started else None,
        incidents=0,
        last_incident=reason,
        play_url=str(entry.get("url", "")),
        task=task.id if task else None,
        drained=Drained.parse(entry.get("drained") or {}),
    )


def _zone(server: _Server) -> str:
    return server.task.zone if server.task else str(server.entry["zone"]) if server.entry else ""


def _state(server: _Server) -> str:
    if server.task is not None and server.task.status != "RUNNING":
        return server.task.status.lower()
    if server.entry is None:
        return "no answer"
    return "draining" if server.entry["draining"] else "ready"
