"""A player's own profile: the name from DynamoDB, the standing from PostgreSQL, both read through the cache."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gameserver.auth import default_name
from gameserver.functions.http import Request, Response, clean_display_name
from gameserver.functions.services import LEADERBOARD_KEY, LEADERBOARD_NAMESPACE, PROFILE_NAMESPACE, Services


class ChangeProfile(msgspec.Struct):
    display_name: Annotated[str, Meta(max_length=100)]


async def get_profile(request: Request, services: Services) -> Response:
    """GET /v1/profile -> 200 {player_id, display_name, matches, wins, total_score, best_score}."""
    return Response(200, await _read(services, request.player_id))


async def put_profile(request: Request, services: Services) -> Response:
    """PUT /v1/profile {display_name} -> 200, as GET."""
    name = clean_display_name(request.json(ChangeProfile).display_name)
    await services.tables.set_display_name(request.player_id, name)
    await services.cache.invalidate(PROFILE_NAMESPACE, request.player_id)
    await services.cache.invalidate(LEADERBOARD_NAMESPACE, LEADERBOARD_KEY)
    return Response(200, await _read(services, request.player_id))


async def _read(services: Services, player_id: str) -> Any:
    async def load() -> dict[str, Any]:
        names, stats = await asyncio.gather(
            services.tables.display_names([player_id]), services.results.stats(player_id)
        )
        name = names.get(player_id) or default_name(player_id)
        return {"player_id": player_id, "display_name": name, **asdict(stats)}

    return await services.cache.get_or_load(PROFILE_NAMESPACE, player_id, load)
