"""What a game has to provide. One file that defines `rules`, a class with the interface below, is a whole game.

The match calls it from one thread, never re-entrantly, and knows nothing of what the values mean. All randomness comes
from `seed`; `dump` and `load` must round-trip, because a match moves between servers in the middle of play.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, Final, Protocol, cast

from gameserver.events import PlayerScored, ReportableEvents
from gameserver.events import RuleEvent as RuleEvent

PLAYER_SCORED: Final = PlayerScored.TYPE
"""Type of the event that changes a player's score. Its payload has `score` and `points`, see `PlayerScored`."""


class Rules(Protocol):
    """One match's world. Slots are `0 <= slot < seats`; times are counted in ticks.

    `action_type` is a type that msgspec can decode and bound; a client's input that does not fit never gets here.

    A class may also have `event_types`, a mapping of the types of its own events to the types of their payloads, see
    `gameserver.events.ReportableEvents`. Without it `step` may report `PLAYER_SCORED` only.
    """

    action_type: ClassVar[Any]

    def __init__(self, *, seed: int, seats: int, tick_rate_hz: int) -> None: ...

    def add_player(self, slot: int) -> None:
        """A player enters at `slot`, with score 0."""

    def remove_player(self, slot: int) -> None:
        """The player left for good. A lost connection is not told: the player may come back."""

    def apply(self, slot: int, action: Any) -> None:
        """Take one input. An action that the rules forbid is ignored."""

    def step(self) -> list[RuleEvent]:
        """Advance one tick. An event that is not declared, or has a wrong payload, ends the match with an error."""

    def changes(self) -> Any:
        """What changed since the last call, as anything msgspec encodes; None if nothing did."""

    def view(self) -> Any:
        """All that a client needs to draw; does not affect `changes`."""

    def scores(self) -> Mapping[int, int]:
        """Slot -> score of the players present."""

    def finished(self) -> bool:
        """True once the game is decided before its time is up."""

    def replay(self, event: RuleEvent) -> None:
        """Take over an effect that was stored after the state given to `load` had been dumped."""

    def dump(self) -> Any:
        """The complete state, as anything msgspec encodes."""

    def load(self, state: Any) -> None:
        """Replace the state by what `dump` returned, decoded again. Raises: ValueError, msgspec.ValidationError."""


class Pilot(Protocol):
    """Plays a game as a bot, for `mjctl health` and `mjctl loadtest`: what a module may define as `pilot`.

    It sees what a client sees: `Rules.view` and `Rules.changes` as they come out of the protocol, decoded without a
    type. What it raises ends the bot's play.
    """

    def __init__(self, slot: int) -> None: ...

    def look(self, view: Any) -> None:
        """All there is; replaces what was known."""

    def learn(self, changes: Any) -> None:
        """What changed since."""

    def decide(self) -> Any:
        """What to do now, asked after each frame; None to do nothing."""


def load_rules(name: str) -> type[Rules]:
    """The rules called `name`: a module here, or a dotted module of the studio's own.

    Raises:
        LookupError: there is no such module, it cannot be imported, or it defines no `rules`.
    """
    try:
        return cast("type[Rules]", _module(name).rules)
    except Exception as error:
        # A studio's module may fail in any way while it is imported.
        raise LookupError(f"no rules called {name!r}: {_words(error)}") from error


@functools.cache
def reportable_events(rules: type[Rules]) -> ReportableEvents:
    """Return the events that these rules may report.

    Raises:
        ValueError, TypeError: their `event_types` are wrong.
    """
    return ReportableEvents(getattr(rules, "event_types", {}))


def load_pilot(name: str) -> type[Pilot] | None:
    """The pilot of the rules called `name`, or None where there is none, or no such module on this machine."""
    try:
        return cast("type[Pilot] | None", getattr(_module(name), "pilot", None))
    except ImportError:
        return None


def _module(name: str) -> ModuleType:
    return importlib.import_module(name if "." in name else f"{__name__}.{name}")


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
