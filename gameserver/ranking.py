"""Computes the ranking of a match."""

from __future__ import annotations

from collections.abc import Iterable

from gameserver.events import LARGEST_SCORE, PlayerResult


def ranking(scores: Iterable[tuple[str, str, int]]) -> list[PlayerResult]:
    """Rank the players of a match.

    A player who left and joined again appears once, with the sum of the scores and the last name.

    Args:
        scores: player id, name and score of each seat, in the order in which the players joined.

    Returns:
        The players, the highest score first. Players with equal scores have the same rank.
    """
    total: dict[str, int] = {}
    names: dict[str, str] = {}
    for player_id, name, score in scores:
        # Limit the sum to the largest score that a database can store.
        total[player_id] = max(-LARGEST_SCORE, min(LARGEST_SCORE, total.get(player_id, 0) + score))
        names[player_id] = name
    return [
        PlayerResult(player_id, names[player_id], score, rank=1 + sum(other > score for other in total.values()))
        for player_id, score in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]
