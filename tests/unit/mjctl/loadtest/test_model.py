from __future__ import annotations

import pytest

from mjctl.loadtest.model import Percentiles, Verification


def test_percentiles_use_the_nearest_rank() -> None:
    assert Percentiles.of([float(n) for n in range(100, 0, -1)]) == Percentiles(100, 50.0, 95.0, 99.0, 100.0)
    assert Percentiles.of([7.0]) == Percentiles(1, 7.0, 7.0, 7.0, 7.0)
    assert Percentiles.of([]) == Percentiles(0, None, None, None, None)


@pytest.mark.parametrize(
    "gap",
    [
        "missing_in_database",
        "missing_players_in_database",
        "missing_in_table",
        "wrong_scores",
        "duplicated",
        "counted_wrongly",
    ],
)
def test_a_verification_with_any_difference_is_not_complete(gap: str) -> None:
    assert Verification(matches=1, waited_seconds=0).complete
    assert not Verification(matches=1, waited_seconds=0, **{gap: ("m",)}).complete
