"""Counting what is compared after a restore: exactly, although some records end by themselves meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mjctl.backup.digest import RecordDigest

# Longer than a restore and its comparison take; a longer one counts less, and says so.
_HORIZON_MS = 6 * 3600 * 1000

Expiry = Callable[[bytes], int | None]


@dataclass(frozen=True)
class RestoreMoment:
    """One moment for all of a restore, so that both sides of a comparison sort a record alike. Milliseconds."""

    now_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def horizon_ms(self) -> int:
        return self.now_ms + _HORIZON_MS


@dataclass
class Tally:
    """Sorts records by when they end: `expired` before we began, `expiring` soon, and `durable`, which are compared."""

    clock: RestoreMoment
    expires_at_ms: Expiry
    seen: int = 0
    expired: int = 0
    expiring: int = 0
    durable: RecordDigest = field(default_factory=RecordDigest)

    def take(self, records: Sequence[bytes]) -> list[bytes]:
        """Count these; the ones that have not expired yet."""
        living, durable = [], []
        for record in records:
            ends = self.expires_at_ms(record)
            if ends is None or ends > self.clock.horizon_ms:
                durable.append(record)
            elif ends > self.clock.now_ms:
                self.expiring += 1
            else:
                self.expired += 1
                continue
            living.append(record)
        self.seen += len(records)
        self.durable.update(durable)
        return living

    def equals(self, archive: Tally) -> bool:
        """Whether this, read at the target, is what the archive holds."""
        return self.durable == archive.durable and self.expiring <= archive.expiring


def never(_record: bytes) -> None:
    """The expiry of records that stay."""
