"""Compares docs/protocol.md with gameserver/protocol.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from picows import WSCloseCode

from gameserver import protocol
from gameserver.protocol import ClientMessage, Hello, Input, RefusalCode, ServerMessage
from gameserver.rules.arena import Move
from gameserver.runtime.settings import Settings
from gameserver.server import connection
from gameserver.server.listener import UnjoinedLimit

DEFAULTS = Settings(project="p", environment="e", region="r")
PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
EXAMPLES = [line for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]


def _documented(heading: str) -> dict[str, list[str]]:
    return {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in _rows(heading)}


def _defined(union: Any) -> dict[str, list[str]]:
    configs = [msgspec.inspect.type_info(kind) for kind in get_args(union)]
    return {info.tag: [field.name for field in info.fields] for info in configs}  # type: ignore[attr-defined]


def test_the_page_lists_every_message_with_its_fields_in_order() -> None:
    assert _documented("Client to server") == _defined(ClientMessage)
    assert _documented("Server to client") == _defined(ServerMessage)


def test_the_page_names_the_version_and_every_subprotocol() -> None:
    assert f"\nVersion {protocol.VERSION}." in PAGE
    assert set(re.findall(r"\| `(mj\d\.\w+)`", PAGE)) == set(protocol.CODECS)


def test_the_page_lists_every_refusal_code() -> None:
    defined = {value for name, value in vars(RefusalCode).items() if name.isupper()}
    assert {row[0].strip("`") for row in _rows("Refusals and close codes")} == defined


def test_the_close_codes_of_the_page_are_those_of_the_server() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE)}
    used = (WSCloseCode.OK, WSCloseCode.POLICY_VIOLATION, WSCloseCode.SERVICE_RESTART, WSCloseCode.TRY_AGAIN_LATER)
    assert codes == {code.value for code in used}


@pytest.mark.parametrize(
    "text",
    [
        f"{protocol.MAX_CLIENT_FRAME_BYTES} bytes",
        f"{protocol.MAX_SERVER_FRAME_BYTES} bytes",
        f"| Seats of a match | {protocol.MAX_SEATS} |",
        f"cut to {protocol.MAX_NAME_LENGTH}",
        f"{protocol.MAX_INPUTS_PER_SECOND} on average, {2 * protocol.MAX_INPUTS_PER_SECOND} in one second",
        f"after {connection._DROP_ALLOWANCE} dropped frames `rate_limited`",
        f"while {connection._HIGH_WATER_BYTES // 1024} KiB wait for the client",
        f"| Time for the first message | {connection._HELLO_SECONDS:g} s |",
        f"in total | {DEFAULTS.unjoined_percent} % of the places, at least {UnjoinedLimit.of(0, 0, 0).total} |",
        f"from one address | {DEFAULTS.unjoined_per_address} |",
        f"at least {protocol.HEARTBEAT_HZ} times a second",
        f"0 to {2**32 - 1}",
        f"0 to {2**53 - 1}",
    ],
)
def test_the_page_states_every_bound(text: str) -> None:
    assert text in PAGE


@pytest.mark.parametrize("line", EXAMPLES, ids=lambda line: line[2:9])
def test_every_example_of_the_page_can_be_decoded(line: str) -> None:
    tag = msgspec.json.decode(line)[0]
    if tag == "hello":
        assert isinstance(protocol.JSON.decode_hello(line.encode()), Hello)
    elif tag in _defined(ClientMessage):
        sent = protocol.JSON.input_decoder(Move)(line.encode())
        assert not isinstance(sent, Input) or isinstance(sent.action, Move)
    else:
        received = protocol.JSON.decode_server(line.encode())
        assert msgspec.json.decode(protocol.JSON.encode(received)) == msgspec.json.decode(line)


def test_the_page_has_an_example_of_every_message() -> None:
    shown = {msgspec.json.decode(line)[0] for line in EXAMPLES}
    assert shown == {*_defined(ClientMessage), *_defined(ServerMessage)}
