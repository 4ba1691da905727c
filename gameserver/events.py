"""Defines the events of a match: their types, their payloads, and their form in Redis and in the queue.

An event passes through these classes:

1. The rules report a `RuleEvent`. `ReportableEvents` checks the event, so that the queue gets no event that a
   database would refuse.
2. The match records a `MatchEvent`.
3. `encode` writes a `StoredEvent`, a JSON object that also names the match and its server. Redis stores the JSON of an
   event in the match's stream, and SNS and SQS deliver the JSON.
4. `decode` reads the JSON of an event when another server takes the match over. `parse` and `parse_message` read and
   check the JSON of events before the worker writes the events to a database.

A client receives an event as `gameserver.protocol.Event`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from gameserver.protocol import UNDECODABLE

Identifier = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0)]
LARGEST_SCORE: Final = 2**53
"""Largest score. A bigint of PostgreSQL, a number of DynamoDB and a number of JSON can represent 2^53 exactly."""

Score = Annotated[int, Meta(ge=-LARGEST_SCORE, le=LARGEST_SCORE)]
NO_SLOT: Final = -1
"""Value of the field `slot` of a payload if the slot is unknown."""

MAX_PAYLOAD_BYTES: Final = 4096
"""Largest payload that rules may report, in bytes of JSON.

