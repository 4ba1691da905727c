"""Reading what the stacks published."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mjctl.models.contract import Contract
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack


def deployed_contracts(
    workspace: Workspace, environment: Environment, regions: Sequence[str] = ()
) -> dict[str, Contract]:
    """The contract of each region asked for, in that order; `regions=()` means every deployed region.

    Raises:
        NotFoundError: a region that was named is not deployed, or none is.
        UnreachableError, PermissionDeniedError: the states are remote, and were not answered for.
    """
    stacks = [Stack.of_unit(workspace, environment, name) for name in regions or environment.regions]
    with ThreadPoolExecutor(max_workers=environment.concurrency) as pool:
        exists = list(pool.map(Stack.exists, stacks))
    there = [stack for stack, found in zip(stacks, exists, strict=True) if found]
    missing = [stack.unit for stack in stacks if stack not in there]
    if not there or (regions and missing):
        names = ", ".join(missing if regions else environment.regions)
        flags = " ".join(f"--region {name}" for name in (missing if regions else list(environment.regions)[:1]))
        raise NotFoundError(
            f"not deployed: {names}",
            where=f"environment {environment.name}",
            hint=f"`mjctl deploy --env {environment.name} {flags}` brings it up",
        )
    published = {stack.unit: stack.outputs().get("contract") for stack in there}
    found = {region: Contract.parse(contract) for region, contract in published.items() if contract is not None}
    unpublished = [stack.unit for stack in there if stack.unit not in found]
    if unpublished and (regions or not found):
        raise NotFoundError(
            f"half deployed, without a contract yet: {', '.join(unpublished)}",
            where=f"environment {environment.name}",
            hint=f"finish it: `mjctl deploy --env {environment.name} --region {unpublished[0]}`",
        )
    return found


def shared_contracts(workspace: Workspace, environment: Environment) -> dict[str, Any]:
    """What the stacks publish that exist once: of `foundation` and `edge`, those that are deployed; {} on `local`.

    Raises:
        UnreachableError, PermissionDeniedError: as deployed_contracts.
    """
    if environment.target == "local":
        return {}
    outputs = {unit: Stack.of_unit(workspace, environment, unit).outputs() for unit in (FOUNDATION, EDGE)}
    return {unit: published["contract"] for unit, published in outputs.items() if "contract" in published}
