"""The chat of the players of a match. Each chat line is limited in rate, cleaned, and encrypted before it is stored.

A chat line reaches the players once it is encrypted, and is stored as an event of the match. The text of a chat line is
never logged, and leaves this process in clear only to the players of the match.
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
    """Reports that a chat line was rejected.

    Attributes:
        reason: a value of `UnsaidReason`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Chat:
    """Checks and encrypts the chat lines of one match.

    Args:
        match_id: id of the match.
        sealer: encrypts the chat lines; None if this server has no encryption key, and therefore rejects every line.
        clock: returns the time in seconds.
    """

    def __init__(self, match_id: str, sealer: Sealer | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._match_id = match_id
        self._sealer = sealer
        self._clock = clock
        # Maps each slot to the number of lines that its player may send at once, and to the time in seconds at which
        # that number was computed.
        self._allowances: dict[int, tuple[float, float]] = {}

    def accept(self, slot: int, raw: str) -> str:
        """Return the cleaned text of a chat line, and count the line towards the player's limit.

        Args:
            slot: slot of the player who sent the line.
            raw: the text as the player sent it.

        Raises:
            NotSaid: the player has sent too many lines, or the cleaned text is empty.
        """
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
        """Encrypt a chat line for its match and player.

        Raises:
            NotSaid: the encryption key is not available at the moment.
        """
        if self._sealer is None:
            raise NotSaid(UnsaidReason.UNAVAILABLE)
        try:
            return await self._sealer.seal(text, place_of(self._match_id, player_id))
        except KeyUnavailable as error:
            log.warning("chat_unavailable", match_id=self._match_id, cause=str(error))
            raise NotSaid(UnsaidReason.UNAVAILABLE) from error


def place_of(match_id: str, player_id: str) -> FieldContext:
    """Return the place for which a chat line is encrypted. The line cannot be decrypted for another match or player."""
    return FieldContext(TABLE, f"{match_id}:{player_id}", "text")


def sanitise(raw: str) -> str:
    """Return the visible characters of `raw` as one line of at most `MAX_CHAT_LENGTH` characters; it may be empty.

    Characters that would hide the text around them, or change its direction, are removed.
    """
    return shorten(visible(raw), MAX_CHAT_LENGTH)
