"""Counts calls in the table `rate_limits` of DynamoDB, so that all processes of the game limit a caller together."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from gameserver.persistence.tables import TablesUnavailable
from gameserver.runtime.aws import AwsClients, error_code

_CONDITION_FAILED = "ConditionalCheckFailedException"
# A rate limit is not worth a long wait of a player: without an answer after these seconds, the process counts alone.
_ANSWER_SECONDS = 1.0
# After DynamoDB has not answered, the process counts alone for some seconds, so that not every call waits in vain.
_PAUSE_SECONDS = 5.0
# DynamoDB may delete an item when its bucket has been full for a minute.
_KEPT_SECONDS = 60


class CallCounts:
    """Keeps a token bucket for each caller of each limit, in an item of the table `rate_limits`.

    An item has one number, `full_at_ms`: the Unix time at which the bucket is full again. A call moves this time by the
    time of one token. A bucket refuses a call that would move `full_at_ms` further into the future than the time of
    `burst` tokens.

    The table is a global table: each region changes its own copy of an item, and the last writer of an item wins. A
    caller who uses two regions within about a second therefore gets some calls more.

    Args:
        table: name of the table.
        aws: clients of AWS, which only this object uses. The timeouts of the clients should be short.
        clock: function that returns the Unix time in seconds.
    """

    def __init__(self, table: str, aws: AwsClients, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._aws = aws
        self._clock = clock
        self._paused_until = 0.0

    async def take(self, limit: str, key: str, *, per_second: float, burst: int) -> float:
        """Count a call.

        Args:
            limit: name of the limit.
            key: key of the caller. The table contains only a hash of the key.
            per_second: average number of calls in a second.
            burst: number of calls at once after a pause.

        Returns:
            0 if the limit allows the call, else the seconds after which the limit allows the next call.

        Raises:
            TablesUnavailable: DynamoDB does not answer, or has not answered some seconds before.
        """
        if self._clock() < self._paused_until:
            raise TablesUnavailable(f"DynamoDB has not answered within the last {_PAUSE_SECONDS:.0f} s")
        try:
            return await self._aws.run(lambda: self._take(caller_key(limit, key), per_second, burst))
        except TablesUnavailable:
            self._paused_until = self._clock() + _PAUSE_SECONDS
            raise

    def close(self) -> None:
        """Close the clients."""
        self._aws.close()

    def _take(self, caller: str, per_second: float, burst: int) -> float:
        now = round(1000 * self._clock())
        token_ms = max(1, round(1000 / per_second))
        limit = now + token_ms * (burst - 1)
        expires = math.ceil((limit + token_ms) / 1000) + _KEPT_SECONDS
        # Most callers have a full bucket, so one conditional update counts most calls.
        full_at = self._update(
            caller,
            "SET full_at_ms = :next, expires_at = :expires",
            "attribute_not_exists(full_at_ms) OR full_at_ms <= :now",
            {":next": now + token_ms, ":now": now, ":expires": expires},
        )
        if full_at is not None and full_at <= limit:
            # DynamoDB itself adds the time of the token, so that no concurrent call is lost.
            full_at = self._update(
                caller,
                "SET full_at_ms = full_at_ms + :token, expires_at = :expires",
                "full_at_ms <= :limit",
                {":token": token_ms, ":limit": limit, ":expires": expires},
            )
        return 0.0 if full_at is None else (full_at - limit) / 1000

    def _update(self, caller: str, update: str, condition: str, values: Mapping[str, int]) -> int | None:
        """Change the bucket of a caller. Return None, or `full_at_ms` of the bucket that the condition refused."""
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

        request: Any = {
            "TableName": self._table,
            "Key": {"caller": {"S": caller}},
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": {name: {"N": str(value)} for name, value in values.items()},
            # The answer to a refused update has the item, so that no second call must read it:
            # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            try:
                self._aws.dynamodb.update_item(**request)
            except ConnectionClosedError:
                # DynamoDB closes an idle connection while Lambda freezes the process. The second attempt opens a new
                # connection. If DynamoDB has counted the first attempt, the call counts twice.
                self._aws.dynamodb.update_item(**request)
        except ClientError as error:
            item: dict[str, Any] = dict(error.response).get("Item") or {}  # type: ignore[assignment]
            if error_code(error) != _CONDITION_FAILED or "full_at_ms" not in item:
                raise TablesUnavailable(f"DynamoDB update_item: {error_code(error)}") from error
            return int(item["full_at_ms"]["N"])
        except BotoCoreError as error:
            raise TablesUnavailable(f"DynamoDB update_item: {type(error).__name__}") from error
        return None


def open_call_counts(table: str, region: str, endpoint_url: str | None) -> CallCounts:
    """Return the counts in a table, with clients whose calls end after about a second."""
    aws = AwsClients(
        region,
        endpoint_url,
        threads=8,
        connect_timeout_seconds=_ANSWER_SECONDS,
        read_timeout_seconds=_ANSWER_SECONDS,
        attempts=1,
    )
    return CallCounts(table, aws)


def caller_key(limit: str, key: str) -> str:
    """Return the key of an item of the table `rate_limits`.

    A hash keeps e-mail addresses and network addresses out of the table.
    """
    return f"{limit}#{hashlib.sha256(key.encode()).hexdigest()[:32]}"
