"""The key events of a match: their types and payloads, the envelope around them, and how they are written and read.

A match records each event as a `MatchEvent`. `encode` writes it as a `StoredEvent`, a JSON object with the match and
its server. That object stands in the match's stream in Redis, and travels through SNS and SQS. `decode` reads it back
for a match that moves to another server; `parse` and `parse_message` check it before anything is written to a database.

Rules report `RuleEvent`s. `ReportableEvents` checks each before the match records it, so that nothing reaches the
queue that the databases would refuse. What clients receive of an event is `gameserver.protocol.Event`.
"""

from __future__ import annotations

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
"""A PostgreSQL bigint, a DynamoDB number and JSON readers all hold it exactly."""

Score = Annotated[int, Meta(ge=-LARGEST_SCORE, le=LARGEST_SCORE)]
NO_SLOT: Final = -1

MAX_PAYLOAD_BYTES: Final = 4096
"""Largest payload that rules may report, as JSON.

A frame to a client (`protocol.MAX_SERVER_FRAME_BYTES`) has room for 60 such payloads, and a message to the queue (see
`cluster.publisher`) for 14.
"""

MAX_PAYLOAD_DEPTH: Final = 32
"""Objects and arrays within each other. Decoders give up at several hundred."""

_MAX_TYPE_LENGTH: Final = 64
_OWN_TYPE: Final = re.compile(r"(?!match\.|player\.)[a-z0-9_]+(\.[a-z0-9_]+)+")
_SUSPECT: Final = re.compile(rb"null|\\u0000|\xef\xbf[\xbe\xbf]")
"""JSON that may hold a value which `_check_value` refuses."""


class PoisonEvent(Exception):
    """A message that no number of deliveries will make acceptable."""


class RefusedEvent(Exception):
    """Rules reported an event that cannot be stored.

    Attributes:
        event_type: the type that the rules gave it, shortened.
    """

    def __init__(self, event_type: object, cause: str) -> None:
        self.event_type = str(event_type)[:_MAX_TYPE_LENGTH]
        super().__init__(cause)


# Payloads. `TYPE` is the type of the event that carries the payload.


class MatchStarted(Struct, frozen=True, omit_defaults=True):
    TYPE: ClassVar[str] = "match.started"

    mode: Identifier
    seats: Annotated[int, Meta(ge=1, le=1000)]
    internal: bool = False


class PlayerJoined(Struct, frozen=True, omit_defaults=True):
    TYPE: ClassVar[str] = "player.joined"

    player_id: Identifier
    display_name: Name
    slot: int = NO_SLOT


class PlayerLeft(Struct, frozen=True, omit_defaults=True):
    TYPE: ClassVar[str] = "player.left"

    player_id: Identifier
    slot: int = NO_SLOT


class ScoreChange(Struct, frozen=True, omit_defaults=True):
    """The part of `PlayerScored` that rules report. They may add more fields.

    Attributes:
        score: the player's total after this event.
        points: what the event added.
    """

    score: Score
    points: Score


class PlayerScored(ScoreChange, frozen=True, omit_defaults=True):
    TYPE: ClassVar[str] = "player.scored"

    player_id: Identifier
    slot: int = NO_SLOT


class PlayerChatted(Struct, frozen=True, omit_defaults=True):
    """`sealed`: what the player said, as `gameserver.runtime.crypto` seals it; base64 in JSON."""

    TYPE: ClassVar[str] = "player.chatted"

    player_id: Identifier
    sealed: Annotated[bytes, Meta(min_length=1, max_length=8192)]
    slot: int = NO_SLOT


class PlayerResult(Struct, frozen=True):
    """`rank` 1 is a winner; equal scores may share a rank."""

    player_id: Identifier
    display_name: Name
    score: Score
    rank: Annotated[int, Meta(ge=1)]


