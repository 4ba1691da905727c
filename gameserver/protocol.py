"""Defines the real-time protocol, version 1: message types, their limits, and a codec for each subprotocol.

This module does no I/O. A message is an array of the message's type and its fields, in the order of the attributes of
the message's class. The subprotocol `mj1.msgpack` encodes messages as MessagePack in binary frames. The subprotocol
`mj1.json` encodes messages as JSON in text frames, which people and debuggers can read. A new field may only be added
at the end of a message and must have a default. Older clients can ignore a new field at the end of a message, and newer
clients can leave the new field out.

A connection has this course:

1. The client sends `Hello`. The server answers `Welcome`, `Redirect` or `Refused`.
2. The client sends an `Input` for each action of the player.
3. The server sends a `Frame` for each tick in which the match changed, and at least `HEARTBEAT_HZ` frames in a second.
   Every 5 s the server sends a `Full` in the place of a `Frame`. A `Frame` and a `Full` both contain the `Event`s that
   were stored since the last frame.
4. At the end of the match the server sends `Ended`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from gameserver.visible_text import shorten, visible

VERSION: Final = 1
"""Version of the protocol. A change that older clients cannot ignore needs a new version with new subprotocols."""

MAX_CLIENT_FRAME_BYTES: Final = 6 * 1024
"""Largest frame that a client may send. A `Hello` with an access token of 4 KiB fits into this size."""

MAX_SERVER_FRAME_BYTES: Final = 256 * 1024
"""Largest frame that a client must accept. The `Welcome` of a match with 256 seats is several times smaller."""

MAX_SEATS: Final = 256
"""Largest number of seats of a match."""

MAX_NAME_LENGTH: Final = 32
"""Largest length of a player's name in a match, in characters."""

MAX_INPUTS_PER_SECOND: Final = 60
"""Number of frames that a client may send in a second on average.

In a single second the server accepts twice `MAX_INPUTS_PER_SECOND` frames. The server drops all further frames, and
disconnects a client after many dropped frames.
"""

MAX_CHAT_LENGTH: Final = 200
"""Largest length of a chat line, in characters."""

HEARTBEAT_HZ: Final = 2
"""Smallest number of frames that a server sends to a client in a second."""

MatchId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
Token = Annotated[str, Meta(max_length=4096)]
ResumeToken = Annotated[str, Meta(max_length=64)]
RawName = Annotated[str, Meta(max_length=4 * MAX_NAME_LENGTH)]
RawChat = Annotated[str, Meta(max_length=4 * MAX_CHAT_LENGTH)]
Sequence = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Timestamp = Annotated[int, Meta(ge=0, le=2**53 - 1)]

Action = TypeVar("Action")


UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions that a decoder raises for data that is no valid message."""


class ProtocolError(Exception):
    """Reports that a frame is no message of this protocol. The text of the error may be sent to the client."""


def reason(error: Exception) -> str:
    """Return the cause of a decoder's error, as a text of at most 200 characters that may be sent to the client."""
    return str(error)[:200]


# Client to server


class Hello(Struct, array_like=True, tag="hello", frozen=True):
    """Asks for a seat in a match. `Hello` is the first message of a client.

    Attributes:
        match_id: id of the match.
        token: access token (JWT). The token may be empty if `resume` is valid.
        name: name to show to other players.
        resume: the resume token of an earlier `Welcome`, with which the player returns to the seat of that `Welcome`.
    """

    match_id: MatchId
    token: Token = ""
    name: RawName = ""
    resume: ResumeToken = ""


class Input(Struct, Generic[Action], array_like=True, tag="i", frozen=True, gc=False):
    """Sends an action of the player.

    Attributes:
        sequence: number of the input, which increases with each input. The server ignores an input whose number is not
            higher than the number of the player's last applied input.
        action: an instance of the rules' `action_type`.
    """

    sequence: Sequence
    action: Action


class Ping(Struct, array_like=True, tag="ping", frozen=True, gc=False):
    """Asks for a `Pong`, so that the client can measure the round trip.

    Attributes:
        at: any time of the client's clock, which the server returns unchanged in the `Pong`.
    """

    at: Timestamp


class Leave(Struct, array_like=True, tag="leave", frozen=True, gc=False):
    """Gives up the player's seat for good. The score of the player stays in the result."""


class Say(Struct, array_like=True, tag="say", frozen=True, gc=False):
    """Sends a chat line. The server sends the line as a `ChatLine` to all players of the match, or refuses the line
    with an `Unsaid` to the sender.

    Attributes:
        text: the chat line, at most 800 characters. The server removes invisible characters and shortens the line.
    """

    text: RawChat


# Server to client


class PlayerInfo(Struct, frozen=True):
    """Describes a player with a seat.

    Attributes:
        slot: number of the player's seat.
        player_id: id of the player.
        name: name that the other players see.
        connected: True while the player has a connection.
    """

    slot: int
    player_id: str
    name: str
    connected: bool = True


