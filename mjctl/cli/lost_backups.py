"""What `mjctl destroy` says about backups: they stay, and without their key nothing opens them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mjctl.cli.deploy_run import Run
from mjctl.cli.output.tables import counted
from mjctl.models.environment import FOUNDATION
from mjctl.models.errors import MjctlError, NotFoundError


def warn_of_lost_backups(run: Run, going: Sequence[str]) -> None:
    """List the portable backups that the destroy makes unreadable, on stderr, before the question.

    The destroy goes on if they cannot be listed; then that is said.
    """
    from mjctl.backup.operations import unreadable_without
    from mjctl.terraform.contracts import deployed_contracts

    environment = run.environment
    if environment.target != "local" and FOUNDATION not in going:
        return  # On AWS the keys belong to the stack `foundation`, which stays.
    say = run.session.err.print
    try:
        contracts = deployed_contracts(run.workspace, environment)
    except NotFoundError:
        return  # Without a region there is no key to lose.
    except MjctlError as error:
        say(f"cannot tell which backups become unreadable: {error}")
        return
    leaving = {name: contract for name, contract in contracts.items() if name in going}
    staying = {name: contract for name, contract in contracts.items() if name not in going}
    if environment.backup.store is None:
        leaving = {
            name: contract
            for name, contract in leaving.items()
            if contract.backup.directory is not None or contract.backup.bucket is not None
        }
    try:
        lost = asyncio.run(unreadable_without(leaving, staying, environment.backup.store))
    except MjctlError as error:
        say(f"cannot tell which backups become unreadable: {error}")
        return
    for region, entries in lost.items():
        say(f"{region}: its key goes too, so {counted(len(entries), 'backup')} can never be opened again:")
        for entry in entries:
            say(f"  {entry.backup_id}")
    if lost:
        say("`mjctl backup create --copy-to REGION` makes one that the key of another region opens too")
