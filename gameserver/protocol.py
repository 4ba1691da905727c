"""The real-time protocol, version 1, without I/O: message types, their limits, and one codec for each subprotocol.

A message is an array whose first element is its type, followed by its fields in the order of the classes below.
`mj1.msgpack` carries it as MessagePack in binary frames, `mj1.json` as JSON in text frames (for people and debuggers).
A field may only ever be added at the end, with a default: older peers ignore it, newer ones supply it.

The conversation: the client sends `Hello`; the server answers `Welcome`, `Redirect` or `Refused`. Then the client
sends `Input`s, the server one `Frame` for each tick in which something changed (and at least `HEARTBEAT_HZ` a second),
a `Full` now and then, both with the `Event`s that have been stored for good since the last one, and `Ended` at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from gameserver.visible_text import shorten, visible

VERSION: Final = 1

MAX_CLIENT_FRAME_BYTES: Final = 6 * 1024
"""Largest frame a client may send: a `Hello` with an access token of 4 KiB fits, nothing bigger is ever needed."""

MAX_SERVER_FRAME_BYTES: Final = 256 * 1024
"""Largest frame a client must accept: the `Welcome` of a match with `MAX_SEATS` seats fits many times over."""

MAX_SEATS: Final = 256
MAX_NAME_LENGTH: Final = 32
MAX_INPUTS_PER_SECOND: Final = 60
"""Messages a client may send on average; a burst of twice as many is tolerated, more is dropped and then refused."""

MAX_CHAT_LENGTH: Final = 200

HEARTBEAT_HZ: Final = 2

MatchId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
Token = Annotated[str, Meta(max_length=4096)]
ResumeToken = Annotated[str, Meta(max_length=64)]
RawName = Annotated[str, Meta(max_length=4 * MAX_NAME_LENGTH)]
RawChat = Annotated[str, Meta(max_length=4 * MAX_CHAT_LENGTH)]
Sequence = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Timestamp = Annotated[int, Meta(ge=0, le=2**53 - 1)]

Action = TypeVar("Action")


UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a codec's decoders raise for data from outside."""


class ProtocolError(Exception):
    """A frame that is no message of this protocol; the text is safe to send back."""


def reason(error: Exception) -> str:
    """What is wrong with a frame, in words that are safe to send back."""
    return str(error)[:200]


# Client to server


class Hello(Struct, array_like=True, tag="hello", frozen=True):
    """First message. `token`: access token (JWT); `resume`: from an earlier `Welcome`, then `token` may be empty."""

    match_id: MatchId
    token: Token = ""
    name: RawName = ""
    resume: ResumeToken = ""


class Input(Struct, Generic[Action], array_like=True, tag="i", frozen=True, gc=False):
    """What the player does. `sequence` rises by one with each input; the rules of the match define `action`."""

    sequence: Sequence
    action: Action


class Ping(Struct, array_like=True, tag="ping", frozen=True, gc=False):
    """Answered by a `Pong` with the same `at`, whatever clock the client took it from."""

    at: Timestamp


class Leave(Struct, array_like=True, tag="leave", frozen=True, gc=False):
    """The player gives up the seat for good; the score counts."""


class Say(Struct, array_like=True, tag="say", frozen=True, gc=False):
    """Something to say to the other players. Answered by a `ChatLine` to all of them, or an `Unsaid`."""

    text: RawChat


# Server to client


class PlayerInfo(Struct, frozen=True):
    """Who sits in `slot`."""

    slot: int
    player_id: str
    name: str
    connected: bool = True


class MatchInfo(Struct, frozen=True):
    """All a client needs to know at the start. `alternates`: URLs of other servers to try when this one is gone."""

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
    """The seat is taken and stored. `state`: the rules' full view at `tick`; `sequence`: last input known of it."""

    match: MatchInfo
    tick: int
    state: Any = None
    sequence: int = 0


class Redirect(Struct, array_like=True, tag="redirect", frozen=True):
    """Play goes on at `url` (empty: ask again, here or through the API). `reason`: `owner`, `drain` or `moved`."""

    url: str
    reason: str = "owner"


