"""Stores the health of the load balancers' targets. Health checks write this table, and load balancers read it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

HEALTHY, UNHEALTHY, INITIAL, DRAINING, UNUSED = "healthy", "unhealthy", "initial", "draining", "unused"
UNAVAILABLE = "unavailable"

_WORST_FIRST = (DRAINING, UNHEALTHY, INITIAL, UNAVAILABLE, HEALTHY, UNUSED)


@dataclass(frozen=True)
class TargetKey:
    """Identifies the registration of a target in a target group.

    Attributes:
        group: The ARN of the target group.
        address: The IP address of the target.
        port: The port for the players' traffic.
    """

    group: str
    address: str
    port: int


@dataclass(frozen=True)
class HealthState:
    """Describes the health of a target as `DescribeTargetHealth` does.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html

    Attributes:
        state: One of AWS's states, e.g. `healthy`.
        reason: AWS's reason code, empty for a healthy target.
        description: AWS's description of the reason.
        check_port: The port of the health checks.
    """

    state: str
    reason: str = ""
    description: str = ""
    check_port: str = ""


class TargetTable:
    """Holds the state of each registered or draining target. Several threads may call the methods at the same time.

    Attributes:
        refresh: A function that updates the table from ministack's records immediately.
    """

    def __init__(self) -> None:
        self.refresh: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._states: dict[TargetKey, HealthState] = {}

    def set(self, key: TargetKey, state: HealthState) -> None:
        """Set the state of a target."""
        with self._lock:
            self._states[key] = state

    def get(self, key: TargetKey) -> HealthState | None:
        """Return the state of a target, or None for an unknown target."""
        with self._lock:
            return self._states.get(key)

    def remove(self, key: TargetKey) -> None:
        """Remove a target from the table."""
        with self._lock:
            self._states.pop(key, None)

    def of_group(self, group: str) -> dict[TargetKey, HealthState]:
        """Return the states of the targets of a target group, including draining targets."""
        with self._lock:
            return {key: state for key, state in self._states.items() if key.group == group}

    def usable(self, group: str) -> list[TargetKey]:
        """Return the targets that get new requests: the healthy targets, or all targets if none is healthy.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
        """
        registered = {k: s.state for k, s in self.of_group(group).items() if s.state not in {DRAINING, UNUSED}}
        healthy = [key for key, state in registered.items() if state in {HEALTHY, UNAVAILABLE}]
        return sorted(healthy or registered, key=lambda key: (key.address, key.port))

    def draining(self, group: str) -> list[TargetKey]:
        """Return the deregistered targets of a target group whose deregistration delay has not ended."""
        return [key for key, state in self.of_group(group).items() if state.state == DRAINING]

    def state_of(self, address: str) -> str:
        """Return the worst of a target's states in all target groups, or `unused` if no group contains the target.

        The method first updates the table, so that the result includes a deregistration from a moment ago.
        """
        self.refresh()
        with self._lock:
            states = {state.state for key, state in self._states.items() if key.address == address}
        return next((state for state in _WORST_FIRST if state in states), UNUSED)

    def groups(self) -> Iterator[str]:
        """Yield the ARN of each target group that has a target."""
        with self._lock:
            groups = {key.group for key in self._states}
        yield from sorted(groups)


def draining_state(state: HealthState) -> HealthState:
    """Return the state of a target after its deregistration."""
    reason, description = "Target.DeregistrationInProgress", "Target deregistration is in progress"
    return replace(state, state=DRAINING, reason=reason, description=description)
