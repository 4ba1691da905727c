"""Reads and writes DynamoDB tables as records.

A record is a DynamoDB item as a MessagePack map, with sorted attribute names and sorted sets.

A scan is not a snapshot: DynamoDB reads each item consistently, but different items at different moments of the scan.
AWS's point-in-time recovery (`--kind managed`) restores a table as of one moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mjctl.backup.streams import first_error, stream
from mjctl.clients.boto import RegionClients
from mjctl.models.errors import ConflictError, NotFoundError, UnreachableError

# Number of parallel scans (4) and of parallel writes (8) of one table. All tables share the 16 threads of the region's
# AWS clients.
_SEGMENTS = 4
_WRITERS = 8
_BATCH_WRITE_LIMIT = 25
_MOST_ATTEMPTS = 10
_SETS = frozenset({"SS", "NS", "BS"})
_ACTIVE_SECONDS, _LONGEST_PAUSE_SECONDS = 120.0, 10.0

Item = dict[str, Any]


def encode_item(item: Mapping[str, Any]) -> bytes:
    """Encode a DynamoDB item, in the form of boto3's client (`{"name": {"S": "text"}}`), as a record.

    The record has sorted sets and sorted attribute names, so that equal items have equal records.
    """
    return msgspec.msgpack.encode(_sorted_sets(item), order="sorted")


def encode_items(items: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Encode DynamoDB items as records, in the order of `items`."""
    return [encode_item(item) for item in items]


def decode_item(record: bytes) -> Item:
    """Return the DynamoDB item of a record, in the form of boto3's client (`{"name": {"S": "text"}}`)."""
    item: Item = msgspec.msgpack.decode(record)
    return item


def expires_at_ms(item: Mapping[str, Any], schema: Mapping[str, Any]) -> int | None:
    """Return when DynamoDB may remove the item (milliseconds since the epoch), or None if the item does not expire."""
    value = item.get(schema["ttl_attribute"] or "", {}).get("N")
    return None if value is None else int(float(value) * 1000)


def key_of(item: Mapping[str, Any], schema: Mapping[str, Any]) -> Item:
    """Return the attributes of the item that are the table's primary key."""
    return {column["AttributeName"]: item[column["AttributeName"]] for column in schema["key_schema"]}


async def describe(clients: RegionClients, table: str) -> dict[str, Any]:
    """Return the schema of a table, from which `create` can create an equal table.

    Returns:
        `key_schema`, `attributes`, `global_indexes` (in the form of CreateTable) and `ttl_attribute` (the name of the
        attribute that sets the expiry of an item, or None).
    """
    description = (await clients.call("dynamodb", "describe_table", TableName=table))["Table"]
    ttl = await clients.call("dynamodb", "describe_time_to_live", TableName=table)
    return {
        "key_schema": description["KeySchema"],
        "attributes": description["AttributeDefinitions"],
        "global_indexes": [
            {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
            for index in description.get("GlobalSecondaryIndexes", ())
        ],
        "ttl_attribute": ttl["TimeToLiveDescription"].get("AttributeName"),
    }


async def count(clients: RegionClients, table: str) -> int | None:
    """Count the items of the table by a scan, because DescribeTable's item count is up to six hours old.

    Returns:
        The number of items, or None if the table does not exist.
    """
    try:
        totals = await first_error([_count_segment(clients, table, segment) for segment in _segments(clients)])
    except NotFoundError:
        return None
    return sum(totals)


async def sample(clients: RegionClients, table: str, size: int) -> list[Item]:
    """Return up to `size` random items of a table, without reading the whole table.

    A parallel scan divides the table into segments by the hash of the partition key. A few items from each of many
    segments are therefore spread over the whole table:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.ParallelScan
    """
    total = 1 if clients.emulated else size

    async def segment(number: int) -> list[Item]:
        answer = await clients.call(
            "dynamodb",
            "scan",
            TableName=table,
            Limit=max(1, 2 * size // total),
            Segment=number,
            TotalSegments=total,
        )
        items: list[Item] = answer["Items"]
        return items

    pages = await first_error([segment(number) for number in range(total)])
    candidates = [item for page in pages for item in page]
    return random.sample(candidates, min(size, len(candidates)))


async def same_as(clients: RegionClients, table: str, schema: Mapping[str, Any], items: Sequence[Item]) -> int:
    """Return the number of `items` that `table` contains with equal content."""

    async def same(item: Item) -> bool:
        answer = await clients.call(
            "dynamodb", "get_item", TableName=table, Key=key_of(item, schema), ConsistentRead=True
        )
        return "Item" in answer and _hash(answer["Item"]) == _hash(item)

    return sum(await first_error([same(item) for item in items]))


def _hash(item: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(encode_item(item)).digest()


def scan(clients: RegionClients, table: str, **narrowed: Any) -> AsyncGenerator[list[Item], None]:
    """Yield all items of the table, one page at a time.

    Up to four segments of the table are read in parallel, with consistent reads.

    Args:
        narrowed: further arguments of DynamoDB's Scan, for example `ProjectionExpression`.
    """

    async def read(emit: Callable[[list[Item]], Awaitable[None]]) -> None:
        async def read_segment(segment: int) -> None:
            async for answer in _pages(clients, table, segment, **narrowed):
                await emit(answer["Items"])

        await first_error([read_segment(segment) for segment in _segments(clients)])

    return stream(read)


async def put(clients: RegionClients, table: str, items: Iterable[Item]) -> None:
    """Write items and replace existing items with equal keys, by up to 8 parallel requests of 25 items each.

    Raises:
        UnreachableError: DynamoDB still throttled the writes after 10 attempts (about 43 s).
    """
    await _write(clients, table, [{"PutRequest": {"Item": item}} for item in items])


async def delete(clients: RegionClients, table: str, keys: Iterable[Item]) -> None:
    """Delete the items with the primary keys `keys`.

    Raises:
        UnreachableError: DynamoDB still throttled the writes after 10 attempts (about 43 s).
    """
    await _write(clients, table, [{"DeleteRequest": {"Key": key}} for key in keys])


async def create(clients: RegionClients, table: str, schema: Mapping[str, Any]) -> None:
    """Create an empty table with the given schema and without time to live, and wait until the table accepts writes.

    Args:
        schema: the table's schema in the form that `describe` returns.

    Raises:
        ConflictError: the table `table` already exists.
        UnreachableError: the table was not ready after two minutes.
    """
    if await exists(clients, table):
        raise ConflictError(
            f"the table {table} already exists",
            where=table,
            hint="choose another name for the scratch copy, or remove the existing copy: `mjctl backup discard NAME`",
        )
    indexes = {"GlobalSecondaryIndexes": schema["global_indexes"]} if schema["global_indexes"] else {}
    await clients.call(
        "dynamodb",
        "create_table",
        TableName=table,
        KeySchema=schema["key_schema"],
        AttributeDefinitions=schema["attributes"],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "mjctl:scratch", "Value": "true"}],
        **indexes,
    )
    await await_active(clients, table)


async def await_active(clients: RegionClients, table: str, *, timeout_seconds: float = _ACTIVE_SECONDS) -> None:
    """Wait until DynamoDB reports the table as ACTIVE.

    Raises:
        UnreachableError: DynamoDB does not report the table as ACTIVE within `timeout_seconds`.
    """
    started, pause = time.monotonic(), 0.2
    while await _status(clients, table) != "ACTIVE":
        if time.monotonic() - started > timeout_seconds:
            raise UnreachableError(
                f"the table was not ready after {timeout_seconds:g} s",
                where=table,
                hint="DynamoDB is still creating or restoring the table: repeat the command later",
            )
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)


