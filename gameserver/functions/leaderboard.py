"""Answers with the players who have the highest total scores."""

from __future__ import annotations

from typing import Any

from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.services import LEADERBOARD_KEY, LEADERBOARD_NAMESPACE, Services
from gameserver.runtime.auth import default_name

_LONGEST = 100
_DEFAULT = 10


async def get_leaderboard(request: Request, services: Services) -> Response:
    """Answer `GET /v1/leaderboard?limit=10`: 200 {entries: [{rank, player_id, display_name, total_score, wins}]}.

    Raises:
        HttpError: 400 if `limit` is no number from 1 to 100.
    """
    raw = request.query.get("limit", str(_DEFAULT))
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 3 and 1 <= int(raw) <= _LONGEST):
        raise HttpError(400, "invalid_request", f"limit must be a number from 1 to {_LONGEST}")

    async def load() -> list[dict[str, Any]]:
        leaders = await services.results.leaders(_LONGEST)
        names = await services.tables.display_names(player_id for player_id, _ in leaders)
        return [
            {
                "rank": rank,
                "player_id": player_id,
                "display_name": names.get(player_id) or default_name(player_id),
                "total_score": stats.total_score,
                "wins": stats.wins,
            }
            for rank, (player_id, stats) in enumerate(leaders, start=1)
        ]

    # Requests with different values of `limit` share one key of the cache, which contains the best 100 players. An
    # invalidation of the leaderboard's key therefore covers every `limit`.
    entries = await services.cache.get_or_load(LEADERBOARD_NAMESPACE, LEADERBOARD_KEY, load)
    return Response(200, {"entries": entries[: int(raw)]})
