"""Checks at the start of a process that every mode can be played: a wrong one must not wait for its first player."""

from __future__ import annotations

from gameserver.rules import load_rules
from gameserver.settings import Settings, SettingsError


def check_modes(settings: Settings) -> None:
    """Make one world of each mode.

    Raises:
        SettingsError: the rules of a mode are not installed, or do not take its seats.
    """
    for mode in settings.modes:
        try:
            load_rules(mode.rules)(seed=0, seats=mode.seats, tick_rate_hz=settings.tick_rate_hz)
        except (LookupError, ValueError) as error:
            raise SettingsError(f"GAMESERVER_MODES: mode {mode.name!r} cannot be played: {error}") from error
