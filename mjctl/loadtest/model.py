"""Defines the plan, the counters and the report of a load test."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadPlan:
    """Describes a load test. Each group of bots plays one match after another.

    Attributes:
        run_id: id of the load test, which is part of each bot's name.
        players: number of bots.
        duration_seconds: how many seconds the bots play.
        mode: the name of the mode of all matches.
        match_seconds: length of a match in seconds.
        players_per_match: number of bots in a match.
        sign_up_concurrency: number of bots that sign up at the same time.
        settle_seconds: the seconds after the last match in which all results must reach PostgreSQL and DynamoDB; a
            match whose result is stored later counts as missing.
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
        scores: id of a player -> the player's score in the match.
    """

    match_id: str
    scores: Mapping[str, int]


@dataclass
class LoadTally:
    """Counts what happens in one region while the bots play a load test.

    Attributes:
        signed_up: name of a bot -> player id of the bot.
        started: ids of the matches that the bots have created.
        ended: id of a match -> the end of the match as a bot saw it.
        input_to_state_ms: milliseconds from a bot's input to the first frame that acknowledges the input, for each
            measured input.
        api_ms: name of a call of the HTTP API -> duration of each such call in milliseconds.
        errors: text of an error -> number of times that the error has occurred.
        throttled: number of calls that the API rejected because of too many requests or a full region, and that a bot
            repeated.
        frames: number of frames that the bots received.
        reconnects: number of times that a bot connected again during a match.
        playing_seconds: how many seconds the bots played.
        interrupted: whether a signal ended the load test early.
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
    """Holds percentiles of durations in milliseconds, by the nearest-rank method; None without samples."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, samples: Sequence[float]) -> Percentiles:
        """Compute the percentiles of durations in milliseconds."""
        ordered = sorted(samples)

        def rank(fraction: float) -> float | None:
            return round(ordered[max(0, math.ceil(fraction * len(ordered)) - 1)], 3) if ordered else None

        return cls(len(ordered), rank(0.50), rank(0.95), rank(0.99), rank(1.0))


@dataclass(frozen=True)
class Verification:
    """Describes how the results in PostgreSQL and DynamoDB differ from the matches that the bots played.

    Attributes:
        matches: number of matches whose results were compared.
        waited_seconds: seconds until all results were stored, or until mjctl stopped waiting for results.
        missing_in_database: ids of the played matches that are missing in PostgreSQL or have not ended there.
        missing_players_in_database: `MATCH/PLAYER` for each player whose score in a match is missing in PostgreSQL.
        missing_in_table: ids of the played matches that are missing in DynamoDB or have not ended there.
        wrong_scores: ids of matches whose scores differ between PostgreSQL, DynamoDB and the bots' view.
        duplicated: ids of players whose standing counts more matches than the player played, because an event was
            applied twice.
        counted_wrongly: ids of players whose standing counts too few matches or a wrong sum of scores.
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
        """Return the ids of matches that are missing in PostgreSQL or DynamoDB, wholly or in part."""
        in_part = {item.split("/", 1)[0] for item in self.missing_players_in_database}
        return tuple(sorted({*self.missing_in_database, *self.missing_in_table, *in_part}))

    @property
    def complete(self) -> bool:
        """Return True if PostgreSQL and DynamoDB contain all matches with the right scores and standings."""
        return not (self.missing or self.wrong_scores or self.duplicated or self.counted_wrongly)


@dataclass(frozen=True)
class LoadReport:
    """Holds the result of a load test in one region.

    Attributes:
        region: name of the region.
        plan: the plan of the load test.
        tally: the counters.
        verification: the comparison of the stored results with the played matches; None without a match to compare.
    """

    region: str
    plan: LoadPlan
    tally: LoadTally
    verification: Verification | None

    @property
    def verified(self) -> bool:
        """Return True if the stored results were compared with the played matches, without a difference."""
        return self.verification is not None and self.verification.complete
