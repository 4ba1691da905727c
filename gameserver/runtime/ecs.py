"""Reads a game server's id and zone from ECS, and asks ECS to stop servers without matches first.

The ECS agent passes its addresses in variables of the container. Outside of ECS the variables of the agent do not
exist, and the functions of this module do nothing.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
import structlog

from gameserver.runtime.settings import Mode, Settings

log = structlog.get_logger()

METADATA_VARIABLE: Final = "ECS_CONTAINER_METADATA_URI_V4"
AGENT_VARIABLE: Final = "ECS_AGENT_URI"

_TIMEOUT_SECONDS: Final = 2.0
_TRIES: Final = 3
_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 30.0
"""Time after which a failed call to the ECS agent is repeated. The agent accepts only a few calls in a second, and
rarely accepts a call that it has just refused."""

LONGEST_PROTECTION_MINUTES: Final = 3
"""Longest period of protection. A deployment waits for protected tasks, and must not wait as long as the longest mode.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html"""

_PAUSE_SECONDS: Final = 90.0
"""Pause between two periods of protection. A busy server always has matches, so without the pause ECS could never
replace it."""

_PREFIX: Final = "game-"


def identified(settings: Settings, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with `server_id` and `zone` of this ECS task, unless they are already set.

    `identified` blocks for a few milliseconds. If the agent does not answer, `identified` blocks for some seconds and
    returns the settings unchanged.

    Args:
        settings: the settings of this process.
        environment: the variables of this process.
    """
    address = environment.get(METADATA_VARIABLE)
    if not address or (settings.server_id and settings.zone):
        return settings
    task = _metadata(f"{address}/task")
    arn = str(task.get("TaskARN", ""))
    return replace(
        settings,
        server_id=settings.server_id or (server_id(arn) if arn else ""),
        zone=settings.zone or str(task.get("AvailabilityZone", "")),
    )


def server_id(task_arn: str) -> str:
    """Return the id of the game server that runs as the task `task_arn`."""
    # The task's id is the last part of the task's ARN:
    # arn:aws:ecs:us-east-1:123456789012:task/arena-prod/158d1c8083dd49d6b527399fd6414f5c
    return f"{_PREFIX}{task_arn.rpartition('/')[2]}"


def task_id(server_id: str) -> str:
    """Return the id of the task that runs the game server `server_id`, or "" if the server has another name."""
    return server_id.removeprefix(_PREFIX) if server_id.startswith(_PREFIX) else ""


def cluster_arn(task_arn: str) -> str:
    """Return the ARN of the cluster of the task `task_arn`."""
    return task_arn.rpartition("/")[0].replace(":task/", ":cluster/", 1)


def task_arn(environment: Mapping[str, str] = os.environ) -> str:
    """Return the ARN of this process's task, or "" outside of ECS. The function blocks for a few milliseconds.

    Args:
        environment: the variables of this process.
    """
    address = environment.get(METADATA_VARIABLE)
    return str(_metadata(f"{address}/task").get("TaskARN", "")) if address else ""


def _metadata(address: str) -> dict[str, Any]:
    for attempt in range(1, _TRIES + 1):
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the agent's address
                metadata = json.load(answer)
            if isinstance(metadata, dict):
                return metadata
        except (OSError, ValueError) as error:
            if attempt == _TRIES:
                log.warning("task_unknown", address=address, cause=repr(error))
    return {}


class TaskProtection:
    """Makes ECS stop tasks without matches first when it scales in.

    When a task stops, its matches move to other servers without loss, but the players notice the move. A period of
    protection is as long as the longest match, up to `LONGEST_PROTECTION_MINUTES`. Between two periods the protection
    pauses, because a deployment waits for protected tasks and would never end if a server always had matches.

    Args:
        agent: the address in ECS_AGENT_URI.
        longest_match_seconds: length of the longest match of all modes.
        busy: returns whether the server has matches to protect.
        pause_seconds: pause between two periods of protection.
        clock: returns the time in seconds.

    Attributes:
        minutes: length of a period of protection, in minutes.
    """

    def __init__(
        self,
        agent: str,
        longest_match_seconds: float,
        busy: Callable[[], bool],
        *,
        pause_seconds: float = _PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = f"{agent}/task-protection/v1/state"
        self.minutes = min(math.ceil(longest_match_seconds / 60) + 1, LONGEST_PROTECTION_MINUTES)
        self._busy = busy
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._protected_until = 0.0
        self._protect_from = 0.0
        self._retry_from = 0.0

    async def run(self) -> None:
        """Adjust the protection every `_LOOK_SECONDS` until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)) as session:
            while True:
                await self.look(session)
                await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Switch the protection on or off if a change is due.

        If the ECS agent refuses a change or does not answer, a call of `look` repeats the change after
        `_RETRY_SECONDS`.
        """
        now, busy = self._clock(), self._busy()
        protected = now < self._protected_until
        if busy == protected or now < self._retry_from or (busy and now < self._protect_from):
            return
        if not await self._ask(session, enabled=busy):
            self._retry_from = now + _RETRY_SECONDS
        elif busy:
            self._protected_until = now + 60 * self.minutes
            self._protect_from = self._protected_until + self._pause_seconds
        else:
            self._protected_until = self._protect_from = 0.0

    async def _ask(self, session: aiohttp.ClientSession, *, enabled: bool) -> bool:
        wish: dict[str, object] = {"ProtectionEnabled": enabled}
        if enabled:
            wish["ExpiresInMinutes"] = self.minutes
        try:
            async with session.put(self._address, json=wish) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("task_protection_failed", wanted=enabled, cause=repr(error))
            return False
        granted = answer.get("protection", {}).get("ProtectionEnabled") if isinstance(answer, dict) else None
        if granted is not enabled:
            log.warning("task_protection_failed", wanted=enabled, status=response.status, answer=answer)
            return False
        log.info("task_protection", enabled=enabled, minutes=wish.get("ExpiresInMinutes", 0))
        return True


def protection(
    modes: tuple[Mode, ...], busy: Callable[[], bool], environment: Mapping[str, str] = os.environ
) -> TaskProtection | None:
    """Return the protection of this task, or None outside of ECS.

    Args:
        modes: the modes that players can play.
        busy: returns whether the server has matches to protect.
        environment: the variables of this process.
    """
    agent = environment.get(AGENT_VARIABLE)
    longest = max((mode.duration_seconds for mode in modes), default=0.0)
    return TaskProtection(agent, longest, busy) if agent else None
