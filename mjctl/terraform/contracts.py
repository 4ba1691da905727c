"""Reading what the stacks published."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mjctl.models.contract import Contract
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError, TerraformError
from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import Engine, find_engine
from mjctl.terraform.runner import child_environment
from mjctl.terraform.stack import Stack

_TIMEOUT_SECONDS = 60


def deployed_contracts(
    workspace: Workspace, environment: Environment, regions: Sequence[str] = ()
) -> dict[str, Contract]:
    """The contract of each region asked for, in that order; `regions=()` means every deployed region.

    Raises:
        NotFoundError: a region that was named is not deployed, or none is.
        TerraformError: Terraform could not read a state.
    """
    stacks = [Stack.of_region(workspace, environment, name) for name in regions or environment.regions]
    there = [stack for stack in stacks if stack.exists()]
    missing = [stack.region for stack in stacks if stack not in there]
    if not there or (regions and missing):
        names = ", ".join(missing if regions else environment.regions)
        flags = " ".join(f"--region {name}" for name in (missing if regions else list(environment.regions)[:1]))
        raise NotFoundError(
            f"not deployed: {names}",
            where=f"environment {environment.name}",
            hint=f"`mjctl deploy --env {environment.name} {flags}` brings it up",
        )
    engine = find_engine()
    with ThreadPoolExecutor(max_workers=environment.concurrency) as pool:
        contracts = list(pool.map(lambda stack: _read(engine, stack), there))
    found = {stack.region: contract for stack, contract in zip(there, contracts, strict=True) if contract is not None}
    unpublished = [stack.region for stack in there if stack.region not in found]
    if unpublished and (regions or not found):
        raise NotFoundError(
            f"half deployed, without a contract yet: {', '.join(unpublished)}",
            where=f"environment {environment.name}",
            hint=f"finish it: `mjctl deploy --env {environment.name} --region {unpublished[0]}`",
        )
    return found


def _read(engine: Engine, stack: Stack) -> Contract | None:
    """One stack's contract; None where an interrupted first deploy has left a state without outputs."""
    done = subprocess.run(
        [*engine.argv, "output", "-json"],
        cwd=stack.source_dir,
        env=child_environment(stack),
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        raise TerraformError(
            f"terraform output failed\n{done.stderr.strip()[-2000:]}",
            where=stack.where,
            hint=f"`mjctl deploy --region {stack.region}` initialises the stack anew",
        )
    published = json.loads(done.stdout or "{}").get("contract")
    return Contract.parse(published["value"]) if published else None