A frame to a client (`protocol.MAX_SERVER_FRAME_BYTES`) has room for 60 payloads of 4,096 bytes. A message to the queue
(see `cluster.publisher`) has room for 13 events with payloads of 4,096 bytes.
"""

MAX_PAYLOAD_DEPTH: Final = 32
"""Largest depth of nested objects and arrays in a payload. JSON decoders fail at a depth of several hundred."""

_MAX_TYPE_LENGTH: Final = 64
_OWN_TYPE: Final = re.compile(r"(?!match\.|player\.)[a-z0-9_]+(\.[a-z0-9_]+)+")
_SUSPECT: Final = re.compile(rb"null|\\u0000|\xef\xbf[\xbe\xbf]")
"""Matches JSON that may contain a value which `_check_value` refuses."""


class PoisonEvent(Exception):
    """Reports an event that is not valid, and that would therefore fail at each further delivery too."""


class RefusedEvent(Exception):
    """Reports that the rules returned an event which cannot be stored.

    Attributes:
        event_type: the type of the event, cut to 64 characters.
    """

    def __init__(self, event_type: object, cause: str) -> None:
        self.event_type = str(event_type)[:_MAX_TYPE_LENGTH]
        super().__init__(cause)


# Payloads of events. The class attribute `TYPE` of a payload is the type of its event.


class MatchStarted(Struct, frozen=True, omit_defaults=True):
    """Records that the first player joined and the match began.

    Attributes:
        mode: name of the mode.
        seats: number of seats, 1 to 1,000.
        internal: True for a match of probe or load-test accounts.
    """

    TYPE: ClassVar[str] = "match.started"

    mode: Identifier
    seats: Annotated[int, Meta(ge=1, le=1000)]
    internal: bool = False


class PlayerJoined(Struct, frozen=True, omit_defaults=True):
    """Records that a player took a seat.

    Attributes:
        player_id: id of the player.
        display_name: name that the other players see.
        slot: number of the seat, or `NO_SLOT` if the number is unknown.
    """

    TYPE: ClassVar[str] = "player.joined"

    player_id: Identifier
    display_name: Name
    slot: int = NO_SLOT


class PlayerLeft(Struct, frozen=True, omit_defaults=True):
    """Records that a player gave up the seat for good.

    Attributes:
        player_id: id of the player.
        slot: number of the seat, or `NO_SLOT` if the number is unknown.
    """

    TYPE: ClassVar[str] = "player.left"

    player_id: Identifier
    slot: int = NO_SLOT


class ScoreChange(Struct, frozen=True, omit_defaults=True):
    """Describes the fields of `PlayerScored` that the rules report. The rules may add more fields to the payload.

    Attributes:
        score: the player's total score after the event.
        points: the points that the event added to the total score.
    """

    score: Score
    points: Score


class PlayerScored(ScoreChange, frozen=True, omit_defaults=True):
    """Records that the score of a player changed.

    Attributes:
        player_id: id of the player.
        slot: number of the seat, or `NO_SLOT` if the number is unknown.
    """

    TYPE: ClassVar[str] = "player.scored"

    player_id: Identifier
    slot: int = NO_SLOT


class PlayerChatted(Struct, frozen=True, omit_defaults=True):
    """Records that a player sent a chat line.

    Attributes:
        player_id: id of the player.
        sealed: the text of the chat line, encrypted by `gameserver.runtime.crypto` and written as base64 in JSON.
        slot: number of the seat, or `NO_SLOT` if the number is unknown.
    """

    TYPE: ClassVar[str] = "player.chatted"

    player_id: Identifier
    sealed: Annotated[bytes, Meta(min_length=1, max_length=8192)]
    slot: int = NO_SLOT


class PlayerResult(Struct, frozen=True):
    """Describes the result of a player.

    Attributes:
        player_id: id of the player.
        display_name: name that the other players saw.
        score: the player's score at the end of the match.
        rank: 1 for a winner. Players with equal scores have equal ranks.
    """

    player_id: Identifier
    display_name: Name
    score: Score
    rank: Annotated[int, Meta(ge=1)]


class MatchEnded(Struct, frozen=True, omit_defaults=True):
    """Records that a match ended, with its result.

    Attributes:
        mode: name of the mode.
        reason: why the match ended: `time`, `finished`, `abandoned`, `aborted` or `error`.
        started_at_ms: Unix time in milliseconds at which the match started.
        ended_at_ms: Unix time in milliseconds at which the match ended.
        players: result of each player, the best first.
        internal: True for a match of probe or load-test accounts.
    """

    TYPE: ClassVar[str] = "match.ended"

    mode: Identifier
    reason: Identifier
    started_at_ms: Milliseconds
    ended_at_ms: Milliseconds
    players: Annotated[list[PlayerResult], Meta(max_length=1000)]
    internal: bool = False


# Payload of an event whose type the rules declare. The worker does not know the rules, so it accepts any JSON object as
# this payload.
DeclaredPayload: TypeAlias = dict[str, Any]
Payload: TypeAlias = MatchStarted | PlayerJoined | PlayerLeft | PlayerScored | PlayerChatted | MatchEnded

_PAYLOADS: Final[dict[str, type[Payload]]] = {
    payload.TYPE: payload
    for payload in (MatchStarted, PlayerJoined, PlayerLeft, PlayerScored, PlayerChatted, MatchEnded)
}
_STRUCTURAL: Final = frozenset({MatchStarted.TYPE, PlayerJoined.TYPE, PlayerLeft.TYPE, MatchEnded.TYPE})


# Events


class RuleEvent(NamedTuple):
    """Describes an event that the rules report. The match adds the id of the player to the payload.

    Attributes:
        type: `player.scored` or a type that the rules declare in `event_types`.
        slot: slot of the player whom the event concerns.
        payload: a value that JSON can represent, for example `{"score": 12, "points": 2}`.
    """

    type: str
    slot: int
    payload: dict[str, Any]


class MatchEvent(Struct, frozen=True):
    """Describes an event as a match records it.

    Attributes:
        sequence: number of the event in its match, counted from 1 without gaps.
        type: type of the event, for example `player.joined`.
        occurred_at_ms: Unix time of the event in milliseconds.
        payload: the payload, a mapping with string keys.
    """

    sequence: Annotated[int, Meta(ge=0)]
    type: str
    occurred_at_ms: Milliseconds
    payload: Any

    @classmethod
    def of(cls, sequence: int, payload: Payload, now_ms: int) -> MatchEvent:
        """Return an event with this payload. The class of the payload determines the type of the event."""
        return cls(sequence, payload.TYPE, now_ms, as_mapping(payload))


class StoredEvent(MatchEvent, frozen=True, omit_defaults=True):
    """Describes an event as Redis stores it and as the queue delivers it.

    Attributes:
        event_id: `<match_id>:<sequence>` in JSON, because a worker of version 0.1.0 refuses other ids. `parse` replaces
            it by the id `<match_id>:<epoch>:<sequence>`, which `parse` accepts in JSON too.
        match_id: id of the match.
        region: region of the server that recorded the event.
        server_id: id of the game server that recorded the event.
        epoch: epoch of the owner that recorded the event, or 0 for a game server of version 0.1.0.
        epoch_start: sequence number of the epoch's first event, or 0 for a game server of version 0.1.0. Events of
            older epochs from this number on are void.
    """

    event_id: Annotated[str, Meta(min_length=3, max_length=128)]
    match_id: Identifier
    region: Identifier
    server_id: Identifier
    epoch: Annotated[int, Meta(ge=0, le=2**62)] = 0
    epoch_start: Annotated[int, Meta(ge=0, le=2**62)] = 0


class DeliveredEvent(StoredEvent, frozen=True):
    """Describes an event of the queue with a valid payload.

    Attributes:
        digest: digest of the type, the time and the payload, by which the worker sees that two events have one id.
    """

    digest: bytes = b""


class EncodedEvent(NamedTuple):
    """Holds a stored event as JSON.

    Attributes:
        sequence: number of the event in its match.
        body: the JSON of the `StoredEvent`.
    """

    sequence: int
    body: bytes


class EventLabel(NamedTuple):
    """Holds the id and the type of an event whose body may be damaged.

    Attributes:
        event_id: id of the event, which can be any JSON value, or None if the body has no id.
        type: type of the event, which can be any JSON value, or None if the body has no type.
    """

    event_id: Any
    type: Any


def as_mapping(payload: Payload) -> dict[str, Any]:
    """Return a payload as a mapping with the fields of its JSON. Values of type bytes stay bytes."""
    mapping: dict[str, Any] = msgspec.to_builtins(payload, builtin_types=(bytes,))
    return mapping


def event_id(match_id: str, epoch: int, sequence: int) -> str:
    """Return the id of the event with this sequence number that the owner with this epoch recorded.

    The epoch 0 stands for an unknown epoch, as in the events of game servers of version 0.1.0.
    """
    return f"{match_id}:{epoch}:{sequence}" if epoch else f"{match_id}:{sequence}"


def encode(
    event: MatchEvent, match_id: str, region: str, server_id: str, *, epoch: int = 0, epoch_start: int = 0
) -> bytes:
    """Encode an event as the JSON that is stored in Redis and sent to SNS."""
    return _encode(
        StoredEvent(
            sequence=event.sequence,
            type=event.type,
            occurred_at_ms=event.occurred_at_ms,
            payload=event.payload,
            event_id=event_id(match_id, 0, event.sequence),
            match_id=match_id,
            region=region,
            server_id=server_id,
            epoch=epoch,
            epoch_start=epoch_start,
        )
    )


def decode(body: bytes | str) -> StoredEvent:
    """Decode the JSON that `encode` returned. The payload of the decoded event is a mapping.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is damaged.
    """
    return _decode(body)


def parse_message(body: str | bytes) -> tuple[list[DeliveredEvent], list[PoisonEvent]]:
    """Read the body of a queue's message: a JSON array of events, or the JSON object of an event.

    Returns:
        The valid events, and the error of each event that is not valid. A body that is no JSON gives one error.
    """
    try:
        bodies = _decode_bodies(body)
    except UNDECODABLE as error:
        return [], [PoisonEvent(str(error))]
    events: list[DeliveredEvent] = []
    poison: list[PoisonEvent] = []
    for event_body in bodies if isinstance(bodies, list) else [msgspec.json.encode(bodies)]:
        try:
            events.append(parse(event_body))
        except PoisonEvent as error:
            poison.append(error)
    return events, poison


def parse(body: str | bytes | msgspec.Raw) -> DeliveredEvent:
    """Read an event and check its payload. The payload of the returned event is a `Payload` or a `DeclaredPayload`, and
    its id contains the epoch.

    The worker does not know which types the rules declare, so `parse` accepts each type that rules may declare.

    Raises:
        PoisonEvent: the body is not JSON, a field is missing or out of range, or the type is unknown.
    """
    try:
        event = _decode_delivered(body)
        kind: Any = _PAYLOADS.get(event.type)
        if kind is None:
            if not _may_be_declared(event.type):
                raise PoisonEvent("unknown event type")
            kind = DeclaredPayload
        payload = msgspec.convert(event.payload, kind)
    except UNDECODABLE as error:
        raise PoisonEvent(str(error)) from error
    full_id = event_id(event.match_id, event.epoch, event.sequence)
    if event.event_id not in (full_id, event_id(event.match_id, 0, event.sequence)):
        raise PoisonEvent("event_id is neither <match_id>:<epoch>:<sequence> nor <match_id>:<sequence>")
    if event.epoch_start > event.sequence or (event.epoch > 0) is not (event.epoch_start > 0):
        raise PoisonEvent("epoch_start is not the sequence number of the epoch's first event")
    return msgspec.structs.replace(event, event_id=full_id, payload=payload, digest=_digest(event))


def _digest(event: StoredEvent) -> bytes:
    """Return a digest that does not depend on the spaces and the order of names in the JSON of the event."""
    facts = (event.type, event.occurred_at_ms, event.payload)
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).digest()[:16]


class ReportableEvents:
    """Checks the events that the rules of a game report. Rules may report `player.scored` and the types they declare.

    Args:
        declared: type of an event -> type of its payload, any type that msgspec can decode from a JSON object.

    Raises:
        ValueError: a type of an event is not a name like `card.played`, or belongs to the server.
        TypeError: msgspec cannot decode the type of a payload.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        for name in declared:
            if not _may_be_declared(name):
                raise ValueError(
                    f"event_types: {name!r} is no type like 'card.played'. Join words of a-z, 0-9 and _ by dots, "
                    f"at most {_MAX_TYPE_LENGTH} characters. "
                    "Types that begin with match. or player. belong to the server"
                )
        types = {PlayerScored.TYPE: ScoreChange, **declared}
        self._check_types = {name: msgspec.json.Decoder(payload).decode for name, payload in types.items()}

    def check(self, event: RuleEvent) -> dict[str, Any]:
        """Check an event of the rules, and return its payload after encoding and decoding it as JSON.

        Raises:
            RefusedEvent: the type is not declared, or the payload is not valid. A payload is valid if it has the
                declared type, fits the limits of size and depth, and can be stored. The match adds the fields
                `player_id` and `slot`, so a payload may not contain them.
        """
        check_type = self._check_types.get(event.type)
        if check_type is None:
            raise RefusedEvent(event.type, "the rules do not declare this type in event_types")
        if not isinstance(event.payload, dict) or "player_id" in event.payload or "slot" in event.payload:
            raise RefusedEvent(event.type, "the payload must be a dict without player_id and slot: the match adds them")
        try:
            body = _encode(event.payload)
            if len(body) > MAX_PAYLOAD_BYTES:
                raise RefusedEvent(
                    event.type, f"the payload has {len(body)} bytes as JSON; {MAX_PAYLOAD_BYTES} are allowed"
                )
            check_type(body)
            if _SUSPECT.search(body) or body.count(b"{") + body.count(b"[") > MAX_PAYLOAD_DEPTH:
                _check_value(msgspec.to_builtins(event.payload, str_keys=True))
            payload: dict[str, Any] = _decode_any(body)
        # The exceptions of the encoder and the decoders for a payload of the wrong type, a lone surrogate in a string,
        # or a value that JSON cannot represent.
        except (*UNDECODABLE, ValueError, TypeError, OverflowError) as error:
            raise RefusedEvent(event.type, f"the payload is not valid: {error}") from error
        return payload


