"""Who has won."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def ranking(scores: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Players by falling score; equal scores share a rank. Whoever came back after leaving counts once, by the sum.

    Args:
        scores: player id, name and score, in the order in which they sat down.
    """
    total: dict[str, int] = {}
    names: dict[str, str] = {}
    for player_id, name, score in scores:
        total[player_id] = total.get(player_id, 0) + score
        names[player_id] = name
    return [
        {
            "player_id": player_id,
            "display_name": names[player_id],
            "score": score,
            "rank": 1 + sum(other > score for other in total.values()),
        }
        for player_id, score in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]
