"""Reads the state of the Aurora global database: the region of the writer, and the copies in the other regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

_IN_SYNC = "connected"


@dataclass(frozen=True)
class Copy:
    """Describes the cluster of one region in the global database.

    Attributes:
        region: The name of the region.
        arn: The ARN of the cluster.
        writes: True if the cluster is the writer.
        in_sync: True if the cluster receives the changes of the writer.
        lag_ms: The lag of the cluster behind the writer in milliseconds. None if the lag was not read, or if
            CloudWatch has no value.
    """

    region: str
    arn: str
    writes: bool
    in_sync: bool
    lag_ms: float | None = None


@dataclass(frozen=True)
class GlobalDatabase:
    """Describes the Aurora global database.

    Attributes:
        name: The identifier of the global cluster.
        status: The status that RDS reports, e.g. `available`.
        copies: The clusters of all regions of the database, including the writer.
        moving_to: The region to which AWS is moving the writer now, or None if AWS is not moving the writer.
    """

    name: str
    status: str
    copies: tuple[Copy, ...]
    moving_to: str | None = None

    @property
    def writer(self) -> str | None:
        """Return the region of the writer, or None while no cluster is the writer."""
        return next((copy.region for copy in self.copies if copy.writes), None)

    def copy_in(self, region: str) -> Copy | None:
        """Return the cluster of `region`, or None if that region has no copy of the database."""
        return next((copy for copy in self.copies if copy.region == region), None)


def parse(answer: Mapping[str, Any]) -> GlobalDatabase:
    """Parse a global cluster from the answer of DescribeGlobalClusters. The lags of the copies are None."""
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


async def read_database(contract: Contract) -> GlobalDatabase | None:
    """Read the global database from the RDS API in the region of `contract`. The lags of the copies are None.

    Returns:
        The global database, or None if the database exists in one region only.

    Raises:
        UnreachableError: RDS does not answer, or refuses the request.
        PermissionDeniedError: The credentials may not read the database.
        NotFoundError: RDS does not know the global cluster.
    """
    name = contract.managed.database_global_cluster if contract.managed else None
    if name is None:
        return None
    with RegionClients(contract) as clients:
        return await read(clients, name)


async def read_from_any(contracts: Iterable[Contract]) -> GlobalDatabase | None:
    """Read the global database from the first region that answers, because a lost region does not answer.

    Args:
        contracts: The contracts of one region or more.

    Returns:
        The global database, or None if the database exists in one region only.

    Raises:
        UnreachableError: RDS answers in no region.
        PermissionDeniedError: The credentials may not read the database.
        NotFoundError: RDS does not know the global cluster.
    """
    lost: UnreachableError | None = None
    for contract in contracts:
        try:
            return await read_database(contract)
        except UnreachableError as error:
            lost = error
    if lost is None:
        raise ValueError("at least one region must be deployed")
    raise lost


async def read(clients: RegionClients, name: str) -> GlobalDatabase:
    """Read the global database `name`. The lags of the copies are None.

    Raises:
        UnreachableError: RDS does not answer, or refuses the request.
        PermissionDeniedError: The credentials may not read the database.
        NotFoundError: RDS does not know the global cluster.
    """
    answer = await clients.call_all("rds", "describe_global_clusters", GlobalClusterIdentifier=name)
    return parse(answer["GlobalClusters"][0])


def _region(arn: str) -> str:
    return arn.split(":")[3]