def _may_be_declared(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_TYPE_LENGTH and _OWN_TYPE.fullmatch(name) is not None


def _check_value(value: Any, depth: int = 0) -> None:
    """Raise ValueError for a value that JSON, SQS or PostgreSQL's jsonb cannot store."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON cannot represent the number {value}")
    if isinstance(value, str) and not _UNSTORABLE.isdisjoint(value):
        raise ValueError("a string contains U+0000, U+FFFE or U+FFFF, which cannot be stored")
    if isinstance(value, dict | list | tuple):
        if depth >= MAX_PAYLOAD_DEPTH:
            raise ValueError(f"objects and arrays are nested more than {MAX_PAYLOAD_DEPTH} levels deep")
        for part in _parts(value):
            _check_value(part, depth + 1)


def _parts(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value


def read_labels(body: str) -> list[EventLabel]:
    """Return the id and the type of each event in a message body, or [] if the body is no JSON."""
    try:
        decoded = json.loads(body)
    # The decoder raises RecursionError for JSON that is nested a thousand levels deep.
    except (ValueError, RecursionError):
        return []
    events = [event for event in (decoded if isinstance(decoded, list) else [decoded]) if isinstance(event, dict)]
    return [EventLabel(event.get("event_id"), event.get("type")) for event in events]


def needs_snapshot(event: MatchEvent) -> bool:
    """Return True if the event needs a snapshot, because a replay of the event cannot restore its effect."""
    return event.type in _STRUCTURAL


# PostgreSQL's jsonb cannot store U+0000. SQS accepts only the characters of XML 1.0, which exclude U+FFFE and U+FFFF:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_UNSTORABLE: Final = frozenset("\x00\ufffe\uffff")
_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode = msgspec.json.Decoder(StoredEvent).decode
_decode_delivered = msgspec.json.Decoder(DeliveredEvent).decode
_decode_bodies = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw]).decode
