"""Whether a region runs what was applied: a roll-out that ECS took back ends steady, and Terraform calls it done."""

from __future__ import annotations

from mjctl.models.errors import VerificationError
from mjctl.terraform.stack import Stack


def verify_ecs_rollout(stack: Stack) -> None:
    """Compare the region's service with the stack's output `rollout`; nothing where there is none.

    Raises:
        VerificationError: the service runs another task definition than the one that was applied.
        UnreachableError, PermissionDeniedError: ECS could not be asked.
    """
    wanted = stack.outputs().get("rollout") if stack.remote is not None else None
    if stack.remote is None or wanted is None:
        return
    account = stack.remote.account
    try:
        found = account.client("ecs", stack.unit).describe_services(
            cluster=wanted["cluster"], services=[wanted["service"]]
        )
    except Exception as error:
        raise account.explain(error, f"{stack.unit}, ecs:DescribeServices") from error
    running = [str(service["taskDefinition"]) for service in found["services"]]
    if running != [wanted["task_definition"]]:
        raise VerificationError(
            f"the game servers run {_name(running[0]) if running else 'nothing'}, "
            f"not {_name(wanted['task_definition'])}: ECS has taken the roll-out back",
            where=f"{stack.where}, service {wanted['service']}",
            hint="the service's events say why its tasks stopped: repair that and deploy again, or "
            f"`mjctl rollback --env {stack.environment} --region {stack.unit}`",
        )


def _name(task_definition: str) -> str:
    """`arn:...:task-definition/game:7` is `game:7` to a person."""
    return task_definition.rsplit("/", 1)[-1]
