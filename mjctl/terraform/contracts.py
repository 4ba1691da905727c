"""Reads the contracts, which are outputs of the deployed stacks."""

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
    """Return the contract of each selected region by the region's name, in the given order.

    Args:
        workspace: The folders of the project and of mjctl's state.
        environment: The environment whose regions are selected.
        regions: The names of the selected regions; () selects every deployed region.

    Raises:
        NotFoundError: a selected region is not deployed, or no region is deployed.
        UnreachableError: the state bucket did not answer.
        PermissionDeniedError: AWS refused access to the state bucket.
    """
    stacks = [Stack.of_unit(workspace, environment, name) for name in regions or environment.regions]
    with ThreadPoolExecutor(max_workers=environment.concurrency) as pool:
        exists = list(pool.map(Stack.exists, stacks))
    deployed = [stack for stack, is_deployed in zip(stacks, exists, strict=True) if is_deployed]
    missing = [stack.unit for stack in stacks if stack not in deployed]
    if not deployed or (regions and missing):
        names = ", ".join(missing if regions else environment.regions)
        flags = " ".join(f"--region {name}" for name in (missing if regions else list(environment.regions)[:1]))
        raise NotFoundError(
            f"not deployed: {names}",
            where=f"environment {environment.name}",
            hint=f"run `mjctl deploy --env {environment.name} {flags}`",
        )
    published = {stack.unit: stack.outputs().get("contract") for stack in deployed}
    contracts = {region: Contract.parse(contract) for region, contract in published.items() if contract is not None}
    unpublished = [stack.unit for stack in deployed if stack.unit not in contracts]
    if unpublished and (regions or not contracts):
        raise NotFoundError(
            f"no contract exists, because the deploy is not complete: {', '.join(unpublished)}",
            where=f"environment {environment.name}",
            hint=f"complete the deploy: `mjctl deploy --env {environment.name} --region {unpublished[0]}`",
        )
    return contracts


def shared_contracts(workspace: Workspace, environment: Environment) -> dict[str, Any]:
    """Return the output `contract` of the deployed units `foundation` and `edge`, by unit; {} for target `local`.

    Raises:
        UnreachableError: the state bucket did not answer.
        PermissionDeniedError: AWS refused access to the state bucket.
    """
    if environment.target == "local":
        return {}
    outputs = {unit: Stack.of_unit(workspace, environment, unit).outputs() for unit in (FOUNDATION, EDGE)}
    return {unit: published["contract"] for unit, published in outputs.items() if "contract" in published}
