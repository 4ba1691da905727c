"""Who has won."""

from __future__ import annotations

from collections.abc import Iterable

from gameserver.events import LARGEST_SCORE, PlayerResult


def ranking(scores: Iterable[tuple[str, str, int]]) -> list[PlayerResult]:
    """Players by falling score; equal scores share a rank. Whoever came back after leaving counts once, by the sum.

    Args:
        scores: player id, name and score, in the order in which they sat down.
    """
    total: dict[str, int] = {}
    names: dict[str, str] = {}
    for player_id, name, score in scores:
        # The sum must fit where each score fits.
        total[player_id] = max(-LARGEST_SCORE, min(LARGEST_SCORE, total.get(player_id, 0) + score))
        names[player_id] = name
    return [
        PlayerResult(player_id, names[player_id], score, rank=1 + sum(other > score for other in total.values()))
        for player_id, score in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]
