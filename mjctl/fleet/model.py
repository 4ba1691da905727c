"""Types that describe game servers, for local processes and for ECS tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mjctl.models.drained import Drained

Say = Callable[[str], None]
"""Receives lines for the operator while servers are drained or restarted."""


@dataclass(frozen=True)
class ServerRow:
    """Describes one game server.

    Attributes:
        id: The id of the server.
        zone: The availability zone.
        state: `ready`, `draining`, `drained` (an operator has stopped the server), `not ready`, or `no answer` (the
            server runs and does not answer). Otherwise the state that the supervisor or ECS reports, e.g. `stopped` or
            `provisioning`.
        pid: The process id, or None on AWS and for a server that does not run.
        players: The number of connected players, or None if the server does not answer.
        max_players: The largest number of players, or None if the server does not answer.
        matches: The number of running matches, or None if the server does not answer.
        uptime_seconds: The time since the server has started, or None if it is unknown.
        incidents: The number of unexpected ends of the process that the watchdog has recorded.
        last_incident: The last incident, or the reason why the server's registry entry could not be read; or None.
        play_url: The address to which clients connect.
        task: The id of the server's ECS task, or None without a task.
        drained: The operator, time and reason of a drain, or None if the server was not drained.
    """

    id: str
    zone: str
    state: str
    pid: int | None
    players: int | None
    max_players: int | None
    matches: int | None
    uptime_seconds: float | None
    incidents: int
    last_incident: str | None
    play_url: str
    task: str | None = None
    drained: Drained | None = None


@dataclass(frozen=True)
class ServerChange:
    """Describes the drain or the restart of one server.

    Attributes:
        id: The id of the server.
        zone: The availability zone.
        action: `drained` or `restarted`.
        matches: The number of matches that the server handed over.
        seconds: The duration of the drain or restart.
    """

    id: str
    zone: str
    action: str
    matches: int
    seconds: float
