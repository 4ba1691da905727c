"""Protects ECS tasks from scale-ins and deployments: the calls GetTaskProtection and UpdateTaskProtection.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_DEFAULT_MINUTES, _LONGEST_MINUTES = 120, 2880
_MOST_TASKS = 10
_UNTIL = "_protected_until"

Task = dict[str, Any]


class ProtectionError(Exception):
    """Means that ECS does not accept the parameters of a call."""


def is_protected(task: Mapping[str, Any]) -> bool:
    """Return whether a task is protected now."""
    return float(task.get(_UNTIL) or 0.0) > time.time()


def described(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protection of a task in the form of ECS's API."""
    if not is_protected(task):
        return {"protectionEnabled": False, "taskArn": task["taskArn"]}
    return {"expirationDate": int(task[_UNTIL]), "protectionEnabled": True, "taskArn": task["taskArn"]}


def change(task: Task, *, is_enabled: bool, minutes: int | None, blocks_deployment: bool) -> dict[str, Any] | None:
    """Switch the protection of a task on or off.

    Args:
        task: ministack's record of the task.
        is_enabled: True to protect the task.
        minutes: The length of the protection in minutes, or None for two hours.
        blocks_deployment: True if the newest deployment waits only for protected tasks of older deployments.

    Returns:
        A failure in the form of ECS's API, or None.

    Raises:
        ProtectionError: `minutes` is out of range.
    """
    if is_enabled and not 1 <= (minutes if minutes is not None else _DEFAULT_MINUTES) <= _LONGEST_MINUTES:
        raise ProtectionError(f"expiresInMinutes should be between 1 and {_LONGEST_MINUTES}")
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
    if not str(task.get("group", "")).startswith("service:"):
        return {"arn": task["taskArn"], "reason": "TASK_NOT_VALID"}
    if is_enabled and blocks_deployment:
        return {"arn": task["taskArn"], "reason": "DEPLOYMENT_BLOCKED"}
    task[_UNTIL] = time.time() + 60 * (minutes if minutes is not None else _DEFAULT_MINUTES) if is_enabled else 0.0
    return None


def answer_get(data: Mapping[str, Any]) -> Any:
    """Answer the call GetTaskProtection."""
    return _answer(data, lambda _: None)


def answer_update(data: Mapping[str, Any], blocks_deployment: Callable[[Task], bool]) -> Any:
    """Answer the call UpdateTaskProtection.

    Args:
        data: The parameters of the call.
        blocks_deployment: Returns the argument `blocks_deployment` of `change` for a task.
    """
    from ministack.services import ecs

    if not isinstance(data.get("protectionEnabled"), bool):
        return ecs.error_response_json("InvalidParameterException", "protectionEnabled should not be null", 400)
    if len(data.get("tasks") or []) > _MOST_TASKS:
        return ecs.error_response_json("InvalidParameterException", f"at most {_MOST_TASKS} tasks in a call", 400)
    try:
        return _answer(
            data,
            lambda task: change(
                task,
                is_enabled=data["protectionEnabled"],
                minutes=data.get("expiresInMinutes"),
                blocks_deployment=blocks_deployment(task),
            ),
        )
    except ProtectionError as error:
        return ecs.error_response_json("InvalidParameterException", str(error), 400)


def _answer(data: Mapping[str, Any], act: Callable[[Task], dict[str, Any] | None]) -> Any:
    from ministack.services import ecs

    cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
    if cluster is None or cluster not in ecs._clusters:
        return ecs.error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
    protected, failures = [], []
    for reference in data.get("tasks") or []:
        task = ecs._resolve_task(reference, cluster)
        if task is None or task["lastStatus"] == "STOPPED":
            failures.append({"arn": reference, "reason": "MISSING"})
        elif failure := act(task):
            failures.append(failure)
        else:
            protected.append(described(task))
    return ecs.json_response({"failures": failures, "protectedTasks": protected})