class MatchEnded(Struct, frozen=True, omit_defaults=True):
    """`internal`: a match of probe or load-test accounts."""

    TYPE: ClassVar[str] = "match.ended"

    mode: Identifier
    reason: Identifier
    started_at_ms: Milliseconds
    ended_at_ms: Milliseconds
    players: Annotated[list[PlayerResult], Meta(max_length=1000)]
    internal: bool = False


# An event of a type that rules declare has any JSON object as its payload.
DeclaredPayload: TypeAlias = dict[str, Any]
Payload: TypeAlias = MatchStarted | PlayerJoined | PlayerLeft | PlayerScored | PlayerChatted | MatchEnded

_PAYLOADS: Final[dict[str, type[Payload]]] = {
    payload.TYPE: payload
    for payload in (MatchStarted, PlayerJoined, PlayerLeft, PlayerScored, PlayerChatted, MatchEnded)
}
_STRUCTURAL: Final = frozenset({MatchStarted.TYPE, PlayerJoined.TYPE, PlayerLeft.TYPE, MatchEnded.TYPE})


# Events


class RuleEvent(NamedTuple):
    """An event that rules report, such as `(PLAYER_SCORED, 3, {"score": 12})`. The match adds the id of the player."""

    type: str
    slot: int
    payload: dict[str, Any]


class MatchEvent(Struct, frozen=True):
    """One event as a match records it.

    Attributes:
        sequence: counts from 1 without gaps.
        payload: a mapping with string keys.
    """

    sequence: Annotated[int, Meta(ge=0)]
    type: str
    occurred_at_ms: Milliseconds
    payload: Any

    @classmethod
    def of(cls, sequence: int, payload: Payload, now_ms: int) -> MatchEvent:
        """Return the event that carries `payload`."""
        return cls(sequence, payload.TYPE, now_ms, as_mapping(payload))


class StoredEvent(MatchEvent, frozen=True):
    """The envelope: one event as it is stored and delivered. `event_id` is the same at every delivery."""

    event_id: Annotated[str, Meta(min_length=3, max_length=96)]
    match_id: Identifier
    region: Identifier
    server_id: Identifier


class EncodedEvent(NamedTuple):
    """A stored event as bytes."""

    sequence: int
    body: bytes


class EventLabel(NamedTuple):
    """Id and type of an event whose body may be damaged: any JSON value, None if it is absent."""

    event_id: Any
    type: Any


def as_mapping(payload: Payload) -> dict[str, Any]:
    """Return a payload as the mapping that JSON has of it. Bytes stay bytes."""
    mapping: dict[str, Any] = msgspec.to_builtins(payload, builtin_types=(bytes,))
    return mapping


def event_id(match_id: str, sequence: int) -> str:
    """Return the id of a match's event."""
    return f"{match_id}:{sequence}"


def encode(event: MatchEvent, match_id: str, region: str, server_id: str) -> bytes:
    """Write the body of an event, as it is stored and as it goes to SNS."""
    return _encode(
        StoredEvent(
            sequence=event.sequence,
            type=event.type,
            occurred_at_ms=event.occurred_at_ms,
            payload=event.payload,
            event_id=event_id(match_id, event.sequence),
            match_id=match_id,
            region=region,
            server_id=server_id,
        )
    )


def decode(body: bytes | str) -> StoredEvent:
    """Read what `encode` has written; the payload is a mapping.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is damaged.
    """
    return _decode(body)


def parse_message(body: str | bytes) -> tuple[list[StoredEvent], list[PoisonEvent]]:
    """Read one message body: a JSON array of events, or a single event as an object.

    Returns the events that are acceptable, and what is wrong with each of the others, or with the whole.
    """
    try:
        bodies = _decode_bodies(body)
    except UNDECODABLE as error:
        return [], [PoisonEvent(str(error))]
    events: list[StoredEvent] = []
    poison: list[PoisonEvent] = []
    for event_body in bodies if isinstance(bodies, list) else [msgspec.json.encode(bodies)]:
        try:
            events.append(parse(event_body))
        except PoisonEvent as error:
            poison.append(error)
    return events, poison


