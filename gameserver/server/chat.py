"""What the players of a match say to each other: bounded, cleaned, and sealed before anything keeps it.

A line is told to the players once it is sealed, and stored as an event like any other; its text is never logged and
leaves this process only to the match's players.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from gameserver.protocol import MAX_CHAT_LENGTH, UnsaidReason
from gameserver.runtime.crypto import FieldContext, KeyUnavailable, Sealed, Sealer
from gameserver.visible_text import shorten, visible

log = structlog.get_logger()

BURST: Final = 5
PER_SECOND: Final = 0.5
TABLE: Final = "chat_messages"


class NotSaid(Exception):
    """A line that is not told to anybody. `reason`: a word of `UnsaidReason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Chat:
    """The chat of one match.

    Args:
        sealer: None: this server has no key, so nothing may be said.
    """

    def __init__(self, match_id: str, sealer: Sealer | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._match_id = match_id
        self._sealer = sealer
        self._clock = clock
        # Slot -> lines that may be said at once, as of when.
        self._allowances: dict[int, tuple[float, float]] = {}

    def accept(self, slot: int, raw: str) -> str:
        """The text as it may be said now. Raises: NotSaid."""
        now = self._clock()
        left, then = self._allowances.get(slot, (float(BURST), now))
        left = min(float(BURST), left + (now - then) * PER_SECOND)
        if left < 1:
            raise NotSaid(UnsaidReason.RATE)
        self._allowances[slot] = (left - 1, now)
        text = sanitise(raw)
        if not text:
            raise NotSaid(UnsaidReason.EMPTY)
        return text

    async def seal(self, player_id: str, text: str) -> Sealed:
        """Raises: NotSaid, if the key cannot be had at the moment."""
        if self._sealer is None:
            raise NotSaid(UnsaidReason.UNAVAILABLE)
        try:
            return await self._sealer.seal(text, place_of(self._match_id, player_id))
        except KeyUnavailable as error:
            log.warning("chat_unavailable", match_id=self._match_id, cause=str(error))
            raise NotSaid(UnsaidReason.UNAVAILABLE) from error


def place_of(match_id: str, player_id: str) -> FieldContext:
    """Where a line belongs: it opens neither in another match nor as another player's."""
    return FieldContext(TABLE, f"{match_id}:{player_id}", "text")


def sanitise(raw: str) -> str:
    """Return visible text on one line, without what would turn or hide its neighbours; it may be empty."""
    return shorten(visible(raw), MAX_CHAT_LENGTH)
