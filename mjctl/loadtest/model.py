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

    def to_json(self) -> dict[str, object]:
        tally = self.tally
        return {
            "run_id": self.plan.run_id,
            "mode": self.plan.mode,
            "players": len(tally.signed_up),
            "players_per_match": self.plan.players_per_match,
            "playing_seconds": round(tally.playing_seconds, 2),
            "interrupted": tally.interrupted,
            "matches": {"started": len(tally.started), "ended": len(tally.ended)},
            "input_to_state_ms": Percentiles.of(tally.input_to_state_ms),
            "frames": tally.frames,
            "reconnects": tally.reconnects,
            "throttled": tally.throttled,
            "api_ms": {name: Percentiles.of(samples) for name, samples in sorted(tally.api_ms.items())},
            "errors": dict(tally.errors),
            "verification": verification_document([self]),
        }


def verification_document(reports: Sequence[LoadReport]) -> dict[str, object]:
    """What the looks at the stores found, over all of these reports."""
    found = [report.verification for report in reports if report.verification is not None]
    return {
        "verified": bool(reports) and all(report.verified for report in reports),
        "matches": sum(one.matches for one in found),
        "waited_seconds": max((one.waited_seconds for one in found), default=0.0),
        "missing": [match_id for one in found for match_id in one.missing],
        "duplicated": [player_id for one in found for player_id in one.duplicated],
        "wrong_scores": [match_id for one in found for match_id in one.wrong_scores],
        "counted_wrongly": [player_id for one in found for player_id in one.counted_wrongly],
    }


def document(reports: Sequence[LoadReport]) -> dict[str, object]:
    """Totals over all regions, then each region by itself."""
    tallies = [report.tally for report in reports]
    return {
        "matches": {
            "started": sum(len(tally.started) for tally in tallies),
            "ended": sum(len(tally.ended) for tally in tallies),
        },
        "input_to_state_ms": Percentiles.of([sample for tally in tallies for sample in tally.input_to_state_ms]),
        "errors": sum(sum(tally.errors.values()) for tally in tallies),
        "interrupted": any(tally.interrupted for tally in tallies),
        "verification": verification_document(reports),
    }
