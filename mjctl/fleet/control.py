"""Drains and restarts game servers without ending their matches.

A game server that stops hands its matches with their state to other servers, and players reconnect automatically. A
drain or a restart stops a game server only while another server of the region is ready to receive the matches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mjctl.fleet import ecs
from mjctl.fleet.listing import list_servers
from mjctl.fleet.model import Say, ServerChange, ServerRow
from mjctl.local import drains
from mjctl.models.contract import Contract
from mjctl.models.drained import Drained
from mjctl.models.errors import ConfigError, ConflictError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from mjctl.local.supervisor import SupervisorClient

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.2


async def drain(
    contract: Contract, names: Sequence[str], say: Say, *, message: str | None = None
) -> list[ServerChange]:
    """Hand over the matches of the named servers, one server after another, and stop the servers.

    A drained local server stays out of service until `restart` starts it or a deploy replaces it. ECS replaces the task
    of a drained server. `mjctl servers list` and `mjctl health` show the operator, the time and the reason of the
    drain.

    Args:
        contract: The contract of the region.
        names: The ids of the servers.
        say: Receives lines for the operator.
        message: The reason of the drain.

    Raises:
        NotFoundError: The region does not have one of the named servers.
        ConflictError: No other server of the region is ready to receive the matches.
        ConfigError: The fleet of the region has no supervisor and does not run on ECS, so mjctl cannot stop servers.
        UnreachableError: The supervisor or the ops function does not answer, or a server on ECS does not hand over its
            matches in time.
    """
    if contract.fleet.kind == "ecs":
        return await ecs.drain(contract, names, say, message=message)
    client = _supervisor(contract)
    _known(contract, names)
    changes = []
    for name in dict.fromkeys(names):
        row = await _require_another(contract, name)
        started = time.monotonic()
        say(f"{name}: handing over {_matches(row)}")
        # Record the drain before the server stops, so that no health check reports the stopped server as failed.
        drains.mark(_run_dir(contract), name, Drained.now(message))
        try:
            await asyncio.to_thread(client.stop, name)
        except BaseException:
            drains.clear(_run_dir(contract), name)
            raise
        seconds = time.monotonic() - started
        say(f"{name}: stopped after {seconds:.1f} s")
        changes.append(ServerChange(name, row.zone, "drained", row.matches or 0, seconds))
    return changes


async def restart(contract: Contract, names: Sequence[str], say: Say) -> list[ServerChange]:
    """Restart the named servers, one after another. A restarted server must be ready before the next server stops.

    Args:
        contract: The contract of the region.
        names: The ids of the servers. Without ids, all servers of the region are restarted.
        say: Receives lines for the operator.

    Raises:
        NotFoundError: The region does not have one of the named servers.
        ConflictError: No other server of the region is ready to receive the matches.
        ConfigError: The fleet of the region has no supervisor and does not run on ECS, so mjctl cannot restart servers.
        UnreachableError: The supervisor or the ops function does not answer, or a server is not ready in time, so the
            remaining servers are not restarted.
    """
    if contract.fleet.kind == "ecs":
        return await ecs.restart(contract, names, say)
    client = _supervisor(contract)
    _known(contract, names)
    changes = []
    for name in dict.fromkeys(names or [server.id for server in contract.fleet.servers]):
        row = await _require_another(contract, name)
        started = time.monotonic()
        say(f"{name}: handing over {_matches(row)}")
        await asyncio.to_thread(client.stop, name)
        drains.clear(_run_dir(contract), name)
        await asyncio.to_thread(client.start, name)
        await _await_ready(contract, name)
        seconds = time.monotonic() - started
        say(f"{name}: ready again after {seconds:.1f} s")
        changes.append(ServerChange(name, row.zone, "restarted", row.matches or 0, seconds))
    return changes


async def _require_another(contract: Contract, name: str) -> ServerRow:
    """Return the row of the server `name`, after a check that another server can receive its matches.

    Raises:
        ConflictError: No other server of the region is ready.
    """
    rows = {row.id: row for row in await list_servers(contract)}
    if not any(row.state == "ready" for row in rows.values() if row.id != name):
        raise ConflictError(
            f"cannot stop {name}: no other server of the region is ready to receive its matches",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl servers list {contract.scope}` shows the state of each server; `mjctl servers restart SERVER "
            f"{contract.scope}` starts a drained server again",
        )
    return rows[name]


async def _await_ready(contract: Contract, name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = next(row.state for row in await list_servers(contract) if row.id == name)
        if state == "ready":
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise UnreachableError(
        f"{name} is not ready {_READY_SECONDS:g} s after its restart ({state}); the remaining servers were not "
        "restarted",
        where=f"{contract.environment}, {contract.region}",
        hint=f"{_log_advice(contract, name)}; `mjctl rollback {contract.scope}` returns to the newest earlier revision "
        "that no health gate has rejected",
    )


def _supervisor(contract: Contract) -> SupervisorClient:
    from mjctl.local.supervisor import SupervisorClient

    if contract.fleet.supervisor_socket is None:
        raise ConfigError(
            f"mjctl cannot drain or restart single servers of a fleet on {contract.fleet.kind}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy {contract.scope}` replaces all servers, one after another",
        )
    return SupervisorClient(Path(contract.fleet.supervisor_socket), scope=contract.scope)


def _run_dir(contract: Contract) -> Path:
    """Return the folder of the supervisor's files, after `_supervisor` has checked that the fleet has a supervisor."""
    return Path(contract.fleet.run_dir or Path(contract.fleet.supervisor_socket or "").parent)


def _known(contract: Contract, names: Sequence[str]) -> None:
    known = [server.id for server in contract.fleet.servers]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NotFoundError(
            f"the region has no server {', '.join(unknown)}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"servers of the region: {', '.join(known)}",
        )


def _log_advice(contract: Contract, name: str) -> str:
    from mjctl.local.layout import Layout

    return f"the log of {name} says why: {Layout(_run_dir(contract).parent).log(name)}"


def _matches(row: ServerRow) -> str:
    count = row.matches or 0
    return f"{count} match{'es' if count != 1 else ''}"
