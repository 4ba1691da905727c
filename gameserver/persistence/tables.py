"""Stores matches and players in DynamoDB. The state of a match only advances: `starting`, `running`, `ended`.

An item of the table `matches` has these attributes:

* match_id, state, mode, seats, rules, region, and created_by, the id of the player who created the match
* created_at, started_at and ended_at, the times of the match in Unix milliseconds
* expires_at, in Unix seconds: DynamoDB deletes the item after this time. The end of a match of players removes
  expires_at, so that the item is kept
* result, a map with the reason of the end and the results of the players
* result_epoch, the epoch of the owner that recorded the result, or 0 for a game server of version 0.1.0
* owner_epoch, the epoch of the newest owner, which `gameserver.cluster.epochs` counts

An item of the table `players` has player_id, display_name and the contact fields email, device_id and address. The
contact fields are stored encrypted, as binary values.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gameserver.events import MatchEnded, StoredEvent
from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.crypto import Sealed
from gameserver.runtime.settings import Settings, SettingsError

# DynamoDB deletes a match an hour after its creation if no player has joined it. The expiry of a running match after a
# week is only a safeguard, because a game server always ends the match.
_NEVER_STARTED_SECONDS = 3600
_RUNNING_SECONDS = 7 * 86400
# DynamoDB deletes a match of probe or load-test accounts a day after its end.
_INTERNAL_SECONDS = 86400
# DynamoDB keeps the id of an applied event for 30 days, longer than the queue and its dead-letter queue can delay the
# event.
_EVENT_MEMORY_SECONDS = 30 * 86400
_BATCH_GET_LIMIT = 100

CONTACT_FIELDS = ("email", "device_id", "address")
"""Attributes of a player that are stored encrypted."""

_CONDITION_FAILED = "ConditionalCheckFailed"


class TablesUnavailable(Exception):
    """Reports that DynamoDB does not answer, or refuses the call."""


class MatchExists(Exception):
    """Reports that a match with this id already exists."""


@dataclass(frozen=True)
class MatchRecord:
    """Describes an item of the table `matches`.

    Attributes:
        match_id: id of the match.
        state: `starting`, `running` or `ended`.
        mode: name of the mode.
        created_at: Unix time of the creation in milliseconds, or None if it is unknown.
        started_at: Unix time of the start in milliseconds, or None before the start.
        ended_at: Unix time of the end in milliseconds, or None before the end.
        result: a mapping with `reason` and `players`, or None before the end.
    """

    match_id: str
    state: str
    mode: str
    created_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class PlayerRecord:
    """Describes an item of the table `players`.

    Attributes:
        display_name: name that other players see, or None if the player has no name.
        contact: name of a contact field -> encrypted value, for each field that has a value.
    """

    display_name: str | None
    contact: Mapping[str, Sealed]


class Tables:
    """Reads and writes matches and players. All methods raise TablesUnavailable if DynamoDB does not answer.

    Args:
        settings: settings of the process.
        aws: clients of AWS.

    Raises:
        SettingsError: GAMESERVER_TABLES does not name the three tables.
    """

    def __init__(self, settings: Settings, aws: AwsClients) -> None:
        missing = {"matches", "players", "processed_events"} - settings.tables.keys()
        if missing:
            raise SettingsError(f"GAMESERVER_TABLES lacks {', '.join(sorted(missing))}")
        self._aws = aws
        self._matches = settings.tables["matches"]
        self._players = settings.tables["players"]
        self._processed = settings.tables["processed_events"]

    async def ping(self) -> None:
        """Check that DynamoDB answers."""
        await self._call("get_item", TableName=self._players, Key={"player_id": {"S": "-"}})

    async def register_match(
        self, match_id: str, *, mode: str, seats: int, rules: str, region: str, created_by: str, created_at_ms: int
    ) -> None:
        """Store a new match in the state `starting`. The match expires after an hour, unless it starts.

        Raises:
            MatchExists: a match with this id exists, and was not changed.
        """
        item = {
            "match_id": match_id,
            "state": "starting",
            "mode": mode,
            "seats": seats,
            "rules": rules,
            "region": region,
            "created_by": created_by,
            "created_at": created_at_ms,
            "expires_at": created_at_ms // 1000 + _NEVER_STARTED_SECONDS,
        }
        stored = await self._conditional(
            "put_item", TableName=self._matches, Item=_item(item), ConditionExpression="attribute_not_exists(match_id)"
        )
        if not stored:
            raise MatchExists(match_id)

    async def match(self, match_id: str) -> MatchRecord | None:
        """Return a match by a consistent read, or None if it does not exist or has expired."""
        answer = await self._call(
            "get_item", TableName=self._matches, Key={"match_id": {"S": match_id}}, ConsistentRead=True
        )
        values = _values(answer.get("Item"))
        # DynamoDB may delete an item hours after it has expired, so treat an expired item as deleted.
        if not values or (values["state"] != "ended" and values.get("expires_at", time.time()) < time.time()):
            return None
        fields = ("created_at", "started_at", "ended_at", "result")
        return MatchRecord(match_id, values["state"], values.get("mode", ""), **{f: values.get(f) for f in fields})

    async def mark_running(self, event: StoredEvent) -> bool:
        """Apply an event `match.started` to the item of its match.

        Returns:
            False if the match was already `running` or `ended`, or the event was applied before.
        """
        started = event.occurred_at_ms
        update = {
            "UpdateExpression": "SET #state = :running, #region = :region, started_at = :at, expires_at = :expires, "
            "created_at = if_not_exists(created_at, :at), #mode = if_not_exists(#mode, :mode)",
            "ConditionExpression": "attribute_not_exists(#state) OR #state = :starting",
            "ExpressionAttributeNames": {"#state": "state", "#region": "region", "#mode": "mode"},
            "ExpressionAttributeValues": _item(
                {
                    ":running": "running",
                    ":starting": "starting",
                    ":region": event.region,
                    ":at": started,
                    ":expires": started // 1000 + _RUNNING_SECONDS,
                    ":mode": getattr(event.payload, "mode", ""),
                }
            ),
        }
        return await self._once(event, update)

    async def mark_ended(self, event: StoredEvent, ended: MatchEnded) -> bool:
        """Apply an event `match.ended` to the item of its match: store the state and the result.

        A match of players is kept for good. A match of probe or load-test accounts expires after a day. The result of a
        newer epoch replaces the result of an older epoch, which is void.

        Returns:
            False if the match already had a result of this epoch or a newer one, or the event was applied before.
        """
        players = [
            {"player_id": p.player_id, "display_name": p.display_name, "score": p.score, "rank": p.rank}
            for p in ended.players
        ]
        update = {
            "UpdateExpression": "SET #state = :ended, #region = :region, #mode = :mode, #result = :result, "
            "result_epoch = :epoch, started_at = :started, ended_at = :at, "
            "created_at = if_not_exists(created_at, :started)"
            + (", expires_at = :expires" if ended.internal else " REMOVE expires_at"),
            "ConditionExpression": "attribute_not_exists(#state) OR #state <> :ended "
            "OR (result_epoch > :no_epoch AND result_epoch < :epoch)",
            "ExpressionAttributeNames": {
                "#state": "state",
                "#region": "region",
                "#mode": "mode",
                "#result": "result",
            },
            "ExpressionAttributeValues": _item(
                {
                    ":ended": "ended",
                    ":epoch": event.epoch,
                    ":no_epoch": 0,
                    ":region": event.region,
                    ":mode": ended.mode,
                    ":result": {"reason": ended.reason, "players": players},
                    ":started": ended.started_at_ms,
                    ":at": ended.ended_at_ms,
                    **({":expires": ended.ended_at_ms // 1000 + _INTERNAL_SECONDS} if ended.internal else {}),
                }
            ),
        }
        return await self._once(event, update)

    async def update_player(
        self,
        player_id: str,
        *,
        display_name: str | None = None,
        contact: Mapping[str, Sealed | None] | None = None,
    ) -> None:
        """Change attributes of a player, and create the player if needed.

        Args:
            player_id: id of the player.
            display_name: new name. None changes nothing.
            contact: name of a contact field -> new encrypted value, or None to remove the field.
        """
        changed: dict[str, Any] = {name: value for name, value in (contact or {}).items() if value is not None}
        removed = [name for name, value in (contact or {}).items() if value is None]
        if display_name is not None:
            changed["display_name"] = display_name
        clauses = ["SET " + ", ".join(f"#{name} = :{name}" for name in changed)] if changed else []
        clauses += ["REMOVE " + ", ".join(f"#{name}" for name in removed)] if removed else []
        if not clauses:
            return
        update: dict[str, Any] = {
            "UpdateExpression": " ".join(clauses),
            "ExpressionAttributeNames": {f"#{name}": name for name in (*changed, *removed)},
        }
        if changed:
            update["ExpressionAttributeValues"] = _item({f":{name}": value for name, value in changed.items()})
        await self._call("update_item", TableName=self._players, Key={"player_id": {"S": player_id}}, **update)

    async def player(self, player_id: str) -> PlayerRecord:
        """Return a player by a consistent read. A player without an item has no name and no contact fields."""
        answer = await self._call(
            "get_item", TableName=self._players, Key={"player_id": {"S": player_id}}, ConsistentRead=True
        )
        item = answer.get("Item", {})
        contact = {name: Sealed(bytes(item[name]["B"])) for name in CONTACT_FIELDS if name in item}
        return PlayerRecord(item.get("display_name", {}).get("S"), contact)

    async def display_names(self, player_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of players, by player id, with consistent reads. A player without a name is left out."""
        wanted = list(dict.fromkeys(player_ids))
        names: dict[str, str] = {}
        for start in range(0, len(wanted), _BATCH_GET_LIMIT):
            request: dict[str, Any] = {
                self._players: {
                    "Keys": [{"player_id": {"S": player}} for player in wanted[start : start + _BATCH_GET_LIMIT]],
                    "ConsistentRead": True,
                    "ProjectionExpression": "player_id, display_name",
                }
            }
            while request:
                answer = await self._call("batch_get_item", RequestItems=request)
                for item in answer["Responses"].get(self._players, []):
                    if "display_name" in item:
                        names[item["player_id"]["S"]] = item["display_name"]["S"]
                request = answer.get("UnprocessedKeys") or {}
        return names

    async def _once(self, event: StoredEvent, update: dict[str, Any]) -> bool:
        """Update the match of an event and store the id of the event, in one transaction.

        Returns:
            False if the update was not needed, because the event or a later event was applied before.
        """
        remember = {
            "TableName": self._processed,
            "Item": _item({"event_id": event.event_id, "expires_at": int(time.time()) + _EVENT_MEMORY_SECONDS}),
        }
        update = {"TableName": self._matches, "Key": {"match_id": {"S": event.match_id}}, **update}
        first_time = {**remember, "ConditionExpression": "attribute_not_exists(event_id)"}
        reasons = await self._transact([{"Put": first_time}, {"Update": update}])
        if reasons and reasons[0] != _CONDITION_FAILED:
            # If only the update's condition failed, the event is late: the match already has the event's state or a
            # later state. Store the id of a late event too, so that another delivery of the event fails at the
            # condition on its id.
            await self._call("put_item", **remember)
        return not reasons

    async def _transact(self, items: list[dict[str, Any]]) -> list[str]:
        """Write all items in one transaction, or no item.

        Returns:
            An empty list if the items were written. If the condition of an item failed, the error code of each item, or
            "None" for an item without an error.

        Raises:
            TablesUnavailable: DynamoDB does not answer, or another transaction changed the same items. After
                TablesUnavailable the caller should try the transaction again.
        """
        from botocore.exceptions import ClientError

        try:
            await self._call("transact_write_items", TransactItems=items)
        except TablesUnavailable as error:
            cause = error.__cause__
            if not isinstance(cause, ClientError) or error_code(cause) != "TransactionCanceledException":
                raise
            reasons = [str(reason.get("Code", "None")) for reason in cause.response.get("CancellationReasons", [])]
            if _CONDITION_FAILED not in reasons:
                raise
            return reasons
        return []

    async def _conditional(self, operation: str, **parameters: Any) -> bool:
        try:
            await self._call(operation, **parameters)
        except TablesUnavailable as error:
            if error.__cause__ is not None and error_code(error.__cause__) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                answer: dict[str, Any] = getattr(self._aws.dynamodb, operation)(**parameters)
            except (BotoCoreError, ClientError) as error:
                raise TablesUnavailable(f"DynamoDB {operation}: {error_code(error) or type(error).__name__}") from error
            return answer

        return await self._aws.run(call)


def _item(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _attribute(value) for name, value in values.items()}


def _attribute(value: Any) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case Mapping():
            return {"M": _item(value)}
        case list():
            return {"L": [_attribute(entry) for entry in value]}
    raise TypeError(f"DynamoDB cannot store a value of the type {type(value).__name__}")


def _values(item: Mapping[str, Any] | None) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeDeserializer

    deserializer = TypeDeserializer()
    return {name: _plain(deserializer.deserialize(value)) for name, value in (item or {}).items()}


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value)
        case dict():
            return {name: _plain(entry) for name, entry in value.items()}
        case list():
            return [_plain(entry) for entry in value]
    return value