async def set_expiry(clients: RegionClients, table: str, schema: Mapping[str, Any]) -> None:
    """Let DynamoDB remove expired items of the table.

    Call this function for a restored table only after its items were compared with the backup.
    """
    if schema["ttl_attribute"]:
        await clients.call(
            "dynamodb",
            "update_time_to_live",
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": schema["ttl_attribute"]},
        )


async def exists(clients: RegionClients, table: str) -> bool:
    """Return whether the table exists, in any state."""
    try:
        await _status(clients, table)
    except NotFoundError:
        return False
    return True


async def names(clients: RegionClients, prefix: str) -> list[str]:
    """Return the names of the region's DynamoDB tables that begin with `prefix`."""
    answer = await clients.call_all("dynamodb", "list_tables")
    return [name for name in answer["TableNames"] if name.startswith(prefix)]


async def drop(clients: RegionClients, table: str) -> None:
    """Delete the table. It is no error if the table does not exist."""
    try:
        await clients.call("dynamodb", "delete_table", TableName=table)
    except NotFoundError:
        return


async def _status(clients: RegionClients, table: str) -> str:
    return str((await clients.call("dynamodb", "describe_table", TableName=table))["Table"]["TableStatus"])


async def _count_segment(clients: RegionClients, table: str, segment: int) -> int:
    return sum([answer["Count"] async for answer in _pages(clients, table, segment, Select="COUNT")])


def _segments(clients: RegionClients) -> range:
    return range(1 if clients.emulated else _SEGMENTS)


async def _pages(clients: RegionClients, table: str, segment: int, **narrowed: Any) -> AsyncIterator[dict[str, Any]]:
    start: dict[str, Any] = {}
    while True:
        answer = await clients.call(
            "dynamodb",
            "scan",
            TableName=table,
            ConsistentRead=True,
            Segment=segment,
            TotalSegments=len(_segments(clients)),
            **start,
            **narrowed,
        )
        yield answer
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


async def _write(clients: RegionClients, table: str, requests: Sequence[dict[str, Any]]) -> None:
    gate = asyncio.Semaphore(_WRITERS)

    async def batch(start: int) -> None:
        async with gate:
            await _write_batch(clients, table, requests[start : start + _BATCH_WRITE_LIMIT])

    await first_error([batch(start) for start in range(0, len(requests), _BATCH_WRITE_LIMIT)])


async def _write_batch(clients: RegionClients, table: str, requests: Sequence[dict[str, Any]]) -> None:
    pending: dict[str, Any] = {table: list(requests)}
    for attempt in range(_MOST_ATTEMPTS):
        answer = await clients.call("dynamodb", "batch_write_item", RequestItems=pending)
        pending = answer.get("UnprocessedItems") or {}
        if not pending:
            return
        await asyncio.sleep(min(10.0, 0.1 * 2**attempt))
    raise UnreachableError(
        "DynamoDB throttles the writes",
        where=table,
        hint="repeat the same command later. The items that mjctl has already written stay in the table",
    )


def _sorted_sets(value: Any) -> Any:
    """Return a DynamoDB item, or the value of a map attribute, with all sets sorted."""
    if not isinstance(value, Mapping):
        return value
    return {name: _attribute(attribute) for name, attribute in value.items()}


def _attribute(attribute: Mapping[str, Any]) -> Mapping[str, Any]:
    ((kind, value),) = attribute.items()
    if kind == "M":
        return {kind: _sorted_sets(value)}
    if kind == "L":
        return {kind: [_attribute(entry) for entry in value]}
    return {kind: sorted(value)} if kind in _SETS else attribute
