"""Game servers as ECS tasks: what the service says of a task, joined with what its server says in the registry.

The registry lies in Redis, and is read through the ops function. A server belongs to the task that it names in its id,
or whose address it has.
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
# A new task pulls the image, starts, registers and passes the load balancer's checks.
_REPLACED_SECONDS = 600.0
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class _Seen:
    """One server: its task, its entry in the registry, or both."""

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
    """A row for every task, and for every server that has none any more.

    When the ops function or Redis is away the tasks are shown alone, each with the reason.

    Raises:
        PermissionDeniedError, UnreachableError: ECS cannot be asked.
    """
    with RegionClients(contract) as clients:
        tasks, answer = await asyncio.gather(read_tasks(contract, clients), _registry(contract))
    if isinstance(answer, MjctlError):
        return [_row(_Seen(task, None), reason=answer.what) for task in tasks]
    return [_row(seen) for seen in _joined(tasks, answer)]


async def drain(
    contract: Contract, names: Sequence[str], say: Say, *, message: str | None = None
) -> list[ServerChange]:
    """Have the named servers hand their matches over, one after another.

    A server that drains fails the load balancer's check, so that ECS sets a new task in its place.

    Raises:
        NotFoundError: the region has no such server.
        ConflictError: no other server would be left to take the matches.
        UnreachableError: the ops function does not answer, or the server does not obey.
    """
    changes = []
    async with ops_function(contract) as function:
        with RegionClients(contract) as clients:
            _find_all(contract, await _read_servers(contract, clients, function), names)
            for name in dict.fromkeys(names):
                started = time.monotonic()
                seen, matches = await _hand_over(contract, clients, function, name, say, message)
                zone = _zone(seen)
                changes.append(ServerChange(name, zone, "drained", matches, time.monotonic() - started))
    return changes


async def restart(contract: Contract, names: Sequence[str], say: Say) -> list[ServerChange]:
    """Exchange the tasks of the named servers (all when none is named), one at a time, and wait for each replacement.

    Raises:
        As `drain`; UnreachableError also when no replacement becomes ready: the rest are left alone.
    """
    changes = []
    async with ops_function(contract) as function:
        with RegionClients(contract) as clients:
            there = await _read_servers(contract, clients, function)
            chosen = list(dict.fromkeys(names or [seen.id for seen in there if seen.task is not None]))
            _find_all(contract, there, chosen)
            for name in chosen:
                started = time.monotonic()
                ready = sum(seen.ready for seen in await _read_servers(contract, clients, function))
                seen, matches = await _hand_over(contract, clients, function, name, say)
                if seen.task is not None:
                    say(f"{name}: stopping task {seen.task.id}")
                    reason = f"mjctl servers restart by {function.operator}"[:255]
                    await clients.call(
                        "ecs", "stop_task", cluster=cluster_arn(contract), task=seen.task.arn, reason=reason
                    )
                await _await_replacement(contract, clients, function, seen, ready)
                seconds = time.monotonic() - started
                say(f"{name}: replaced after {seconds:.0f} s")
                changes.append(ServerChange(name, _zone(seen), "restarted", matches, seconds))
    return changes


async def _hand_over(
    contract: Contract, clients: RegionClients, function: OpsFunction, name: str, say: Say, message: str | None = None
) -> tuple[_Seen, int]:
    """Drain one server, once another can take its matches; the server, and how many matches it had."""
    there = await _read_servers(contract, clients, function)
    (seen,) = _find_all(contract, there, [name])
    if not any(other.ready for other in there if other.id != name):
        raise ConflictError(
            f"{name} cannot be taken out of service: no other server of the region is ready to take its matches",
            where=f"{contract.environment}, {contract.region}",
            hint=f"wait until ECS has started another task: `mjctl servers list --env {contract.environment} "
            f"--region {contract.region}` shows the state of each",
        )
    if seen.entry is None:
        # It has not registered, so no match is on it.
        return seen, 0
    matches = int(seen.entry["matches"])
    say(f"{name}: handing over {matches} match{'es' if matches != 1 else ''}")
    # A function of an earlier release refuses a field that it does not know.
    await function.run("drain", server_id=name, **({"message": message} if message else {}))
    deadline = time.monotonic() + _HAND_OVER_SECONDS
    while time.monotonic() < deadline:
        now = {entry["id"]: entry for entry in await _entries(function)}.get(name)
        if now is None or (now["draining"] and now["matches"] == 0):
            say(f"{name}: handed over")
            return seen, matches
        await asyncio.sleep(_POLL_SECONDS / 4)
    raise UnreachableError(
        f"{name} has not handed its matches over within {_HAND_OVER_SECONDS:g} s; no other server was touched",
        where=f"{contract.environment}, {contract.region}",
        hint=f"{_log_advice(contract)}; an older release of the game does not know the request: then "
        f"`mjctl deploy --env {contract.environment} --region {contract.region}` first",
    )


async def _await_replacement(
    contract: Contract, clients: RegionClients, function: OpsFunction, old: _Seen, ready: int
) -> None:
    """Until the old task is gone and as many servers are ready as before."""
    deadline = time.monotonic() + _REPLACED_SECONDS
    while time.monotonic() < deadline:
        there = await _read_servers(contract, clients, function)
        gone = old.task is None or all(seen.task is None or seen.task.id != old.task.id for seen in there)
        if gone and sum(seen.ready for seen in there) >= ready:
            return
        await asyncio.sleep(_POLL_SECONDS)
    service = await read_service(contract, clients)
    raise UnreachableError(
        f"no replacement of {old.id} is ready after {_REPLACED_SECONDS:g} s; no other server was touched",
        where=f"{contract.environment}, {contract.region}",
        hint=f"the service's last event: {service.last_event or 'none'}",
    )


async def _registry(contract: Contract) -> list[dict[str, Any]] | MjctlError:
    try:
        async with ops_function(contract) as function:
            return await _entries(function)
    except MjctlError as error:
        return error


async def _entries(function: OpsFunction) -> list[dict[str, Any]]:
    """What the registry has of each server, with the drain that was asked for as `drained`."""
    answer = await function.run("servers")
    drains = answer.get("drains", {})
    return [{**entry, "drained": drains.get(entry["id"])} for entry in answer["servers"]]


def _log_advice(contract: Contract) -> str:
    group = contract.fleet.log_group
    return f"`aws logs tail {group} --region {contract.region}` shows why" if group else "its log says why"


async def _read_servers(contract: Contract, clients: RegionClients, function: OpsFunction) -> list[_Seen]:
    tasks, entries = await asyncio.gather(read_tasks(contract, clients), _entries(function))
    return _joined(tasks, entries)


def _joined(tasks: Sequence[Task], entries: Sequence[dict[str, Any]]) -> list[_Seen]:
    left = {entry["id"]: entry for entry in entries}

    def take(task: Task) -> dict[str, Any] | None:
        for name, entry in left.items():
            address = urlsplit(entry.get("private_url", "")).hostname
            if task.id in name or (task.address is not None and task.address == address):
                return left.pop(name)
        return None

    joined = [_Seen(task, take(task)) for task in tasks]
    return joined + [_Seen(None, entry) for entry in left.values()]


def _find_all(contract: Contract, there: Sequence[_Seen], names: Sequence[str]) -> list[_Seen]:
    by_id = {seen.id: seen for seen in there}
    unknown = [name for name in names if name not in by_id]
    if unknown:
        raise NotFoundError(
            f"no server {', '.join(unknown)}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"servers there: {', '.join(by_id) or 'none'}",
        )
    return [by_id[name] for name in names]


def _row(seen: _Seen, reason: str | None = None) -> ServerRow:
    entry, task = seen.entry or {}, seen.task
    started = task.started_at if task else None
    return ServerRow(
        id=seen.id,
        zone=_zone(seen),
        state=_state(seen),
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


def _zone(seen: _Seen) -> str:
    return seen.task.zone if seen.task else str(seen.entry["zone"]) if seen.entry else ""


def _state(seen: _Seen) -> str:
    if seen.task is not None and seen.task.status != "RUNNING":
        return seen.task.status.lower()
    if seen.entry is None:
        return "no answer"
    return "draining" if seen.entry["draining"] else "ready"
