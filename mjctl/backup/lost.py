"""Lists the backups that a destroy makes unreadable: they stay in their store, but their key is destroyed."""

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
    """Return for each region the backups that no remaining key can decrypt once `units` are destroyed.

    Raises:
        MjctlError: the contracts cannot be read, or a store or KMS does not answer.
    """
    if environment.target != "local" and FOUNDATION not in units:
        # On AWS the keys belong to the unit `foundation`, which this destroy keeps.
        return {}
    try:
        deployed = contracts.deployed_contracts(workspace, environment)
    except NotFoundError:
        # No region is deployed, so that no key can be lost.
        return {}
    remaining = {name: contract for name, contract in deployed.items() if name not in units}
    location = environment.backup.store
    destroyed = {
        name: contract
        for name, contract in deployed.items()
        if name in units
        and (location is not None or contract.backup.directory is not None or contract.backup.bucket is not None)
    }
    return asyncio.run(unreadable_without(destroyed, remaining, location))
