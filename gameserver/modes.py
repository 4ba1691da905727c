"""Checks at the start of a process that every mode can be played.

If the process did not check the modes at its start, a fault of a game would stay unnoticed until its first match.
"""

from __future__ import annotations

from gameserver.protocol import CODECS
from gameserver.rules import Rules, load_rules, reportable_events
from gameserver.runtime.settings import Mode, Settings, SettingsError


def check_modes(settings: Settings) -> None:
    """Load the rules of each mode, create a game, and encode the game's view and state as a match does.

    Raises:
        SettingsError: the rules of a mode cannot be loaded, lack a method or refuse the mode's number of seats. Rules
            with a type that msgspec cannot encode, or with a declared event that cannot be stored, raise SettingsError
            too.
    """
    for mode in settings.modes:
        try:
            _check(mode, settings.tick_rate_hz)
        except Exception as error:
            # A studio's rules can raise any exception. A mode whose rules raise an exception cannot be played.
            cause = str(error) if isinstance(error, LookupError | ValueError) else f"{type(error).__name__}: {error}"
            raise SettingsError(f"GAMESERVER_MODES: mode {mode.name!r} cannot be played: {cause}") from error


def _check(mode: Mode, tick_rate_hz: int) -> None:
    rules = load_rules(mode.rules)
    missing = [name for name in _METHODS if not callable(getattr(rules, name, None))]
    if missing:
        raise LookupError(f"the class of the rules {mode.rules!r} lacks the methods {', '.join(missing)}")
    reportable_events(rules)
    world = rules(seed=0, seats=mode.seats, tick_rate_hz=tick_rate_hz)
    for codec in CODECS.values():
        codec.input_decoder(rules.action_type)
        codec.encode([world.view(), world.dump()])


_METHODS = sorted(name for name, value in vars(Rules).items() if callable(value) and not name.startswith("_"))
