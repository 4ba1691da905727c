"""Taking game servers out of service and exchanging them: matches move, they do not die.

A server that is asked to stop hands its matches to the others, with their last state, before it ends; players follow by
themselves. So a server is only ever stopped while another one of the region is ready.
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
    """Hand over the matches of the named servers, one server after another, and leave those servers stopped.

    They stay out of service until `restart` names them or a deploy replaces them. Who drained them, when and why
    (`message`) is kept, for `servers list` and `health`.

    Raises:
        NotFoundError: the region has no such server.
        ConflictError: no other server would be left to take the matches.
        ConfigError: the fleet is not one that mjctl stops servers of.
        UnreachableError: the supervisor does not answer.
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
        # Before the server stops, so that no check takes it for a server that has failed.
        drains.mark(_run_dir(contract), name, Drained.now(message))
        try:
            await asyncio.to_thread(client.stop, name)
        except BaseException:
            drains.clear(_run_dir(contract), name)
            raise
        seconds = time.monotonic() - started
        say(f"{name}: out of service after {seconds:.1f} s")
        changes.append(ServerChange(name, row.zone, "drained", row.matches or 0, seconds))
    return changes


async def restart(contract: Contract, names: Sequence[str], say: Say) -> list[ServerChange]:
    """Exchange the named servers (all when none is named), one at a time; the next waits until the last is ready.

    Raises:
        As `drain`; UnreachableError also when a server does not become ready again: the rest are left alone.
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
    """The server's row, once it is certain that another server can take its matches."""
    rows = await list_servers(contract)
    row = next(one for one in rows if one.id == name)
    if not any(one.state == "ready" for one in rows if one.id != name):
        raise ConflictError(
            f"{name} cannot be taken out of service: no other server of the region is ready to take its matches",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl servers list {contract.scope}` shows the state of each; `mjctl servers restart SERVER "
            f"{contract.scope}` brings a drained server back",
        )
    return row


async def _await_ready(contract: Contract, name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = next(one.state for one in await list_servers(contract) if one.id == name)
        if state == "ready":
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise UnreachableError(
        f"{name} is not ready {_READY_SECONDS:g} s after its restart: {state}; no other server was touched",
        where=f"{contract.environment}, {contract.region}",
        hint=f"{_log_advice(contract, name)}; `mjctl rollback {contract.scope}` brings back the last good revision",
    )


def _supervisor(contract: Contract) -> SupervisorClient:
    from mjctl.local.supervisor import SupervisorClient

    if contract.fleet.supervisor_socket is None:
        raise ConfigError(
            f"servers of a fleet on {contract.fleet.kind} are exchanged by that service, not one by one",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy {contract.scope}` rolls them",
        )
    return SupervisorClient(Path(contract.fleet.supervisor_socket), scope=contract.scope)


def _run_dir(contract: Contract) -> Path:
    """Where the supervisor of the region keeps its files. `_supervisor` has made sure that there is one."""
    return Path(contract.fleet.run_dir or Path(contract.fleet.supervisor_socket or "").parent)


def _known(contract: Contract, names: Sequence[str]) -> None:
    there = [server.id for server in contract.fleet.servers]
    unknown = [name for name in names if name not in there]
    if unknown:
        raise NotFoundError(
            f"no server {', '.join(unknown)}",
            where=f"{contract.environment}, {contract.region}",
            hint=f"servers there: {', '.join(there)}",
        )


def _log_advice(contract: Contract, name: str) -> str:
    from mjctl.local.layout import Layout

    return f"its log says why: {Layout(_run_dir(contract).parent).log(name)}"


def _matches(row: ServerRow) -> str:
    count = row.matches or 0
    return f"{count} match{'es' if count != 1 else ''}"
