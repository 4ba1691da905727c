"""Computes the ranking of a match."""

from __future__ import annotations

from collections.abc import Iterable

from gameserver.events import LARGEST_SCORE, PlayerResult


def ranking(scores: Iterable[tuple[str, str, int]]) -> list[PlayerResult]:
    """Rank the players of a match.

    A player who left the match and joined it again appears once, with the sum of the player's scores and the last name.

    Args:
        scores: (player id, name, score) for each seat that a player has or had, in the order in which the players
            joined.

    Returns:
        The results of the players, the highest score first. Players with equal scores have the same rank.
    """
    total: dict[str, int] = {}
    names: dict[str, str] = {}
    for player_id, name, score in scores:
        # Limit the sum of a player's scores to the largest score that the databases store exactly.
        total[player_id] = max(-LARGEST_SCORE, min(LARGEST_SCORE, total.get(player_id, 0) + score))
        names[player_id] = name
    return [
        PlayerResult(player_id, names[player_id], score, rank=1 + sum(other > score for other in total.values()))
        for player_id, score in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]
