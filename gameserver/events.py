"""The key events of a match: their types and payloads, the envelope around them, and how they are written and read.

A match records each event as a `MatchEvent`. `encode` writes it as a `StoredEvent`, a JSON object with the match and
its server. That object stands in the match's stream in Redis, and travels through SNS and SQS. `decode` reads it back
for a match that moves to another server; `parse` and `parse_message` check it before anything is written to a database.

What clients receive of an event is `gameserver.protocol.Event`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from gameserver.protocol import UNDECODABLE

Identifier = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0)]
# What a PostgreSQL bigint and a DynamoDB number both hold exactly.
Score = Annotated[int, Meta(ge=-(2**53), le=2**53)]
NO_SLOT: Final = -1


class PoisonEvent(Exception):
    """A message that no number of deliveries will make acceptable."""


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


class PlayerScored(Struct, frozen=True, omit_defaults=True):
    """`score` is the player's total after this event, `points` what the event added. Rules may add more fields."""

    TYPE: ClassVar[str] = "player.scored"

    player_id: Identifier
    score: Score
    points: Score
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


Payload: TypeAlias = MatchStarted | PlayerJoined | PlayerLeft | PlayerScored | PlayerChatted | MatchEnded

_PAYLOADS: Final[dict[str, type[Payload]]] = {
    payload.TYPE: payload
    for payload in (MatchStarted, PlayerJoined, PlayerLeft, PlayerScored, PlayerChatted, MatchEnded)
}
_STRUCTURAL: Final = frozenset({MatchStarted.TYPE, PlayerJoined.TYPE, PlayerLeft.TYPE, MatchEnded.TYPE})


# Events


class RuleEvent(NamedTuple):
    """What rules report, e.g. `(PLAYER_SCORED, 3, {"score": 12, "points": 2})`. The match adds the player's id."""

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
    """Read one event and check its payload, which becomes a `Payload`.

    Raises:
        PoisonEvent: not JSON, a field is missing or out of range, or the type is unknown.
    """
    try:
        event = _decode(body)
        kind = _PAYLOADS.get(event.type)
        if kind is None:
            raise PoisonEvent("unknown event type")
        payload = msgspec.convert(event.payload, kind)
    except UNDECODABLE as error:
        raise PoisonEvent(str(error)) from error
    if event.event_id != event_id(event.match_id, event.sequence):
        raise PoisonEvent("event_id is not <match_id>:<sequence>")
    return msgspec.structs.replace(event, payload=payload)


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
    """Whether an event must be stored together with a snapshot, because replaying it alone would not restore all."""
    return event.type in _STRUCTURAL


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredEvent).decode
_decode_bodies = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw]).decode
