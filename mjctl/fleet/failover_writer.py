"""Moves the writer of the Aurora global database to another region.

A switchover waits until the new writer has every row and loses no data, but the region of the old writer must answer. A
failover is for a lost region: the new writer starts with the rows that it has, and the newest rows may be lost. AWS
completes a requested switchover or failover even if mjctl is stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from mjctl.clients.boto import RegionClients
from mjctl.clients.global_database import Copy, GlobalDatabase, read
from mjctl.clients.metrics import region_lag
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, NotFoundError, UnreachableError, VerificationError

_POLL_SECONDS = 5.0
_MOVE_SECONDS = 1_800.0
_SILENT_POLLS = 12
_WORKING = "available"
# With these error codes AWS refuses to move the writer because of the state of a cluster.
_REFUSED_CODES = ("InvalidGlobalClusterStateFault", "InvalidDBClusterStateFault", "InvalidParameterCombination")


async def with_lags(database: GlobalDatabase, contracts: Mapping[str, Contract]) -> GlobalDatabase:
    """Return `database` with the newest lag of every copy whose region is in `contracts`.

    The lag of a copy stays None if CloudWatch does not answer in the region of the copy.
    """

    async def lag(copy: Copy) -> Copy:
        contract = contracts.get(copy.region)
        if copy.writes or contract is None:
            return copy
        with RegionClients(contract) as clients:
            try:
                milliseconds = await region_lag(clients, copy.arn.rsplit(":", 1)[-1], writer)
            except UnreachableError:
                return copy
        return Copy(copy.region, copy.arn, copy.writes, copy.in_sync, milliseconds)

    writer = next((copy.region for copy in database.copies if copy.writes), "")
    copies = await asyncio.gather(*map(lag, database.copies))
    return GlobalDatabase(database.name, database.status, tuple(copies), database.moving_to)


def choose(database: GlobalDatabase, fit: Collection[str], to_region: str | None = None) -> Copy:
    """Choose the copy of the database that becomes the writer.

    Args:
        database: The global database, with the lag of each copy.
        fit: The regions that can take players.
        to_region: The region that the operator has chosen, or None to choose the copy with the smallest known lag. A
            copy with an unknown lag is chosen only if no lag is known.

    Raises:
        NotFoundError: `to_region` has no copy of the database.
        ConflictError: The copy in `to_region` cannot become the writer, or without `to_region` no copy can become the
            writer.
    """
    where = f"global cluster {database.name}"
    ready = [copy for copy in database.copies if copy.region in fit and copy.in_sync and not copy.writes]
    if to_region is None:
        if not ready:
            raise ConflictError(
                "the writer cannot move: no region that can take players has a copy of the database that is in sync",
                where=where,
                hint="`mjctl health --env ENV --only database-regions` shows the state of every copy",
            )
        return min(ready, key=lambda copy: (copy.lag_ms is None, copy.lag_ms or 0.0, copy.region))
    if database.copy_in(to_region) is None:
        known = ", ".join(copy.region for copy in database.copies)
        raise NotFoundError(
            f"{to_region} has no copy of the database", where=where, hint=f"regions with a copy: {known}"
        )
    for copy in ready:
        if copy.region == to_region:
            return copy
    raise ConflictError(
        f"the writer cannot move to {to_region}: the region cannot take players, it has the writer already, or its "
        "copy is not in sync",
        where=where,
        hint=f"`mjctl health --env ENV --region {to_region}` shows the problem of the region; without --to-region "
        "mjctl chooses the copy with the smallest lag",
    )


async def move(
    target: Contract, database: GlobalDatabase, copy: Copy, *, lossy: bool, say: Callable[[str], None]
) -> GlobalDatabase:
    """Make `copy` the writer of the database and wait until the move of the writer is complete.

    If AWS is already moving the writer to `copy`, this function only waits.

    Args:
        target: The contract of the region of `copy`.
        database: The global database.
        copy: The copy that becomes the writer.
        lossy: True for a failover, which may lose the newest rows, and False for a switchover.
        say: Receives lines for the operator.

    Raises:
        ConflictError: AWS is moving the writer to another region, or refuses the move because of a cluster's state.
        VerificationError: AWS has accepted the move, and the move is not complete after 30 minutes.
        UnreachableError: RDS does not answer, or refuses a request.
        PermissionDeniedError: The credentials may not move the writer.
    """
    if database.moving_to not in (None, copy.region):
        raise ConflictError(
            f"AWS is already moving the writer to {database.moving_to}",
            where=f"global cluster {database.name}",
            hint="repeat the command after the move; `mjctl health --env ENV --only database-regions` shows "
            "the state of the move",
        )
    with RegionClients(target) as clients:
        if database.moving_to is None:
            await _ask(clients, database, copy, lossy=lossy)
            say(f"asked AWS to make {copy.region} the writer of {database.name}")
        return await _written_there(clients, target, database.name, copy, say)


async def _ask(clients: RegionClients, database: GlobalDatabase, copy: Copy, *, lossy: bool) -> None:
    named = {"GlobalClusterIdentifier": database.name, "TargetDbClusterIdentifier": copy.arn}
    try:
        if lossy:
            # Send the request to the region that gets the writer, because the region that loses the writer may not
            # answer any more.
            await clients.call("rds", "failover_global_cluster", AllowDataLoss=True, **named)
        else:
            region = database.writer or copy.region
            await clients.call_in(region, "rds", "switchover_global_cluster", **named)
    except UnreachableError as error:
        response = getattr(error.__cause__, "response", {})
        if response.get("Error", {}).get("Code") not in _REFUSED_CODES:
            raise
        raise ConflictError(
            f"AWS refuses to move the writer to {copy.region}: {response['Error'].get('Message')}",
            where=f"global cluster {database.name}",
            hint="`mjctl health --env ENV --only 'database*'` shows the state of every copy",
        ) from error


async def _written_there(
    clients: RegionClients, target: Contract, name: str, copy: Copy, say: Callable[[str], None]
) -> GlobalDatabase:
    deadline = time.monotonic() + _MOVE_SECONDS
    last_state, silent = "", 0
    while True:
        try:
            now, status = await _read_status(clients, name, copy)
            silent = 0
            if now.writer == copy.region and now.moving_to is None and now.status == status == _WORKING:
                return now
            state = (
                f"the global cluster {name} is {now.status}, its writer is in {now.writer or 'no region'}; "
                f"the cluster in {copy.region} is {status}"
            )
        except UnreachableError as error:
            silent += 1
            if silent == _SILENT_POLLS:
                raise
            state = str(error)
        if state != last_state:
            say(state)
            last_state = state
        if time.monotonic() >= deadline:
            raise VerificationError(
                f"the move of the writer to {copy.region} is not complete after {_MOVE_SECONDS / 60:.0f} minutes: "
                f"{state}",
                where=f"global cluster {name}",
                hint=progress_hint(target, name),
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _read_status(clients: RegionClients, name: str, copy: Copy) -> tuple[GlobalDatabase, str]:
    """Read the global database, and the status of the cluster that `copy` describes."""
    database, answer = await asyncio.gather(
        read(clients, name),
        clients.call_all("rds", "describe_db_clusters", DBClusterIdentifier=copy.arn.rsplit(":", 1)[-1]),
    )
    return database, answer["DBClusters"][0]["Status"]


def progress_hint(contract: Contract, name: str) -> str:
    """Return a hint with the command that shows the progress of a move of the writer that AWS has accepted."""
    return (
        f"`aws rds describe-global-clusters --global-cluster-identifier {name} --region {contract.region}` shows the "
        "progress of the move; repeat the command to wait for the move and to do the remaining steps"
    )