class MatchInfo(Struct, frozen=True):
    """Describes the match and the player's own seat in it.

    Attributes:
        match_id: id of the match.
        mode: name of the mode.
        rules: name of the rules module.
        server_id: id of the game server.
        slot: slot of the player's own seat.
        player_id: id of the player.
        resume: token with which the player returns to the seat after a lost connection.
        tick_rate_hz: ticks in one second.
        duration_ticks: length of the match in ticks.
        seats: number of seats.
        players: the players with a seat.
        alternates: WebSocket addresses of other servers, which the client tries when this server does not answer.
        version: version of the protocol.
    """

    match_id: str
    mode: str
    rules: str
    server_id: str
    slot: int
    player_id: str
    resume: str
    tick_rate_hz: int
    duration_ticks: int
    seats: int
    players: list[PlayerInfo]
    alternates: list[str] = []
    version: int = VERSION


class Welcome(Struct, array_like=True, tag="welcome", frozen=True):
    """Confirms that the player has a seat and that the seat is stored.

    Attributes:
        match: facts about the match and the player's seat.
        tick: number of the tick that `state` describes.
        state: the full view of the game, which the rules' `view` returned.
        sequence: number of the last input that the server has applied for this seat, or 0 for a new seat.
    """

    match: MatchInfo
    tick: int
    state: Any = None
    sequence: int = 0


class Redirect(Struct, array_like=True, tag="redirect", frozen=True):
    """Sends the client to another server.

    Attributes:
        url: WebSocket address of the other server, which runs the match, or "" if the client shall ask this server or
            the API again later.
        reason: `owner` if another server owns the match, `drain` if this server drains, `moved` if the match has moved.
    """

    url: str
    reason: str = "owner"


class Event(Struct, array_like=True, frozen=True):
    """Reports an event that no failure of a server can lose, because the event is already stored.

    Attributes:
        sequence: number of the event in its match, counted from 1.
        type: type of the event, for example `player.scored`.
        payload: the payload of the event, without encrypted fields.
    """

    sequence: int
    type: str
    payload: Any = None


class Frame(Struct, array_like=True, tag="f", frozen=True):
    """Describes the changes of a tick.

    Attributes:
        tick: number of the tick.
        acks: slot and sequence number of each input whose effect this frame is the first to show, as a flat list:
            `[slot, sequence, slot, sequence, ...]`.
        changes: the changes that the rules' `changes` returned, or None if nothing changed.
        events: the events that were stored since the last frame.
    """

    tick: int
    acks: list[int]
    changes: Any = None
    events: list[Event] = []


class Full(Struct, array_like=True, tag="full", frozen=True):
    """Describes the complete match.

    The server sends a `Full` to a client that missed frames, and every 5 s to all clients.

    Attributes:
        tick: number of the tick.
        players: the players with a seat.
        state: the full view of the game, which the rules' `view` returned.
        acks: the inputs that this frame is the first to show, in the form of `Frame.acks`.
        events: the events that were stored since the last frame.
    """

    tick: int
    players: list[PlayerInfo]
    state: Any = None
    acks: list[int] = []
    events: list[Event] = []


class Ended(Struct, array_like=True, tag="ended", frozen=True):
    """Reports the end of the match.

    Attributes:
        result: the stored result, the payload of the event `match.ended`.
    """

    result: Any


class Servers(Struct, array_like=True, tag="servers", frozen=True):
    """Reports that the list of the other servers has changed.

    Attributes:
        alternates: WebSocket addresses of other servers, which replace `MatchInfo.alternates` of the `Welcome`.
    """

    alternates: list[str]


class ChatLine(Struct, array_like=True, tag="chat", frozen=True, gc=False):
    """Delivers a chat line to all players of the match.

    Attributes:
        slot: slot of the player who sent the line.
        text: the chat line, at most `MAX_CHAT_LENGTH` visible characters.
    """

    slot: int
    text: str


class Unsaid(Struct, array_like=True, tag="unsaid", frozen=True, gc=False):
    """Reports to a player that the server did not deliver the player's last `Say`.

    Attributes:
        reason: a value of `UnsaidReason`.
    """

    reason: str


class UnsaidReason:
    """Lists why a chat line was not delivered.

    Attributes:
        RATE: the player sends too many lines.
        EMPTY: the line has no visible character.
        UNAVAILABLE: the server cannot encrypt the line at this moment.
    """

    RATE: Final = "rate"
    EMPTY: Final = "empty"
    UNAVAILABLE: Final = "unavailable"


class Pong(Struct, array_like=True, tag="pong", frozen=True, gc=False):
    """Answers a `Ping`.

    Attributes:
        at: the time `at` of the `Ping`, unchanged.
    """

    at: int


class Refused(Struct, array_like=True, tag="refused", frozen=True):
    """Reports why the server closes the connection.

    Attributes:
        code: a value of `RefusalCode`.
        message: the cause in English.
    """

    code: str
    message: str


