"""Defines the interface between a game and the server: `Rules` for the game itself, and `Pilot` for its bots.

A game is one Python module that assigns a class with the methods of `Rules` to the name `rules`. Each match has its own
instance of the class. The match calls the methods of the instance from one thread, and never calls a method while
another method runs. The server does not interpret the inputs, the views and the state of a game.

Every game must meet two requirements, because a match can move to another server at any tick:

* All randomness comes from `seed`.
* `load` restores exactly the state that `dump` returned.

docs/writing-a-game.md explains how to write a game. `noughts` is the example of a game by turns, and `arena` is the
example of a game in real time.
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
"""Type of the event that changes a player's score. The payload has `score` and `points`, see `PlayerScored`."""


class Rules(Protocol):
    """Describes the class of a game. An instance holds the state of one match.

    A player is identified by a slot, with `0 <= slot < seats`. The rules measure time in ticks.

    A class of rules may have the attribute `event_types`. `event_types` maps the type of each event of the game, for
    example `card.played`, to the type of the event's payload (see `gameserver.events.ReportableEvents`). Without
    `event_types`, `step` may only return events of the type `PLAYER_SCORED`.

    Attributes:
        action_type: the type of a player's input, as a type that msgspec can decode. The server refuses an input that
            does not have the type `action_type`, so `apply` never receives a refused input.

    Args:
        seed: 0 to 2^64 - 1, the only source of randomness. The same seed and the same inputs give the same match.
        seats: number of players that the mode allows.
        tick_rate_hz: ticks in one second.

    Raises:
        ValueError: the game cannot be played with this number of seats.
    """

    action_type: ClassVar[Any]

    def __init__(self, *, seed: int, seats: int, tick_rate_hz: int) -> None: ...

    def add_player(self, slot: int) -> None:
        """Add a player with score 0 at `slot`."""

    def remove_player(self, slot: int) -> None:
        """Remove a player who left the match for good.

        The server does not call `remove_player` when a player loses the connection, because the player may return.
        """

    def apply(self, slot: int, action: Any) -> None:
        """Apply an input of the player at `slot`, or ignore an input that the game forbids at this moment.

        Args:
            slot: the player's slot.
            action: the input, an instance of `action_type`.
        """

    def step(self) -> list[RuleEvent]:
        """Advance the match by one tick.

        Returns:
            The events of this tick, which the server stores. An event of an undeclared type, or with a payload of the
            wrong type, ends the match with the reason `error`.
        """

    def changes(self) -> Any:
        """Return what changed since the last call of `changes`, as a value that msgspec can encode, or None if nothing
        changed.
        """

    def view(self) -> Any:
        """Return everything that a client needs to draw the game, as a value that msgspec can encode.

        A call of `view` must not change the state of the game, nor what the next call of `changes` returns.
        """

    def scores(self) -> Mapping[int, int]:
        """Return the score of each player who is present, by slot. A score is a whole number from -2^53 to 2^53."""

    def finished(self) -> bool:
        """Return True once the game is decided, even if the time of the match is not over."""

    def replay(self, event: RuleEvent) -> None:
        """Apply the effect of an event that an earlier call of `step` returned.

        A server that takes a match over first calls `load` with the last snapshot, and then `replay` with each event
        that was stored after the last snapshot.
        """

    def dump(self) -> Any:
        """Return the complete state of the game, as a value that msgspec can encode."""

    def load(self, state: Any) -> None:
        """Replace the state of the game.

        Args:
            state: what `dump` returned, after msgspec has encoded it and decoded it without a type.

        Raises:
            ValueError, msgspec.ValidationError: `state` is not a state of this game.
        """


class Pilot(Protocol):
    """Describes the class that chooses the inputs of a bot. A rules module assigns this class to the name `pilot`.

    A pilot knows what a client knows: the values of `Rules.view` and `Rules.changes`, which msgspec has encoded and
    decoded without a type. An exception of a pilot ends the play of its bot. `mjctl health` and `mjctl loadtest` use
    bots.

    Args:
        slot: the slot of the bot's seat.
    """

    def __init__(self, slot: int) -> None: ...

    def look(self, view: Any) -> None:
        """Replace all that the pilot knows by a complete view of the game."""

    def learn(self, changes: Any) -> None:
        """Add the changes of one tick to what the pilot knows."""

    def decide(self) -> Any:
        """Return the next input, an instance of `Rules.action_type`, or None for no input.

        The bot calls `decide` after each frame that the bot receives.
        """


def load_rules(name: str) -> type[Rules]:
    """Import a rules module and return its class `rules`.

    Args:
        name: a module of this package, for example `noughts`, or the dotted path of another module.

    Raises:
        LookupError: the module does not exist, cannot be imported or defines no `rules`.
    """
    try:
        return cast("type[Rules]", _module(name).rules)
    except Exception as error:
        # The module may be a studio's own code, which can raise any exception while Python imports it.
        raise LookupError(f"no rules called {name!r}: {_cause(error)}") from error


@functools.cache
def reportable_events(rules: type[Rules]) -> ReportableEvents:
    """Return the object that checks the events of `rules`.

    Raises:
        ValueError, TypeError: `event_types` of the rules is not valid, see `ReportableEvents`.
    """
    return ReportableEvents(getattr(rules, "event_types", {}))


def load_pilot(name: str) -> type[Pilot] | None:
    """Import a rules module and return its class `pilot`.

    Args:
        name: a module of this package, for example `noughts`, or the dotted path of another module.

    Returns:
        The class, or None if the module defines no pilot or cannot be imported on this machine.
    """
    try:
        return cast("type[Pilot] | None", getattr(_module(name), "pilot", None))
    except ImportError:
        return None


def _module(name: str) -> ModuleType:
    return importlib.import_module(name if "." in name else f"{__name__}.{name}")


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
