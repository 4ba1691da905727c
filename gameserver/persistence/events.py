"""Key events as they arrive from the queue, checked before anything is written."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from gameserver.protocol import UNDECODABLE

Identifier = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0)]
# What a PostgreSQL bigint and a DynamoDB number both hold exactly.
Score = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class PoisonEvent(Exception):
    """A message that no number of deliveries will make acceptable."""


class MatchStarted(msgspec.Struct, frozen=True):
    mode: Identifier
    seats: Annotated[int, Meta(ge=1, le=1000)]
    internal: bool = False


class PlayerJoined(msgspec.Struct, frozen=True):
    player_id: Identifier
    display_name: Name


class PlayerLeft(msgspec.Struct, frozen=True):
    player_id: Identifier


class PlayerScored(msgspec.Struct, frozen=True):
    """`score` is the player's total after this event, `points` what the event added."""

    player_id: Identifier
    score: Score
    points: Score


class PlayerChatted(msgspec.Struct, frozen=True):
    """`sealed`: what the player said, as `gameserver.runtime.crypto` seals it; base64 in JSON."""

    player_id: Identifier
    sealed: Annotated[bytes, Meta(min_length=1, max_length=8192)]


class PlayerResult(msgspec.Struct, frozen=True):
    """`rank` 1 is a winner; equal scores may share a rank."""

    player_id: Identifier
    display_name: Name
    score: Score
    rank: Annotated[int, Meta(ge=1)]


class MatchEnded(msgspec.Struct, frozen=True):
    """`internal`: a match of probe or load-test accounts."""

    mode: Identifier
    reason: Identifier
    started_at_ms: Milliseconds
    ended_at_ms: Milliseconds
    players: Annotated[tuple[PlayerResult, ...], Meta(max_length=1000)]
    internal: bool = False


Payload: TypeAlias = MatchStarted | PlayerJoined | PlayerLeft | PlayerScored | PlayerChatted | MatchEnded

_PAYLOADS: dict[str, type[Payload]] = {
    "match.started": MatchStarted,
    "player.joined": PlayerJoined,
    "player.left": PlayerLeft,
    "player.scored": PlayerScored,
    "player.chatted": PlayerChatted,
    "match.ended": MatchEnded,
}


class _Envelope(msgspec.Struct, frozen=True):
    event_id: Annotated[str, Meta(min_length=3, max_length=96)]
    type: str
    match_id: Identifier
    region: Identifier
    server_id: Identifier
    sequence: Annotated[int, Meta(ge=0)]
    occurred_at_ms: Milliseconds
    payload: msgspec.Raw


class Event(msgspec.Struct, frozen=True):
    """One key event of a match; `event_id` is unique, and the same at every redelivery."""

    event_id: str
    type: str
    match_id: str
    region: str
    server_id: str
    sequence: int
    occurred_at_ms: int
    payload: Payload


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_bodies_decoder = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw])


def parse_message(body: str | bytes) -> tuple[list[Event], list[PoisonEvent]]:
    """Read one message body: a JSON array of events, or a single event as an object.

    Returns the events that are acceptable, and what is wrong with each of the others, or with the whole.
    """
    try:
        bodies = _bodies_decoder.decode(body)
    except UNDECODABLE as error:
        return [], [PoisonEvent(str(error))]
    events: list[Event] = []
    poison: list[PoisonEvent] = []
    for one in bodies if isinstance(bodies, list) else [msgspec.json.encode(bodies)]:
        try:
            events.append(parse(one))
        except PoisonEvent as error:
            poison.append(error)
    return events, poison


def parse(body: str | bytes | msgspec.Raw) -> Event:
    """Read one event.

    Raises:
        PoisonEvent: not JSON, a field is missing or out of range, or the type is unknown.
    """
    try:
        envelope = _envelope_decoder.decode(body)
        kind = _PAYLOADS.get(envelope.type)
        if kind is None:
            raise PoisonEvent("unknown event type")
        payload = msgspec.json.decode(envelope.payload, type=kind)
    except UNDECODABLE as error:
        raise PoisonEvent(str(error)) from error
    if envelope.event_id != f"{envelope.match_id}:{envelope.sequence}":
        raise PoisonEvent("event_id is not <match_id>:<sequence>")
    fields = {name: getattr(envelope, name) for name in envelope.__struct_fields__ if name != "payload"}
    return Event(**fields, payload=payload)
