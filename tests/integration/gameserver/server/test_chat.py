"""Tests of the chat: a line reaches the players of its match, and every store contains it only encrypted."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from gameserver.client import ApiError, GameClient
from gameserver.cluster import keys
from gameserver.persistence.database import Database
from gameserver.protocol import ChatLine, Unsaid, UnsaidReason
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import Sealer
from gameserver.server.chat import BURST, place_of

SECRET = "meet me at the north gate"


def _logged(folder: Path) -> str:
    logs = [file.read_text() for file in folder.glob("*.log")]
    assert logs
    return "".join(logs)


async def test_a_chat_line_reaches_all_players_and_is_stored_sealed(
    whole_region: Any, eventually: Any, redis_url: str, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{whole_region.port}"
    async with GameClient(url) as ada, GameClient(url) as bob:

        async def ready() -> bool:
            try:
                await ada.leaderboard()
            except ApiError as error:
                return error.status not in (0, 503)
            return True

        await eventually(ready, 60)
        players = {}
        for client, name in ((ada, "Ada"), (bob, "Bob")):
            email = f"{name.lower()}-chat@example.com"
            players[name] = await client.sign_up(email, "Correct-horse-battery-1", name)
            await client.log_in(email, "Correct-horse-battery-1")
        ticket = await ada.create_match("arena")
        speaking, listening = await ada.join(ticket), await bob.join(ticket)
        speaking.say(f"  {SECRET}\n")

        async def heard() -> bool:
            return list(listening.chat) == list(speaking.chat) == [ChatLine(speaking.info.slot, SECRET)]

        await eventually(heard)

        async def acknowledged() -> bool:
            return any(event.type == "player.chatted" for event in listening.events.values())

        await eventually(acknowledged)
        [event] = [event for event in listening.events.values() if event.type == "player.chatted"]
        assert event.payload == {"player_id": players["Ada"], "slot": speaking.info.slot}

        async with Redis.from_url(whole_region.state_url) as redis:
            entries = await redis.xrange(keys.events(ticket.match_id))
            assert not [name async for name in redis.scan_iter() if SECRET.encode() in (await redis.dump(name) or b"")]
        bodies = [json.loads(fields[b"e"]) for _, fields in entries]
        sealed_in_stream = [base64.b64decode(b["payload"]["sealed"]) for b in bodies if b["type"] == "player.chatted"]

        aws = AwsClients(whole_region.region, whole_region.aws_endpoint_url)
        database, sealer = Database(whole_region, aws), Sealer(whole_region, aws)
        rows: list[Any] = []

        async def stored() -> bool:
            async with database.connection() as connection:
                rows[:] = await connection.fetch("SELECT * FROM chat_messages WHERE match_id = $1", ticket.match_id)
            return bool(rows)

        await eventually(stored, 60)
        [row] = rows
        assert (row["sequence"], row["player_id"]) == (event.sequence, players["Ada"])
        assert SECRET.encode() not in row["sealed"]
        assert sealed_in_stream in ([], [row["sealed"]])
        assert await sealer.open(row["sealed"], place_of(ticket.match_id, players["Ada"])) == SECRET
        await database.close()
        aws.close()
    assert SECRET not in _logged(tmp_path)


async def test_a_player_who_chats_too_much_is_notified_and_keeps_playing(
    start: Any, new_match: Any, player: Any, make_settings: Any, eventually: Any
) -> None:
    settings = make_settings()
    server = await start(
        aws_endpoint_url=settings.aws_endpoint_url, data_key_arn=settings.data_key_arn, project=settings.project,
        environment=settings.environment,
    )  # fmt: skip
    spec = await new_match(server.host.identity.server_id, seconds=30.0)
    ada, bob = [await player(name).join((spec.match_id, server.host.identity.url)) for name in ("ada", "bob")]
    for number in range(BURST + 2):
        ada.say(f"line {number}")

    async def answered() -> bool:
        return len(ada.chat) == BURST + 2

    await eventually(answered)
    assert [line for line in ada.chat if isinstance(line, Unsaid)] == [Unsaid(UnsaidReason.RATE)] * 2
    lines = [ChatLine(ada.info.slot, f"line {number}") for number in range(BURST)]
    assert [line for line in ada.chat if isinstance(line, ChatLine)] == lines
    assert list(bob.chat) == lines
    assert (server.host.metrics.chat_lines, server.host.metrics.chat_unsaid) == (BURST, 2)
    assert not ada.ended.done()


async def test_a_server_without_a_key_reports_that_chat_is_unavailable(
    start: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    server = await start()
    spec = await new_match(server.host.identity.server_id, seconds=30.0)
    ada = await player("ada").join((spec.match_id, server.host.identity.url))
    ada.say("anybody?")

    async def answered() -> bool:
        return list(ada.chat) == [Unsaid(UnsaidReason.UNAVAILABLE)]

    await eventually(answered)
