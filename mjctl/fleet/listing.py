"""Lists the game servers of a region with their state."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mjctl.clients.tls import private_context
from mjctl.fleet.model import ServerRow
from mjctl.models.contract import Contract, Server
from mjctl.models.drained import Drained
from mjctl.models.errors import MjctlError

if TYPE_CHECKING:
    import aiohttp

    from mjctl.local.supervisor import Incident, ProcessInfo


async def list_servers(contract: Contract, *, timeout_seconds: float = 2.0) -> list[ServerRow]:
    """Return a row for each game server of a region, also for a server that does not answer.

    Args:
        contract: The contract of the region.
        timeout_seconds: The time limit for the answers of each local server and of the supervisor.
    """
    if contract.fleet.kind == "ecs":
        from mjctl.fleet import ecs

        return await ecs.list_servers(contract)
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    connector = aiohttp.TCPConnector(ssl=private_context(contract) or True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        known, answers = await asyncio.gather(
            asyncio.to_thread(_supervised, contract, timeout_seconds),
            asyncio.gather(*(_ask(http, server) for server in contract.fleet.servers)),
        )
    processes, incidents, drained = known
    return [
        _row(
            server,
            ready,
            status,
            processes.get(server.id),
            [item for item in incidents if item.process == server.id],
            drained.get(server.id),
        )
        for server, (ready, status) in zip(contract.fleet.servers, answers, strict=True)
    ]


def _row(
    server: Server,
    ready: bool,
    status: dict[str, Any] | None,
    process: ProcessInfo | None,
    incidents: list[Incident],
    drained: Drained | None,
) -> ServerRow:
    body = status or {}
    last = incidents[-1] if incidents else None
    return ServerRow(
        id=server.id,
        zone=server.zone,
        state=_state(ready, status, process, drained),
        pid=body.get("pid") or (process.pid if process else None) or None,
        players=body.get("players"),
        max_players=body.get("max_players"),
        matches=body.get("matches"),
        uptime_seconds=body.get("uptime_seconds"),
        incidents=len(incidents),
        last_incident=f"{last.kind}: {last.detail}" if last else None,
        play_url=server.play_url,
        drained=drained,
    )


def _state(ready: bool, status: dict[str, Any] | None, process: ProcessInfo | None, drained: Drained | None) -> str:
    if status is None:
        if drained is not None and (process is None or process.state == "STOPPED"):
            return "drained"
        if process is None or process.state == "RUNNING":
            return "no answer"
        return process.state.lower()
    if status.get("draining"):
        return "draining"
    return "ready" if ready else "not ready"


async def _ask(http: aiohttp.ClientSession, server: Server) -> tuple[bool, dict[str, Any] | None]:
    """Read the paths /readyz and /status of a game server.

    Returns:
        Whether the server is ready, and the decoded answer of /status; (False, None) if the server does not answer.
    """
    import aiohttp

    try:
        async with http.get(f"{server.ops_url}/status") as response:
            status: Any = await response.json(content_type=None)
        async with http.get(f"{server.ops_url}/readyz") as response:
            ready = response.status == 200
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False, None
    return ready, status if isinstance(status, dict) else None


def _supervised(
    contract: Contract, timeout_seconds: float
) -> tuple[dict[str, ProcessInfo], list[Incident], dict[str, Drained]]:
    """Read the processes, the incidents and the drains of a local region.

    If the supervisor does not answer, return no processes and no error, because the game servers may still answer.
    """
    from mjctl.local import drains
    from mjctl.local.supervisor import SupervisorClient, incidents

    fleet = contract.fleet
    processes: dict[str, ProcessInfo] = {}
    if fleet.supervisor_socket:
        try:
            client = SupervisorClient(
                Path(fleet.supervisor_socket), scope=contract.scope, timeout_seconds=timeout_seconds
            )
            processes = {item.name: item for item in client.processes()}
        except MjctlError:
            processes = {}
    if not fleet.run_dir:
        return processes, [], {}
    return processes, incidents(Path(fleet.run_dir)), drains.marks(Path(fleet.run_dir))
