"""Tests that an operator can follow a player through the log by ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _players(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["event"].startswith("player_")]


async def test_players_are_followed_by_ids_and_nothing_personal(
    spawn: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    server = await spawn()
    spec = await new_match(server.settings.server_id, seconds=60.0)
    place = (spec.match_id, f"ws://127.0.0.1:{server.settings.port}")
    ada, bob = player("ada-id"), player("bob-id")
    coming = await ada.join(place, name="Ada Lovelace")
    leaving = await bob.join(place, name="Bob")
    # The connection breaks, and the client reconnects automatically, perhaps before the server notices the break.
    coming._listener.drop()

    async def followed(*expected: tuple[str, str, bool]) -> bool:
        return sorted((line["event"], line["player_id"], line["left"]) for line in _players(server.log)) == sorted(
            expected
        )

    come = [("player_joined", "ada-id", False), ("player_joined", "bob-id", False)]
    back = [("player_disconnected", "ada-id", False), ("player_resumed", "ada-id", False)]
    await eventually(lambda: followed(*come, *back))
    coming.say("for your ears only")
    await leaving.leave()
    await eventually(lambda: followed(*come, *back, ("player_disconnected", "bob-id", True)))
    assert {line["match_id"] for line in _players(server.log)} == {spec.match_id}
    text = server.log.read_text()
    for personal in ("Lovelace", "for your ears", ada.access_token, coming.info.resume):
        assert personal not in text
