"""Detects a rollout that ECS has rolled back.

If the tasks of a new task definition fail, the circuit breaker of ECS returns the service to the old task definition.
After a rollback by ECS the service is steady, so Terraform reports success although the new tasks have failed.
"""

from __future__ import annotations

from mjctl.models.errors import VerificationError
from mjctl.terraform.stack import Stack


def verify_ecs_rollout(stack: Stack) -> None:
    """Check that the region's ECS service runs the task definition in the stack's output `rollout`.

    A stack without the output `rollout` is not checked.

    Raises:
        VerificationError: The ECS service does not run the task definition that Terraform applied.
        UnreachableError, PermissionDeniedError: ECS does not answer or refuses the request.
    """
    wanted = stack.outputs().get("rollout") if stack.remote is not None else None
    if stack.remote is None or wanted is None:
        return
    account = stack.remote.account
    try:
        answer = account.client("ecs", stack.unit).describe_services(
            cluster=wanted["cluster"], services=[wanted["service"]]
        )
    except Exception as error:
        raise account.explain(error, f"{stack.unit}, ecs:DescribeServices") from error
    running = [str(service["taskDefinition"]) for service in answer["services"]]
    if running != [wanted["task_definition"]]:
        raise VerificationError(
            f"the game servers run {_name(running[0]) if running else 'nothing'}, "
            f"not {_name(wanted['task_definition'])}: ECS has rolled the service back",
            where=f"{stack.where}, service {wanted['service']}",
            hint="the events of the ECS service say why the tasks stopped; fix the cause and deploy again, or go back "
            f"with `mjctl rollback --env {stack.environment} --region {stack.unit}`",
        )


def _name(task_definition: str) -> str:
    """Return the short name of a task definition: `game:7` for `arn:...:task-definition/game:7`."""
    return task_definition.rsplit("/", 1)[-1]
