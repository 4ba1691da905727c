"""Checks the health of the load balancers' targets with the settings of the target groups.

ministack itself answers that every registered target is healthy, and forgets a deregistered target immediately.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.sax.saxutils import escape

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import balancer_records, network_records
from mjctl.sandbox.stage.balancer_records import Record
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.health_check import CheckSettings, TargetHealth, check
from mjctl.sandbox.stage.target_table import (
    UNAVAILABLE,
    UNUSED,
    HealthState,
    TargetKey,
    draining_state,
)

_DEFAULT_DELAY_SECONDS = "300"

_NOT_IN_USE = HealthState(
    UNUSED, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)
_NOT_REGISTERED = HealthState(UNUSED, "Target.NotRegistered", "Target is not registered to the target group")
_NOT_CHECKED = HealthState(
    UNAVAILABLE, "Target.HealthCheckDisabled", "Health checks are disabled for this target group"
)

logger = logging.getLogger("mjctl.sandbox.stage.targets")


@dataclass
class _Watched:
    """Holds the health check of a registered target."""

    key: TargetKey
    health: TargetHealth
    task: asyncio.Task[None] | None = None
    obstacle: str | None = None


class Targets:
    """Checks the registered targets, and answers `DescribeTargetHealth`."""

    def __init__(self, context: StageContext) -> None:
        """Create this part of the stage.

        Args:
            context: The objects that all parts of the stage share.
        """
        self._context = context
        self._table = context.targets
        self._lock = threading.RLock()
        self._watched: dict[TargetKey, _Watched] = {}
        # The time at which the deregistration delay of each draining target ends.
        self._draining: dict[TargetKey, float] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="stage-targets")

    def install(self) -> None:
        """Replace ministack's answers about targets, and start the health checks."""
        from ministack.services import alb

        wrap(alb, "_describe_target_health", self._describe)
        for name in ("_register_targets", "_deregister_targets", "set_targets_for_group"):
            wrap(alb, name, self._then_compare)
        self._table.refresh = self._compare
        self._context.target_state.set(self._table.state_of)
        self._thread.start()

    def look(self) -> None:
        """Start and end health checks after changes of the targets in ministack's records."""
        self._compare()

    def close(self) -> None:
        """End the health checks."""
        with self._lock:
            for watched in self._watched.values():
                self._end(watched)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _then_compare(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def handle(*arguments: Any) -> Any:
            answer = original(*arguments)
            self._compare()
            return answer

        return handle

    def _describe(self, _original: Callable[..., Any]) -> Callable[..., Any]:
        def handle(parameters: dict[str, Any]) -> Any:
            from ministack.services import alb

            arn = alb._p(parameters, "TargetGroupArn")
            group = alb._tgs.get(arn)
            if group is None:
                return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
            self._compare()
            states = {(key.address, key.port): state for key, state in self._table.of_group(arn).items()}
            wanted = [(t["Id"], int(t.get("Port") or group["Port"])) for t in alb._parse_targets_param(parameters)]
            chosen = wanted or sorted(states)
            members = "".join(_described(*target, states.get(target, _NOT_REGISTERED)) for target in chosen)
            return alb._xml(
                200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
            )

        return handle

    def _compare(self) -> None:
        """Update the health checks and the table of targets from ministack's records."""
        from ministack.core.responses import request_scope

        with self._lock:
            now = time.monotonic()
            known: set[TargetKey] = set()
            for account, region, group in balancer_records.target_groups():
                with request_scope(account, region):
                    known |= self._compare_group(group, now)
            for key in [key for key in self._table_keys() if key not in known]:
                self._forget(key)

    def _table_keys(self) -> list[TargetKey]:
        return [key for group in self._table.groups() for key in self._table.of_group(group)]

    def _compare_group(self, group: Record, now: float) -> set[TargetKey]:
        """Update the targets of a target group. Returns: the keys of the targets that stay in the table."""
        arn = group["TargetGroupArn"]
        balancers = balancer_records.users(arn)
        keys = {TargetKey(arn, address, port) for address, port in balancer_records.registered(group)}
        for key in keys:
            self._draining.pop(key, None)
            # AWS checks a Lambda function only if the target group enables health checks. The stage never checks
            # functions.
            checked = group["HealthCheckEnabled"] and group.get("TargetType") != "lambda"
            if not balancers or not checked:
                self._forget(key)
                self._table.set(key, _NOT_IN_USE if not balancers else _NOT_CHECKED)
            else:
                self._watch(key, group, balancers)
        delay = float(
            balancer_records.group_attribute(arn, "deregistration_delay.timeout_seconds", _DEFAULT_DELAY_SECONDS)
        )
        for key, state in self._table.of_group(arn).items():
            if key not in keys and self._drains(key, state, now, delay):
                keys.add(key)
        return keys

    def _drains(self, key: TargetKey, state: HealthState, now: float, delay: float) -> bool:
        """Return whether a deregistered target still drains.

        AWS shows a target as draining until the delay has ended, even if the target has no connections any more. ECS
        reads the target's state, and therefore waits for the end of the delay too.
        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
        """
        if state.state in {UNUSED, UNAVAILABLE}:
            return False
        if key not in self._draining:
            self._draining[key] = now + delay
            if watched := self._watched.pop(key, None):
                self._end(watched)
            self._table.set(key, draining_state(state))
        return now < self._draining[key]

    def _watch(self, key: TargetKey, group: Record, balancers: list[Record]) -> None:
        settings = CheckSettings.of(group, key.port)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched(key, TargetHealth(settings))
            self._table.set(key, watched.health.state)
            self._loop.call_soon_threadsafe(self._begin, watched)
        watched.health.settings = settings
        groups, target = network_records.security_groups(), network_records.at_address(key.address)
        obstacles = [
            groups.obstacle(network_records.load_balancer(balancer), target, settings.port) for balancer in balancers
        ]
        obstacle = next((text for text in obstacles if text), None)
        if obstacle and obstacle != watched.obstacle:
            logger.warning("health checks of %s time out: %s", key.address, obstacle)
        watched.obstacle = obstacle

    def _begin(self, watched: _Watched) -> None:
        watched.task = self._loop.create_task(self._check_until_cancelled(watched))

    async def _check_until_cancelled(self, watched: _Watched) -> None:
        health = watched.health
        while True:
            began = self._loop.time()
            self._publish(watched, health.begin)
            result = await check(watched.key.address, health.settings, blocked=watched.obstacle is not None)
            self._publish(watched, partial(health.record, result))
            await asyncio.sleep(max(0.0, began + health.settings.interval - self._loop.time()))

    def _publish(self, watched: _Watched, change: Callable[[], None]) -> None:
        """Change the state of a target, unless the target was deregistered in the meantime."""
        with self._lock:
            if self._watched.get(watched.key) is watched:
                change()
                self._table.set(watched.key, watched.health.state)

    def _forget(self, key: TargetKey) -> None:
        if watched := self._watched.pop(key, None):
            self._end(watched)
        self._draining.pop(key, None)
        self._table.remove(key)

    def _end(self, watched: _Watched) -> None:
        def cancel() -> None:
            if watched.task is not None:
                watched.task.cancel()

        self._loop.call_soon_threadsafe(cancel)


def _described(address: str, port: int, state: HealthState) -> str:
    """Return a target's health in the XML of `DescribeTargetHealth`."""
    check_port = f"<HealthCheckPort>{state.check_port}</HealthCheckPort>" if state.check_port else ""
    reason = f"<Reason>{state.reason}</Reason>" if state.reason else ""
    description = f"<Description>{escape(state.description)}</Description>" if state.description else ""
    return (
        f"<member><Target><Id>{escape(address)}</Id><Port>{port}</Port></Target>{check_port}"
        f"<TargetHealth><State>{state.state}</State>{reason}{description}</TargetHealth></member>"
    )
