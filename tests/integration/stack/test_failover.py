"""Checks that a failover moves the players of a region to another region and back."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from gameserver.client import ApiError, GameClient
from mjctl.models.exit_codes import ExitCode

from .conftest import Operator, eventually

pytestmark = [pytest.mark.stack, pytest.mark.slow]

LEFT, OTHER = "us-east-1", "eu-west-1"


async def create_match(api: str) -> str:
    """Sign a player up, and ask the API for a match. Returns: the match's id, or the code of the refusal and the
    regions that the refusal names."""
    async with GameClient(api) as player:
        email = f"{uuid.uuid4().hex}@example.com"
        await player.sign_up(email, "a long enough Passw0rd!", "failover")
        await player.log_in(email, "a long enough Passw0rd!")
        try:
            return (await player.create_match("probe")).match_id
        except ApiError as error:
            return f"{error.code} {error.regions}"


@pytest.mark.timeout(400)
def test_players_are_sent_to_another_region_and_back(fresh: Operator) -> None:
    def api(region: str) -> str:
        return str(fresh.contract(region)["endpoints"]["api"])

    assert fresh.run("deploy", "--region", LEFT, "--auto-approve").code == ExitCode.OK
    alone = fresh.run("failover", "--region", LEFT, "--yes")
    assert alone.code == ExitCode.CONFLICT
    assert "no other region is deployed" in " ".join(alone.stderr.split())

    assert fresh.run("deploy", "--region", OTHER, "--auto-approve").code == ExitCode.OK
    dry = fresh.run("failover", "--region", LEFT, "--dry-run", "--output", "json")
    assert dry.code == ExitCode.OK, dry.stderr
    assert dry.json()["regions"][0]["elsewhere"] == [OTHER]
    assert "closed" not in asyncio.run(create_match(api(LEFT)))

    playing = fresh.start(
        "loadtest", "--region", LEFT, "--players", "2", "--duration", "8", "--mode", "sprint", "--output", "json"
    )
    running = ("servers", "list", "--region", LEFT, "--output", "json")
    eventually(
        lambda: any(server["matches"] for server in fresh.run(*running).json()["regions"][0]["servers"]),
        30,
        "a match runs",
    )
    moved = fresh.run("failover", "--region", LEFT, "--yes", "--wait", "30", "--output", "json")
    assert moved.code == ExitCode.OK, moved.stderr
    assert moved.json()["regions"][0]["traffic"] == {"matches": 0, "players": 0}
    assert {probe["status"] for probe in moved.json()["regions"][0]["probes"]} == {"pass"}
    playing.communicate(timeout=90)

    state = fresh.run("status", "--region", LEFT, "--output", "json").json()["regions"][0]
    assert (state["failed_over"], state["players_go_to"]) == (True, [OTHER])
    assert asyncio.run(create_match(api(LEFT))) == f"region_closed {{'{OTHER}': '{api(OTHER)}'}}"
    assert "closed" not in asyncio.run(create_match(api(OTHER)))
    health = fresh.run("health", "--region", LEFT, "--only", "match")
    assert health.code == ExitCode.OK
    assert "--restore" in health.stdout
    both = fresh.run("failover", "--region", OTHER, "--yes")
    assert both.code == ExitCode.CONFLICT, "the last open region must not be left"

    back = fresh.run("failover", "--region", LEFT, "--restore", "--yes")
    assert back.code == ExitCode.OK, back.stderr
    assert "closed" not in asyncio.run(create_match(api(LEFT)))
