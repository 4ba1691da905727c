"""Moving the writer of the Aurora global database to another region.

A switchover waits until the target has every row and loses none; it needs the writing region. A failover with data loss
takes the target as it stands, for a region that is gone. AWS goes on with either by itself once it was asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.clients.metrics import Metric, newest
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, NotFoundError, UnreachableError, VerificationError

_POLL_SECONDS = 5.0
_MOVE_SECONDS = 1_800.0
_SILENT_POLLS = 12
_IN_SYNC = "connected"
_WORKING = "available"
# AWS refuses because of how things stand, not because it cannot be reached.
_REFUSED_CODES = ("InvalidGlobalClusterStateFault", "InvalidDBClusterStateFault", "InvalidParameterCombination")


@dataclass(frozen=True)
class Copy:
    """A region's cluster of the global database. `lag_ms`: how far behind the writer, None: CloudWatch does not say."""

    region: str
    arn: str
    writes: bool
    in_sync: bool
    lag_ms: float | None = None


@dataclass(frozen=True)
class GlobalDatabase:
    """`moving_to`: the region that AWS is making the writer at this moment."""

    name: str
    status: str
    copies: tuple[Copy, ...]
    moving_to: str | None = None

    @property
    def writer(self) -> str | None:
        return next((copy.region for copy in self.copies if copy.writes), None)

    def copy_in(self, region: str) -> Copy | None:
        return next((copy for copy in self.copies if copy.region == region), None)


def parse(answer: Mapping[str, Any]) -> GlobalDatabase:
    """Read one cluster of an answer of DescribeGlobalClusters."""
    copies = tuple(
        Copy(
            _region(item["DBClusterArn"]),
            item["DBClusterArn"],
            bool(item["IsWriter"]),
            item.get("SynchronizationStatus", _IN_SYNC) == _IN_SYNC,
        )
        for item in answer.get("GlobalClusterMembers", ())
    )
    target = (answer.get("FailoverState") or {}).get("ToDbClusterArn")
    return GlobalDatabase(
        answer["GlobalClusterIdentifier"], answer.get("Status", ""), copies, _region(target) if target else None
    )


async def read_database(asked: Contract) -> GlobalDatabase | None:
    """Read the global database as the region `asked` knows it, without lags.

    Returns:
        None if the database has one region only.

    Raises:
        UnreachableError, PermissionDeniedError, NotFoundError: by what RDS answered.
    """
    name = asked.managed.database_global_cluster if asked.managed else None
    if name is None:
        return None
    with RegionClients(asked) as clients:
        return await _read(clients, name)


async def with_lags(database: GlobalDatabase, contracts: Mapping[str, Contract]) -> GlobalDatabase:
    """The same with the newest lag of every copy in one of `contracts`; a region that cannot say has none."""

    async def lag(copy: Copy) -> Copy:
        contract = contracts.get(copy.region)
        if copy.writes or contract is None:
            return copy
        dimensions = {"DBClusterIdentifier": copy.arn.rsplit(":", 1)[-1]}
        with RegionClients(contract) as clients:
            try:
                found = await newest(clients, {"lag": Metric("AWS/RDS", "AuroraGlobalDBReplicationLag", dimensions)})
            except UnreachableError:
                return copy
        return Copy(copy.region, copy.arn, copy.writes, copy.in_sync, found.get("lag"))

    copies = await asyncio.gather(*map(lag, database.copies))
    return GlobalDatabase(database.name, database.status, tuple(copies), database.moving_to)


def choose(database: GlobalDatabase, fit: Collection[str], to_region: str | None = None) -> Copy:
    """The copy that is to write: that of `to_region`, else the one least behind; one without a figure comes last.

    Raises:
        NotFoundError: `to_region` has no copy.
        ConflictError: it is not among the `fit` regions or not in step, or no region is.
    """
    where = f"global cluster {database.name}"
    ready = [copy for copy in database.copies if copy.region in fit and copy.in_sync and not copy.writes]
    if to_region is None:
        if not ready:
            raise ConflictError(
                "no fit region has a copy of the database that is in step, so the writer cannot move",
                where=where,
                hint="`mjctl health --only database-regions` shows every copy",
            )
        return min(ready, key=lambda copy: (copy.lag_ms is None, copy.lag_ms or 0.0, copy.region))
    if database.copy_in(to_region) is None:
        known = ", ".join(copy.region for copy in database.copies)
        raise NotFoundError(f"{to_region} has no copy of the database", where=where, hint=f"regions: {known}")
    for copy in ready:
        if copy.region == to_region:
            return copy
    raise ConflictError(
        f"{to_region} cannot take the writer: it is not fit, already writes, or its copy is not in step",
        where=where,
        hint=f"`mjctl health --region {to_region}` shows what is wrong there; without --to-region the best is taken",
    )


async def move(
    target: Contract, database: GlobalDatabase, copy: Copy, *, lossy: bool, say: Callable[[str], None]
) -> GlobalDatabase:
    """Have `copy`, in the region of `target`, write, and wait until it does; one already under way is waited for.

    Raises:
        ConflictError: AWS refuses as things stand, or moves the writer elsewhere already.
        VerificationError: it was asked for, and half an hour later the target does not write.
        UnreachableError, PermissionDeniedError: by what RDS answered.
    """
    if database.moving_to not in (None, copy.region):
        raise ConflictError(
            f"AWS is moving the writer to {database.moving_to} at this moment",
            where=f"global cluster {database.name}",
            hint="repeat the command when that is done; `mjctl health --only database-regions` shows it",
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
            # The writing region may not answer any more: the target's own API is asked.
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
            hint="`mjctl health --only 'database*'` shows the state of every copy",
        ) from error


async def _written_there(
    clients: RegionClients, target: Contract, name: str, copy: Copy, say: Callable[[str], None]
) -> GlobalDatabase:
    deadline = time.monotonic() + _MOVE_SECONDS
    told, silent = "", 0
    while True:
        try:
            now, status = await _read_status(clients, name, copy)
            silent = 0
            if now.writer == copy.region and now.moving_to is None and now.status == status == _WORKING:
                return now
            state = f"{name} is {now.status}, its writer in {now.writer or 'no region'}; {copy.region} is {status}"
        except UnreachableError as error:
            silent += 1
            if silent == _SILENT_POLLS:
                raise
            state = str(error)
        if state != told:
            say(state)
            told = state
        if time.monotonic() >= deadline:
            raise VerificationError(
                f"the writer is not in {copy.region} after {_MOVE_SECONDS / 60:.0f} minutes: {state}",
                where=f"global cluster {name}",
                hint=progress_hint(target, name),
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _read_status(clients: RegionClients, name: str, copy: Copy) -> tuple[GlobalDatabase, str]:
    """The global database, and the status of the copy's own cluster."""
    database, answer = await asyncio.gather(
        _read(clients, name),
        clients.call_all("rds", "describe_db_clusters", DBClusterIdentifier=copy.arn.rsplit(":", 1)[-1]),
    )
    return database, answer["DBClusters"][0]["Status"]


def progress_hint(contract: Contract, name: str) -> str:
    """How a person sees where a move that AWS goes on with has got to."""
    return (
        f"`aws rds describe-global-clusters --global-cluster-identifier {name} --region {contract.region}` shows it; "
        "the same command again waits for it and does the rest"
    )


async def _read(clients: RegionClients, name: str) -> GlobalDatabase:
    answer = await clients.call_all("rds", "describe_global_clusters", GlobalClusterIdentifier=name)
    return parse(answer["GlobalClusters"][0])


def _region(arn: str) -> str:
    return arn.split(":")[3]
