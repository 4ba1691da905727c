"""Tests the decoders of the protocol with valid, malicious and random input."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.protocol import (
    CODECS,
    JSON,
    MAX_NAME_LENGTH,
    MSGPACK,
    Codec,
    Ended,
    Event,
    Frame,
    Full,
    Hello,
    Input,
    Leave,
    MatchInfo,
    Ping,
    PlayerInfo,
    Pong,
    ProtocolError,
    Redirect,
    Refused,
    Servers,
    Welcome,
    choose_codec,
    sanitise_name,
)
from gameserver.rules.arena import Move

BOTH = pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=lambda codec: codec.name)

numbers = st.integers(min_value=0, max_value=2**32 - 1)
axes = st.floats(min_value=-1, max_value=1)
match_ids = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
inputs = st.builds(Input, numbers, st.builds(Move, axes, axes))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@BOTH
@given(message=inputs | st.builds(Ping, numbers) | st.just(Leave()))
def test_a_client_message_is_decoded_as_it_was_encoded(codec: Codec, message: Any) -> None:
    assert codec.input_decoder(Move)(codec.encode(message)) == message


@BOTH
@given(match_id=match_ids, token=st.text(max_size=4096), name=st.text(max_size=128), resume=st.text(max_size=64))
def test_a_hello_is_decoded_as_it_was_encoded(codec: Codec, match_id: str, token: str, name: str, resume: str) -> None:
    hello = Hello(match_id, token, name, resume)
    assert codec.decode_hello(codec.encode(hello)) == hello


@BOTH
@given(data=st.binary(max_size=512))
def test_random_bytes_are_a_message_or_a_protocol_error(codec: Codec, data: bytes) -> None:
    _decodes_or_refuses(codec, data)


@given(value=anything)
def test_random_structures_are_a_message_or_a_protocol_error(value: Any) -> None:
    _decodes_or_refuses(MSGPACK, msgspec.msgpack.encode(value))


@given(message=inputs, position=st.integers(0, 40), byte=st.integers(0, 255))
def test_a_damaged_input_never_exceeds_the_limits(message: Any, position: int, byte: int) -> None:
    data = bytearray(MSGPACK.encode(message))
    data[position % len(data)] = byte
    try:
        decoded = MSGPACK.input_decoder(Move)(data)
    except ProtocolError:
        return
    if isinstance(decoded, Input):
        assert 0 <= decoded.sequence < 2**32
        assert -1 <= decoded.action.x <= 1
        assert -1 <= decoded.action.y <= 1


def _decodes_or_refuses(codec: Codec, data: bytes) -> None:
    for decode in (codec.decode_hello, codec.input_decoder(Move), codec.decode_server):
        with contextlib.suppress(ProtocolError):
            decode(data)


@pytest.mark.parametrize(
    "value",
    [
        ["i", -1, [0.0, 0.0]],
        ["i", 2**32, [0.0, 0.0]],
        ["i", 1, [float("nan"), 0.0]],
        ["i", 1, [float("inf"), 0.0]],
        ["i", 1, [1.01, 0.0]],
        ["i", 1, [0.0]],
        ["i", 1],
        ["i"],
        [],
        ["nothing"],
        ["ping", -1],
        {"i": 1},
        None,
    ],
)
def test_an_input_outside_its_limits_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        MSGPACK.input_decoder(Move)(msgspec.msgpack.encode(value))


@pytest.mark.parametrize(
    "value",
    [
        ["hello", ""],
        ["hello", "a" * 65],
        ["hello", "match\n"],
        ["hello", "../spec"],
        ["hello", "{m:x}"],
        ["hello", "m", "t" * 4097],
        ["hello", "m", "", "n" * 129],
        ["hello", "m", "", "", "r" * 65],
        ["i", 1, [0.0, 0.0]],
    ],
)
def test_a_hello_outside_its_limits_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        MSGPACK.decode_hello(msgspec.msgpack.encode(value))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        JSON.input_decoder(Any)(b'["i",1,' + b"[" * 100_000)


@BOTH
@pytest.mark.parametrize(
    "message",
    [
        Welcome(
            MatchInfo("m", "arena", "arena", "s", 0, "p", "r", 20, 100, 4, [PlayerInfo(0, "p", "Ada")]), 3, {"a": 1}, 7
        ),
        Redirect("ws://127.0.0.1:1/", "drain"),
        Frame(1, [0, 5], [[0, 1, 2]], [Event(1, "player.scored", {"score": 3})]),
        Full(1, [PlayerInfo(0, "p", "Ada", False)], {"field": 10}, [0, 1]),
        Ended({"players": []}),
        Servers(["ws://127.0.0.1:1/"]),
        Pong(5),
        Refused("bad_token", "no"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_server_message_is_decoded_as_it_was_encoded(codec: Codec, message: Any) -> None:
    assert codec.decode_server(codec.encode(message)) == message


def test_a_newer_peer_may_add_fields_at_the_end() -> None:
    assert MSGPACK.decode_server(msgspec.msgpack.encode(["pong", 5, "added later"])) == Pong(5)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("mj1.json, mj1.msgpack", JSON), ("other,mj1.msgpack", MSGPACK), ("", None), ("MJ1.JSON", None)],
)
def test_the_clients_first_known_subprotocol_is_chosen(offered: str, chosen: Codec | None) -> None:
    assert choose_codec(offered) is chosen
    assert {codec.name for codec in CODECS.values()} == set(CODECS)


@given(st.text(max_size=200))
def test_a_name_is_short_and_printable(raw: str) -> None:
    name = sanitise_name(raw, "player-1")
    assert 0 < len(name) <= MAX_NAME_LENGTH
    assert name.replace("\u200d", "").isprintable()
    assert name == name.strip()
    assert sanitise_name(name, "player-1") == name


def test_control_and_bidirectional_characters_are_removed_from_a_name() -> None:
    assert sanitise_name("\u202eA\x00d\u200b  a\n", "x") == "Ad a"
    assert sanitise_name("\u202e\x00", "player-1") == "player-1"
