"""The backups that a destroy makes unreadable: they stay in their store, and the key that opens them goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mjctl.backup.operations import unreadable_without
from mjctl.models.backup import BackupEntry
from mjctl.models.environment import FOUNDATION, Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.workspace import Workspace
from mjctl.terraform import contracts


def lost_with(workspace: Workspace, environment: Environment, units: Sequence[str]) -> dict[str, list[BackupEntry]]:
    """Return, for each region, the backups that nothing can open any more once `units` are destroyed.

    Raises:
        MjctlError: the contracts cannot be read, or a store or KMS does not answer.
    """
    if environment.target != "local" and FOUNDATION not in units:
        # On AWS the keys belong to the stack `foundation`, which stays.
        return {}
    try:
        deployed = contracts.deployed_contracts(workspace, environment)
    except NotFoundError:
        # Without a region there is no key to lose.
        return {}
    staying = {name: contract for name, contract in deployed.items() if name not in units}
    location = environment.backup.store
    going = {
        name: contract
        for name, contract in deployed.items()
        if name in units
        and (location is not None or contract.backup.directory is not None or contract.backup.bucket is not None)
    }
    return asyncio.run(unreadable_without(going, staying, location))
