"""Types of the game servers that both kinds of fleet share: processes of a supervisor and ECS tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mjctl.models.drained import Drained

Say = Callable[[str], None]
"""Receives lines for people while servers are exchanged."""


@dataclass(frozen=True)
class ServerRow:
    """One game server. What only the server itself can tell is None while it does not answer."""

    id: str
    zone: str
    state: str
    """`ready`, `draining`, `drained` (an operator has taken it out of service), `not ready`, `no answer` (it runs but
    is silent), else the supervisor's or ECS's own word, e.g. `stopped` or `provisioning`."""
    pid: int | None
    players: int | None
    max_players: int | None
    matches: int | None
    uptime_seconds: float | None
    incidents: int
    last_incident: str | None
    play_url: str
    task: str | None = None
    """Id of its ECS task, on AWS."""
    drained: Drained | None = None
    """The operator, time and reason of a drain; None if the server was not drained."""


@dataclass(frozen=True)
class ServerChange:
    """One server that was drained or restarted. `matches`: how many it had to hand over; `seconds`: out of service."""

    id: str
    zone: str
    action: str
    matches: int
    seconds: float
