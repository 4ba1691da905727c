"""Gives each owner of a match an epoch: a number that DynamoDB counts, and that grows with each change of the owner.

The epoch of an owner is its fencing token, and a part of the ids of its events. A failover of Redis can lose the newest
fencing tokens, so only a durable store can make sure that no two owners of a match have one token.

The attribute `owner_epoch` of a match's item is the epoch of the newest owner. The item exists before a match is
played, because the API writes the item before it tells Redis about the match.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.settings import Settings

_ATTEMPTS: Final = 2


class EpochUnavailable(Exception):
    """Reports that DynamoDB does not answer, or refuses the call, so that this server cannot own the match now."""


class UnknownMatch(Exception):
    """Reports that DynamoDB has no item of the match."""


class Epochs:
    """Counts the owners of the matches of one region.

    Args:
        aws: makes the client of DynamoDB. `close` closes it.
        table: name of the table of matches.
    """

    def __init__(self, aws: AwsClients, table: str) -> None:
        self._aws = aws
        self._table = table

    @classmethod
    def of(cls, settings: Settings) -> Epochs | None:
        """Return the epochs of the region, or None if the settings name no table of matches.

        Players wait for a take-over, so a call fails sooner than other calls to AWS. The calls have separate
        threads, so that a DynamoDB that does not answer holds no event back from SNS.
        """
        table = settings.tables.get("matches")
        if table is None:
            return None
        return cls(
            AwsClients(
                settings.region,
                settings.aws_endpoint_url,
                threads=8,
                connect_timeout_seconds=1.0,
                read_timeout_seconds=1.5,
                attempts=2,
            ),
            table,
        )

    async def prepare(self) -> None:
        """Make the client of DynamoDB, which takes 0.3 s of CPU, before a player waits for the first epoch."""
        await self._aws.run(lambda: self._aws.dynamodb)

    async def next(self, match_id: str, above: int) -> int:
        """Return a new epoch of a match, which is larger than all earlier epochs of the match.

        Args:
            match_id: id of the match.
            above: newest fencing token in Redis, which the epoch must exceed. Game servers of version 0.1.0 count the
                tokens in Redis only, so Redis can be ahead of DynamoDB during a rolling deploy.

        Raises:
            EpochUnavailable: DynamoDB does not answer.
            UnknownMatch: DynamoDB has no item of the match.
        """
        known = "attribute_exists(match_id) AND "
        for _ in range(_ATTEMPTS):
            count = "SET owner_epoch = if_not_exists(owner_epoch, :above) + :one"
            condition = f"{known}(attribute_not_exists(owner_epoch) OR owner_epoch >= :above)"
            epoch = await self._update(match_id, count, condition, {":above": above, ":one": 1})
            if epoch is None:
                condition = f"{known}owner_epoch < :above"
                values = {":above": above, ":epoch": above + 1}
                epoch = await self._update(match_id, "SET owner_epoch = :epoch", condition, values)
            if epoch is not None:
                return epoch
        raise UnknownMatch(f"the table {self._table} has no item of the match")

    async def confirm(self, match_id: str, epoch: int) -> bool:
        """Return True if `epoch` is the newest epoch of the match, by a write that DynamoDB refuses otherwise.

        Raises:
            EpochUnavailable: DynamoDB does not answer.
        """
        update = "SET owner_epoch = :epoch"
        return await self._update(match_id, update, "owner_epoch = :epoch", {":epoch": epoch}) is not None

    async def give_back(self, match_id: str, epoch: int) -> None:
        """Make the epoch before `epoch` the newest one again, because this server has not become the owner.

        Otherwise the match's owner could not write the match again after a loss of data in Redis. If another server
        has got an epoch since, or DynamoDB does not answer, nothing changes.
        """
        with contextlib.suppress(EpochUnavailable):
            values = {":epoch": epoch, ":before": epoch - 1}
            await self._update(match_id, "SET owner_epoch = :before", "owner_epoch = :epoch", values)

    def close(self) -> None:
        """Cancel calls that have not begun."""
        self._aws.close()

    async def _update(self, match_id: str, update: str, condition: str, values: dict[str, int]) -> int | None:
        """Return the epoch after a conditional update; None if the condition does not hold."""

        def call() -> Any:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                return self._aws.dynamodb.update_item(
                    TableName=self._table,
                    Key={"match_id": {"S": match_id}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={name: {"N": str(value)} for name, value in values.items()},
                    ReturnValues="UPDATED_NEW",
                )
            except (BotoCoreError, ClientError) as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return None
                raise EpochUnavailable(f"DynamoDB: {error_code(error) or type(error).__name__}") from error

        answer = await self._aws.run(call)
        return None if answer is None else int(answer["Attributes"]["owner_epoch"]["N"])