class RefusalCode:
    """Lists why a server refuses a client. Only after `UNAVAILABLE` and `SLOW` may a client retry without a change.

    Attributes:
        BAD_MESSAGE: the client sent a frame that is no message of this protocol, or a field is out of range.
        BAD_TOKEN: the access token or the resume token is not valid or has expired.
        NO_SUCH_MATCH: the match does not exist, or ended long ago.
        MATCH_FULL: every seat is taken.
        MATCH_OVER: the match has ended.
        RATE_LIMITED: the client sends too many frames.
        REPLACED: the same player has connected again from another place.
        SLOW: the client does not read fast enough. Today the server disconnects a slow client without a message.
        UNAVAILABLE: the server is full or drains, or a service that the server needs does not answer.
    """

    BAD_MESSAGE: Final = "bad_message"
    BAD_TOKEN: Final = "bad_token"  # noqa: S105 - a word of the protocol
    NO_SUCH_MATCH: Final = "no_such_match"
    MATCH_FULL: Final = "match_full"
    MATCH_OVER: Final = "match_over"
    RATE_LIMITED: Final = "rate_limited"
    REPLACED: Final = "replaced"
    SLOW: Final = "slow"
    UNAVAILABLE: Final = "unavailable"


ServerMessage = Welcome | Redirect | Frame | Full | Ended | Servers | ChatLine | Unsaid | Pong | Refused
PlayMessage = Input[Any] | Ping | Leave | Say
ClientMessage = Hello | PlayMessage


class InputDecoder:
    """Decodes the messages of a client that has a seat. All connections with the same type of action share a decoder.

    Args:
        action_type: the rules' `action_type`.
        binary: True for MessagePack, False for JSON.

    Attributes:
        raw: a function that decodes a frame and raises an exception of `UNDECODABLE`, not ProtocolError. The server
            calls `raw` for each input, because a call of the `InputDecoder` itself takes measurably longer.
    """

    def __init__(self, action_type: Any, *, binary: bool) -> None:
        decoder = msgspec.msgpack.Decoder if binary else msgspec.json.Decoder
        self.raw: Callable[[bytes], PlayMessage] = decoder(Input[action_type] | Ping | Leave | Say).decode

    def __call__(self, data: bytes) -> PlayMessage:
        """Decode a frame.

        Raises:
            ProtocolError: `data` is no message of this protocol, or a field is out of range.
        """
        try:
            return self.raw(data)
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None


class Codec:
    """Encodes and decodes the messages of a subprotocol. A codec has no state, so all connections share it.

    Args:
        name: name of the subprotocol.
        binary: True for MessagePack in binary frames, False for JSON in text frames.

    Attributes:
        name: name of the subprotocol.
        binary: True for MessagePack in binary frames, False for JSON in text frames.
        encode: encodes a message to bytes.
        encode_into: encodes a message into a bytearray.
    """

    def __init__(self, name: str, *, binary: bool) -> None:
        self.name = name
        self.binary = binary
        encoder: Any = msgspec.msgpack.Encoder() if binary else msgspec.json.Encoder()
        decoder: Any = msgspec.msgpack.Decoder if binary else msgspec.json.Decoder
        self.encode = encoder.encode
        self.encode_into = encoder.encode_into
        self._hello = decoder(Hello)
        self._server = decoder(ServerMessage)
        self._inputs: dict[Any, InputDecoder] = {}

    def decode_hello(self, data: bytes | bytearray | memoryview) -> Hello:
        """Decode the first message of a client.

        Raises:
            ProtocolError: `data` is no `Hello`, or a field is out of range.
        """
        try:
            return self._hello.decode(data)  # type: ignore[no-any-return]
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None

    def input_decoder(self, action_type: Any) -> InputDecoder:
        """Return the decoder for the messages of clients whose inputs contain actions of `action_type`."""
        decoder = self._inputs.get(action_type)
        if decoder is None:
            decoder = self._inputs[action_type] = InputDecoder(action_type, binary=self.binary)
        return decoder

    def decode_server(self, data: bytes | bytearray | memoryview) -> ServerMessage:
        """Decode a message of a server.

        Raises:
            ProtocolError: `data` is no message of a server.
        """
        try:
            return self._server.decode(data)  # type: ignore[no-any-return]
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None


MSGPACK: Final = Codec("mj1.msgpack", binary=True)
JSON: Final = Codec("mj1.json", binary=False)
CODECS: Final = {codec.name: codec for codec in (MSGPACK, JSON)}


def choose_codec(offered: str) -> Codec | None:
    """Return the codec of the first known subprotocol that a header `Sec-WebSocket-Protocol` offers, or None."""
    return next((CODECS[name.strip()] for name in offered.split(",") if name.strip() in CODECS), None)


def sanitise_name(raw: str, fallback: str) -> str:
    """Return the visible characters of a name, at most `MAX_NAME_LENGTH`, or `fallback` if the name has none."""
    return shorten(visible(raw), MAX_NAME_LENGTH) or fallback
