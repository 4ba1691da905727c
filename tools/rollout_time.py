"""Computes how long ECS needs to replace all game servers of a region, in AWS's order."""

from __future__ import annotations

import math
from typing import Final

from gameserver.runtime.ecs import LONGEST_PROTECTION_MINUTES

# AWS does not promise a time from the decision of ECS to start a Fargate task until the container listens. The
# allowance covers the network interface, the pull of an image of 100 MB and the start of the game server.
START_SECONDS: Final = 180.0

# Fargate stops a container at the latest 120 s after SIGTERM:
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (stopTimeout)
STOP_SECONDS: Final = 120.0


def rollout_seconds(
    servers: int,
    *,
    maximum_percent: int,
    healthy_seconds: float,
    deregistration_seconds: float,
    protection_seconds: float = 60.0 * LONGEST_PROTECTION_MINUTES,
    start_seconds: float = START_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> float:
    """Return the longest duration of a rolling deploy in seconds.

    ECS starts new tasks up to the limit `maximum_percent`. When the new tasks are healthy, ECS stops an equal number of
    old tasks. To stop a task, ECS deregisters its target, waits for the deregistration delay, and sends SIGTERM. After
    the first protection has ended, ECS refuses a protection that would block the deployment.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html

    Args:
        servers: the number of servers.
        maximum_percent: `deployment_maximum_percent` of the service, above 100.
        healthy_seconds: the time until a new target is healthy.
        deregistration_seconds: the deregistration delay of the target group.
        protection_seconds: the longest period of protection of a task.
        start_seconds: the time from ECS's decision until a new server listens.
        stop_seconds: the longest time from SIGTERM until the end of a server.
    """
    at_once = max(1, servers * maximum_percent // 100 - servers)
    waves = math.ceil(servers / at_once)
    wave = start_seconds + healthy_seconds + deregistration_seconds + stop_seconds
    return protection_seconds + waves * wave