class Event(Struct, array_like=True, frozen=True):
    """Something that has been stored and will not be lost, whatever server dies next."""

    sequence: int
    type: str
    payload: Any = None


class Frame(Struct, array_like=True, tag="f", frozen=True):
    """One tick. `acks`: slot, sequence, slot, sequence, ... of the inputs that this frame is the first to show."""

    tick: int
    acks: list[int]
    changes: Any = None
    events: list[Event] = []


class Full(Struct, array_like=True, tag="full", frozen=True):
    """Everything, for a client that missed frames; sent to all now and then in place of a `Frame`."""

    tick: int
    players: list[PlayerInfo]
    state: Any = None
    acks: list[int] = []
    events: list[Event] = []


class Ended(Struct, array_like=True, tag="ended", frozen=True):
    """The stored result: the payload of `match.ended`."""

    result: Any


class Servers(Struct, array_like=True, tag="servers", frozen=True):
    """Where to go if this server dies: replaces `MatchInfo.alternates` of the welcome."""

    alternates: list[str]


class ChatLine(Struct, array_like=True, tag="chat", frozen=True, gc=False):
    """What the player in `slot` says: cleaned, one line of at most `MAX_CHAT_LENGTH` characters."""

    slot: int
    text: str


class Unsaid(Struct, array_like=True, tag="unsaid", frozen=True, gc=False):
    """The player's last `Say` was told to nobody. `reason`: a word of `UnsaidReason`."""

    reason: str


class UnsaidReason:
    RATE: Final = "rate"
    EMPTY: Final = "empty"
    UNAVAILABLE: Final = "unavailable"


class Pong(Struct, array_like=True, tag="pong", frozen=True, gc=False):
    at: int


class Refused(Struct, array_like=True, tag="refused", frozen=True):
    """The server closes after this. `code`: a word of `RefusalCode`."""

    code: str
    message: str


class RefusalCode:
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
    """Decodes what a seated client sends; built once for each rules' action type, shared by all its connections.

    Attributes:
        raw: the same, but raises one of `UNDECODABLE`: for the server's hot path, where one more call is felt.
    """

    def __init__(self, action_type: Any, *, binary: bool) -> None:
        decoder = msgspec.msgpack.Decoder if binary else msgspec.json.Decoder
        self.raw: Callable[[bytes], PlayMessage] = decoder(Input[action_type] | Ping | Leave | Say).decode

    def __call__(self, data: bytes) -> PlayMessage:
        """Raises: ProtocolError for anything else than one well-formed message within its limits."""
        try:
            return self.raw(data)
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None


class Codec:
    """One subprotocol. `binary` tells the WebSocket frame type; encoders and decoders are stateless and shared."""

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
        """Raises: ProtocolError if `data` is not a `Hello` within its limits."""
        try:
            return self._hello.decode(data)  # type: ignore[no-any-return]
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None

    def input_decoder(self, action_type: Any) -> InputDecoder:
        decoder = self._inputs.get(action_type)
        if decoder is None:
            decoder = self._inputs[action_type] = InputDecoder(action_type, binary=self.binary)
        return decoder

    def decode_server(self, data: bytes | bytearray | memoryview) -> ServerMessage:
        """Raises: ProtocolError if `data` is no server message."""
        try:
            return self._server.decode(data)  # type: ignore[no-any-return]
        except UNDECODABLE as error:
            raise ProtocolError(reason(error)) from None


MSGPACK: Final = Codec("mj1.msgpack", binary=True)
JSON: Final = Codec("mj1.json", binary=False)
CODECS: Final = {codec.name: codec for codec in (MSGPACK, JSON)}


def choose_codec(offered: str) -> Codec | None:
    """The first known subprotocol of a `Sec-WebSocket-Protocol` header, in the client's order, or None."""
    return next((CODECS[name.strip()] for name in offered.split(",") if name.strip() in CODECS), None)


def sanitise_name(raw: str, fallback: str) -> str:
    """Return a visible display name of at most `MAX_NAME_LENGTH` characters; `fallback` if nothing visible is left."""
    return shorten(visible(raw), MAX_NAME_LENGTH) or fallback