def parse(body: str | bytes | msgspec.Raw) -> StoredEvent:
    """Read one event and check its payload, which becomes a `Payload` or a `DeclaredPayload`.

    The declared types of a studio's rules are not known here: a type is accepted by its form.

    Raises:
        PoisonEvent: not JSON, a field is missing or out of range, or the type is unknown.
    """
    try:
        event = _decode(body)
        kind: Any = _PAYLOADS.get(event.type)
        if kind is None:
            if not _may_be_declared(event.type):
                raise PoisonEvent("unknown event type")
            kind = DeclaredPayload
        payload = msgspec.convert(event.payload, kind)
    except UNDECODABLE as error:
        raise PoisonEvent(str(error)) from error
    if event.event_id != event_id(event.match_id, event.sequence):
        raise PoisonEvent("event_id is not <match_id>:<sequence>")
    return msgspec.structs.replace(event, payload=payload)


class ReportableEvents:
    """The events that the rules of a game may report: `player.scored`, and those of the types that they declare.

    Args:
        declared: type of an event -> type of its payload, anything that msgspec decodes from a JSON object.

    Raises:
        ValueError: the name of a type has another form, or belongs to the server.
        TypeError: msgspec cannot decode the type of a payload.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        for name in declared:
            if not _may_be_declared(name):
                raise ValueError(
                    f"event_types: {name!r} is no type like 'card.played'. Join words of a-z, 0-9 and _ by dots, "
                    f"at most {_MAX_TYPE_LENGTH} characters; types that begin with match. or player. are the server's"
                )
        types = {PlayerScored.TYPE: ScoreChange, **declared}
        self._check_types = {name: msgspec.json.Decoder(payload).decode for name, payload in types.items()}

    def check(self, event: RuleEvent) -> dict[str, Any]:
        """Return the payload as its JSON will be read.

        Raises:
            RefusedEvent: the type is not declared, or the payload does not fit its type, is too large or too deep,
                holds what JSON or the databases cannot, or sets a field that the match adds.
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
        # msgspec's errors, surrogates in a string, or an object that JSON has no form for.
        except (*UNDECODABLE, ValueError, TypeError, OverflowError) as error:
            raise RefusedEvent(event.type, f"the payload is not valid: {error}") from error
        return payload


def _may_be_declared(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_TYPE_LENGTH and _OWN_TYPE.fullmatch(name) is not None


def _check_value(value: Any, depth: int = 0) -> None:
    """Raises ValueError for a value that is lost in JSON, SQS or PostgreSQL's jsonb."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if isinstance(value, str) and not _UNSTORABLE.isdisjoint(value):
        raise ValueError("a string holds U+0000, U+FFFE or U+FFFF")
    if isinstance(value, dict | list | tuple):
        if depth >= MAX_PAYLOAD_DEPTH:
            raise ValueError(f"more than {MAX_PAYLOAD_DEPTH} objects and arrays are within each other")
        for part in _parts(value):
            _check_value(part, depth + 1)


def _parts(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value


def read_labels(body: str) -> list[EventLabel]:
    """Return the ids and types of the events in a message body, as far as it can be read; [] if it cannot."""
    try:
        decoded = json.loads(body)
    # Nested a thousand deep, JSON exhausts the decoder's stack.
    except (ValueError, RecursionError):
        return []
    events = [event for event in (decoded if isinstance(decoded, list) else [decoded]) if isinstance(event, dict)]
    return [EventLabel(event.get("event_id"), event.get("type")) for event in events]


def needs_snapshot(event: MatchEvent) -> bool:
    """Return True if replaying this event cannot restore the match, so that a snapshot must be stored with it."""
    return event.type in _STRUCTURAL


# jsonb has no U+0000, and SQS takes only the characters of XML 1.0:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_UNSTORABLE: Final = frozenset("\x00\ufffe\uffff")
_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode = msgspec.json.Decoder(StoredEvent).decode
_decode_bodies = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw]).decode
