"""Lists the backups that a destroy makes unreadable: the backups stay in their store, but their key is destroyed."""

from __future__ import annotations

from collections.abc import Sequence

from mjctl import event_loop
from mjctl.backup.operations import unreadable_without
from mjctl.models.backup import BackupEntry
from mjctl.models.environment import FOUNDATION, Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.workspace import Workspace
from mjctl.terraform import contracts


def lost_with(workspace: Workspace, environment: Environment, units: Sequence[str]) -> dict[str, list[BackupEntry]]:
    """Return, by region, the backups that no remaining key can decrypt after the destroy of `units`.

    Raises:
        MjctlError: the regions' contracts cannot be read, or an object store or KMS does not answer.
    """
    if environment.target != "local" and FOUNDATION not in units:
        # The destroy makes no backup unreadable: on AWS the backups' keys belong to the unit `foundation`, which is not
        # among the units to destroy.
        return {}
    try:
        deployed = contracts.deployed_contracts(workspace, environment)
    except NotFoundError:
        # mjctl finds backups only by the contracts of deployed regions, and no region is deployed.
        return {}
    remaining = {name: contract for name, contract in deployed.items() if name not in units}
    location = environment.backup.store
    destroyed = {
        name: contract
        for name, contract in deployed.items()
        if name in units
        and (location is not None or contract.backup.directory is not None or contract.backup.bucket is not None)
    }
    return event_loop.run(unreadable_without(destroyed, remaining, location))
