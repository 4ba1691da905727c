"""Checks roles, image access, secrets and the log group before an ECS task starts, as on Fargate.

On Fargate, ECS reads the image and the secrets and creates the log stream with the credentials of the execution role.
ministack itself does not check any role.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mjctl.sandbox.stage import roles
from mjctl.sandbox.stage.game_image import IMAGE

_RESOURCES = "ResourceInitializationError: unable to pull secrets or registry auth"
_RETRIED = "service call has been retried 1 time(s): AccessDeniedException"


class TaskStartError(Exception):
    """Means that a task cannot start. The text of the error becomes the task's `stoppedReason`."""


def check(task: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    """Check that the roles of a task allow its start.

    Args:
        task: ministack's record of the task.
        definition: The task definition.

    Raises:
        TaskStartError: ECS cannot assume a role, a role does not allow a call, or the log group does not exist.
    """
    _assumed(definition.get("taskRoleArn"), task)
    execution = _assumed(definition.get("executionRoleArn"), task)
    region = task["taskArn"].split(":")[3]
    for container in definition.get("containerDefinitions", []):
        for reason, action, resource in _calls(container, task["taskArn"]):
            if execution is None:
                raise TaskStartError(f"{reason}: the task definition has no execution role")
            if refused := roles.denial(execution, action, resource, region):
                raise TaskStartError(f"{reason}: {_RETRIED}: {refused}")
        _check_log_group(container)


def _assumed(role_arn: str | None, task: Mapping[str, Any]) -> roles.RoleCredentials | None:
    if not role_arn:
        return None
    try:
        return roles.assume_for_service(
            role_arn, roles.ECS_TASKS, task["taskArn"].rsplit("/", 1)[-1], source_arn=task["taskArn"]
        )
    except roles.RoleRefusedError as error:
        raise TaskStartError(
            f"{_RESOURCES}: ECS was unable to assume the role '{role_arn}' that was provided for this task: {error}"
        ) from error


def _calls(container: Mapping[str, Any], task_arn: str) -> Iterator[tuple[str, str, str]]:
    """Yield each call that ECS makes with the execution role: start of the error message, action and resource."""
    _, _, _, region, account, _ = task_arn.split(":", 5)
    image = str(container["image"])
    if IMAGE.match(image):
        host, _, path = image.partition("/")
        repository = path.partition("@")[0].partition(":")[0]
        registry, _, _, home = host.split(".")[:4]
        arn = f"arn:aws:ecr:{home}:{registry}:repository/{repository}"
        login = f"{_RESOURCES}: execution resource retrieval failed: unable to retrieve ecr registry auth"
        yield login, "ecr:GetAuthorizationToken", "*"
        for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"):
            yield f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {image}", action, arn
    for secret in container.get("secrets", []):
        value = str(secret.get("valueFrom", ""))
        failed = f"{_RESOURCES}: execution resource retrieval failed: unable to retrieve secret"
        if ":secretsmanager:" in value:
            arn = ":".join(value.split(":")[:7])
            yield f"{failed} from asm", "secretsmanager:GetSecretValue", arn
        else:
            name = value if value.startswith("arn:") else f"arn:aws:ssm:{region}:{account}:parameter/{value.strip('/')}"
            yield f"{failed} from ssm", "ssm:GetParameters", name
    logs = container.get("logConfiguration") or {}
    if logs.get("logDriver") == "awslogs":
        options = logs.get("options") or {}
        home = options.get("awslogs-region") or region
        stream = f"{options.get('awslogs-stream-prefix')}/{container['name']}/{task_arn.rsplit('/', 1)[-1]}"
        arn = f"arn:aws:logs:{home}:{account}:log-group:{options.get('awslogs-group')}:log-stream:{stream}"
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            yield "ResourceInitializationError: failed to validate logger args", action, arn


def _check_log_group(container: Mapping[str, Any]) -> None:
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import cloudwatch_logs

    logs = container.get("logConfiguration") or {}
    options = logs.get("options") or {}
    group = options.get("awslogs-group")
    if logs.get("logDriver") != "awslogs" or str(options.get("awslogs-create-group", "")).lower() == "true":
        return
    if not cloudwatch_logs._log_groups.contains_scoped(
        get_account_id(), options.get("awslogs-region") or get_region(), group
    ):
        raise TaskStartError(
            "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
            f"ResourceNotFoundException: The specified log group does not exist: {group}"
        )
