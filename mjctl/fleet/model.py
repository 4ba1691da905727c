"""Defines the types that describe game servers, for local processes and for ECS tasks."""

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
        zone: The availability zone of the server.
        state: `ready`, `draining`, `drained` (an operator has stopped the server), `not ready`, or `no answer` (the
            server runs and does not answer). For a server that does not run, `state` is the state that the supervisor
            or ECS reports, e.g. `stopped` or `provisioning`.
        pid: The process id, or None on AWS and for a server that does not run.
        players: The number of connected players, or None if the server does not answer.
        max_players: The largest number of players that the server accepts, or None if the server does not answer.
        matches: The number of running matches, or None if the server does not answer.
        uptime_seconds: The seconds since the start of the server, or None if the start is unknown.
        incidents: The number of unexpected ends of the process that the watchdog has recorded.
        last_incident: The last incident of the server, or for an ECS task the reason why the server registry could not
            be read. None if there was no incident and no such reason.
        play_url: The address to which clients connect.
        task: The id of the server's ECS task, or None without a task.
        drained: The operator, time and reason of the drain that keeps the server out of service, or None if no drain
            does so.
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
        seconds: The duration of the drain or restart in seconds.
    """

    id: str
    zone: str
    action: str
    matches: int
    seconds: float
