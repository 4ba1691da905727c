"""What a load test is asked to do, what it counts while it runs, and what it says in the end."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadPlan:
    """`players` bots in groups of `players_per_match` play matches of `mode` back to back for `duration_seconds`."""

    run_id: str
    players: int
    duration_seconds: float
    mode: str
    match_seconds: float
    players_per_match: int
    sign_up_concurrency: int = 8
    settle_seconds: float = 30.0
    """How long the queue may take to drain before an ended match that is not found counts as missing."""


@dataclass(frozen=True)
class EndedMatch:
    """A match as its players saw it end: `scores` by player id."""

    match_id: str
    scores: Mapping[str, int]


@dataclass
class LoadTally:
    """Counted while the bots play; one for each region."""

    signed_up: dict[str, str] = field(default_factory=dict)
    """Player id by bot name."""
    started: set[str] = field(default_factory=set)
    ended: dict[str, EndedMatch] = field(default_factory=dict)
    input_to_state_ms: list[float] = field(default_factory=list)
    api_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    throttled: int = 0
    """Calls that the API put off with 429 and that were made again."""
    frames: int = 0
    reconnects: int = 0
    playing_seconds: float = 0.0
    interrupted: bool = False


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds, by nearest rank; all None without samples."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, samples: Sequence[float]) -> Percentiles:
        ordered = sorted(samples)

        def rank(fraction: float) -> float | None:
            return round(ordered[max(0, math.ceil(fraction * len(ordered)) - 1)], 3) if ordered else None

        return cls(len(ordered), rank(0.50), rank(0.95), rank(0.99), rank(1.0))


@dataclass(frozen=True)
class Verification:
    """What the look at PostgreSQL and DynamoDB found; lists hold match ids, or player ids where they say so.

    `waited_seconds`: until everything was found, or until the wait was given up.
    """

    matches: int
    waited_seconds: float
    missing_in_database: tuple[str, ...] = ()
    missing_players_in_database: tuple[str, ...] = ()
    missing_in_table: tuple[str, ...] = ()
    wrong_scores: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    """Players for whom more matches were counted than they played: an event was applied twice."""
    counted_wrongly: tuple[str, ...] = ()
    """Players whose standing is otherwise not the sum of their matches."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Matches that are not whole in both stores."""
        in_part = {item.split("/", 1)[0] for item in self.missing_players_in_database}
        return tuple(sorted({*self.missing_in_database, *self.missing_in_table, *in_part}))

    @property
    def complete(self) -> bool:
        return not (self.missing or self.wrong_scores or self.duplicated or self.counted_wrongly)


@dataclass(frozen=True)
class LoadReport:
    """The result of one region."""

    region: str
    plan: LoadPlan
    tally: LoadTally
    verification: Verification | None
    """None when the test was interrupted before anything had ended."""

    @property
    def verified(self) -> bool:
        return self.verification is not None and self.verification.complete
