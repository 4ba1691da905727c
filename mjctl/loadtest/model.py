"""Defines the plan, the counters and the report of a load test."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadPlan:
    """Describes a load test. Groups of bots play matches one after another.

    Attributes:
        run_id: id of the run, part of the bots' names.
        players: number of bots.
        duration_seconds: how long the bots play.
        mode: the mode of the matches.
        match_seconds: length of a match.
        players_per_match: number of bots in a match.
        sign_up_concurrency: number of bots that sign up at the same time.
        settle_seconds: how long to wait for the results of matches in the stores. After this time a match that is not
            in the stores counts as missing.
    """

    run_id: str
    players: int
    duration_seconds: float
    mode: str
    match_seconds: float
    players_per_match: int
    sign_up_concurrency: int = 8
    settle_seconds: float = 30.0


@dataclass(frozen=True)
class EndedMatch:
    """Describes the end of a match as its bots saw it.

    Attributes:
        match_id: id of the match.
        scores: player id -> score.
    """

    match_id: str
    scores: Mapping[str, int]


@dataclass
class LoadTally:
    """Counts what happens in one region while its bots play.

    Attributes:
        signed_up: name of a bot -> player id.
        started: ids of the matches that were created.
        ended: id of a match -> its end, for matches whose end a bot saw.
        input_to_state_ms: latency of each input in milliseconds, from sending the input to the frame that shows it.
        api_ms: name of an API call -> duration of each call in milliseconds.
        errors: text of an error -> number of its occurrences.
        throttled: number of calls that the API rejected because of too many requests, and that the bot repeated.
        frames: number of frames that the bots received.
        reconnects: number of times that a bot connected again during a match.
        playing_seconds: how long the bots played.
        interrupted: whether a signal ended the test early.
    """

    signed_up: dict[str, str] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    ended: dict[str, EndedMatch] = field(default_factory=dict)
    input_to_state_ms: list[float] = field(default_factory=list)
    api_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    throttled: int = 0
    frames: int = 0
    reconnects: int = 0
    playing_seconds: float = 0.0
    interrupted: bool = False


@dataclass(frozen=True)
class Percentiles:
    """Holds percentiles of durations in milliseconds, by the nearest-rank method. Without samples they are None."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, samples: Sequence[float]) -> Percentiles:
        """Compute the percentiles of samples in milliseconds."""
        ordered = sorted(samples)

        def rank(fraction: float) -> float | None:
            return round(ordered[max(0, math.ceil(fraction * len(ordered)) - 1)], 3) if ordered else None

        return cls(len(ordered), rank(0.50), rank(0.95), rank(0.99), rank(1.0))


@dataclass(frozen=True)
class Verification:
    """Describes how the results in PostgreSQL and DynamoDB differ from the matches that the bots played.

    Attributes:
        matches: number of matches that were checked.
        waited_seconds: time until all results were in the stores, or until the check stopped waiting.
        missing_in_database: ids of checked matches that PostgreSQL does not contain as ended.
        missing_players_in_database: `MATCH/PLAYER` for each score that PostgreSQL does not contain.
        missing_in_table: ids of checked matches that DynamoDB does not contain as ended.
        wrong_scores: ids of matches whose scores differ between the stores or from what the bots saw.
        duplicated: ids of players whose standing counts more matches than they played: an event was applied twice.
        counted_wrongly: ids of players whose standing differs in another way from the sum of their matches.
    """

    matches: int
    waited_seconds: float
    missing_in_database: tuple[str, ...] = ()
    missing_players_in_database: tuple[str, ...] = ()
    missing_in_table: tuple[str, ...] = ()
    wrong_scores: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    counted_wrongly: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the ids of matches that PostgreSQL or DynamoDB does not contain completely."""
        in_part = {item.split("/", 1)[0] for item in self.missing_players_in_database}
        return tuple(sorted({*self.missing_in_database, *self.missing_in_table, *in_part}))

    @property
    def complete(self) -> bool:
        """Return whether the stores contain all matches with the right scores and standings."""
        return not (self.missing or self.wrong_scores or self.duplicated or self.counted_wrongly)


@dataclass(frozen=True)
class LoadReport:
    """Holds the result of a load test in one region.

    Attributes:
        region: name of the region.
        plan: the plan of the test.
        tally: the counters.
        verification: the comparison with the stores; None if there was no match to compare.
    """

    region: str
    plan: LoadPlan
    tally: LoadTally
    verification: Verification | None

    @property
    def verified(self) -> bool:
        """Return whether the stores were compared with the matches, without a difference."""
        return self.verification is not None and self.verification.complete
