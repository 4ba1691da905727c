"""DynamoDB tables as records: one MessagePack map an item, spelled in one way only.

A scan is not a snapshot: each item is read consistently, the table as a whole over the time that the scan takes. Where
one moment matters, AWS's own point-in-time recovery has it (`--kind managed`).
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

# Scans and writes of one table at the same time; the region's thread pool holds 16.
_SEGMENTS = 4
_WRITERS = 8
_BATCH_WRITE_LIMIT = 25
_MOST_ATTEMPTS = 10
_SETS = frozenset({"SS", "NS", "BS"})
_ACTIVE_SECONDS, _LONGEST_PAUSE_SECONDS = 120.0, 10.0

Item = dict[str, Any]


def encode_item(item: Mapping[str, Any]) -> bytes:
    """An item as boto3's client gives it. Sets and names are sorted, so that equal items are equal bytes."""
    return msgspec.msgpack.encode(_sorted_sets(item), order="sorted")


def encode_items(items: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [encode_item(item) for item in items]


def decode_item(record: bytes) -> Item:
    item: Item = msgspec.msgpack.decode(record)
    return item


def expires_at_ms(item: Mapping[str, Any], schema: Mapping[str, Any]) -> int | None:
    """When DynamoDB may remove the item; None for one that stays."""
    value = item.get(schema["ttl_attribute"] or "", {}).get("N")
    return None if value is None else int(float(value) * 1000)


def key_of(item: Mapping[str, Any], schema: Mapping[str, Any]) -> Item:
    return {column["AttributeName"]: item[column["AttributeName"]] for column in schema["key_schema"]}


async def describe(clients: RegionClients, table: str) -> dict[str, Any]:
    """What makes a table like this one: keys, attributes, indexes and the attribute that ends items."""
    found = (await clients.call("dynamodb", "describe_table", TableName=table))["Table"]
    ttl = await clients.call("dynamodb", "describe_time_to_live", TableName=table)
    return {
        "key_schema": found["KeySchema"],
        "attributes": found["AttributeDefinitions"],
        "global_indexes": [
            {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
            for index in found.get("GlobalSecondaryIndexes", ())
        ],
        "ttl_attribute": ttl["TimeToLiveDescription"].get("AttributeName"),
    }


async def count(clients: RegionClients, table: str) -> int | None:
    """Items in the table, counted (DescribeTable's figure is hours old); None where there is no table."""
    try:
        totals = await first_error([_count_segment(clients, table, segment) for segment in _segments(clients)])
    except NotFoundError:
        return None
    return sum(totals)


async def sample(clients: RegionClients, table: str, size: int) -> list[Item]:
    """Up to `size` items from all over the table, read without reading the whole table.

    A parallel scan cuts the table into segments by the hash of the partition key, so a few items of many segments are
    spread over it: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.ParallelScan
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
    found = [item for page in pages for item in page]
    return random.sample(found, min(size, len(found)))


async def same_as(clients: RegionClients, table: str, schema: Mapping[str, Any], items: Sequence[Item]) -> int:
    """How many of these items `table` holds with the same content, by the SHA-256 of their one spelling."""

    async def same(item: Item) -> bool:
        answer = await clients.call(
            "dynamodb", "get_item", TableName=table, Key=key_of(item, schema), ConsistentRead=True
        )
        return "Item" in answer and _hash(answer["Item"]) == _hash(item)

    return sum(await first_error([same(item) for item in items]))


def _hash(item: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(encode_item(item)).digest()


def scan(clients: RegionClients, table: str, **narrowed: Any) -> AsyncGenerator[list[Item], None]:
    """Every item, a page at a time, read consistently over several segments at once."""

    async def read(emit: Callable[[list[Item]], Awaitable[None]]) -> None:
        async def one(segment: int) -> None:
            async for answer in _pages(clients, table, segment, **narrowed):
                await emit(answer["Items"])

        await first_error([one(segment) for segment in _segments(clients)])

    return stream(read)


async def put(clients: RegionClients, table: str, items: Iterable[Item]) -> None:
    """Write items, replacing those with the same keys, 25 a request and several requests at once.

    Raises:
        UnreachableError: DynamoDB throttles for longer than a minute.
    """
    await _write(clients, table, [{"PutRequest": {"Item": item}} for item in items])


async def delete(clients: RegionClients, table: str, keys: Iterable[Item]) -> None:
    await _write(clients, table, [{"DeleteRequest": {"Key": key}} for key in keys])


async def create(clients: RegionClients, table: str, schema: Mapping[str, Any]) -> None:
    """Make an empty table after `schema`, without expiry, and wait until it takes writes.

    Raises:
        ConflictError: there is a table of this name.
    """
    if await exists(clients, table):
        raise ConflictError(
            "a table of this name is there already",
            where=table,
            hint="choose another name, or remove that copy: `mjctl backup discard NAME`",
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
    """Raises UnreachableError when the table is not ready by then."""
    started, pause = time.monotonic(), 0.2
    while await _status(clients, table) != "ACTIVE":
        if time.monotonic() - started > timeout_seconds:
            raise UnreachableError(f"the table was not ready after {timeout_seconds:g} s", where=table)
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)


async def set_expiry(clients: RegionClients, table: str, schema: Mapping[str, Any]) -> None:
    """Let DynamoDB remove what has expired; only after a comparison, or it removes items meanwhile."""
    if schema["ttl_attribute"]:
        await clients.call(
            "dynamodb",
            "update_time_to_live",
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": schema["ttl_attribute"]},
        )


async def exists(clients: RegionClients, table: str) -> bool:
    try:
        await _status(clients, table)
    except NotFoundError:
        return False
    return True


async def names(clients: RegionClients, prefix: str) -> list[str]:
    """Tables whose name begins with `prefix`."""
    answer = await clients.call_all("dynamodb", "list_tables")
    return [name for name in answer["TableNames"] if name.startswith(prefix)]


async def drop(clients: RegionClients, table: str) -> None:
    """Remove the table; one that is gone already is no error."""
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
        "DynamoDB throttles the writes", where=table, hint="repeat the command later: what is written stays written"
    )


def _sorted_sets(value: Any) -> Any:
    """Attribute values with their sets in order. Only the outermost maps are attribute names, the rest types."""
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
