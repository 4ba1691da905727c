"""Counts the records of a backup or a restored store, and separates records that may expire during the restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mjctl.backup.digest import RecordDigest

# A restore compares the content of a record only if the record never expires, or expires later than 6 hours after the
# restore began. A restore with its comparison is assumed to take less than 6 hours, so no compared record expires
# before its comparison.
_HORIZON_MS = 6 * 3600 * 1000

Expiry = Callable[[bytes], int | None]


@dataclass(frozen=True)
class RestoreMoment:
    """Holds the time that decides, in the backup and in the restored store alike, whether a record has expired.

    Attributes:
        now_ms: when the restore began, in milliseconds since the epoch.
    """

    now_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def horizon_ms(self) -> int:
        """Return the latest expiry (milliseconds since the epoch) with which a record counts as `expiring`."""
        return self.now_ms + _HORIZON_MS


@dataclass
class Tally:
    """Counts the records of a part: expired records, records that expire soon, and all other records.

    Attributes:
        clock: when the restore began, which decides whether a record has expired.
        expires_at_ms: returns the expiry of a record in milliseconds since the epoch, or None if the record does not
            expire.
        seen: number of all counted records.
        expired: number of records that expired before the restore began.
        expiring: number of records that may expire during the restore.
        durable: digest of the records that do not expire during the restore; a restore compares only these records.
    """

    clock: RestoreMoment
    expires_at_ms: Expiry
    seen: int = 0
    expired: int = 0
    expiring: int = 0
    durable: RecordDigest = field(default_factory=RecordDigest)

    def take(self, records: Sequence[bytes]) -> list[bytes]:
        """Count `records`, and return the records that had not expired when the restore began."""
        living, durable = [], []
        for record in records:
            expiry_ms = self.expires_at_ms(record)
            if expiry_ms is None or expiry_ms > self.clock.horizon_ms:
                durable.append(record)
            elif expiry_ms > self.clock.now_ms:
                self.expiring += 1
            else:
                self.expired += 1
                continue
            living.append(record)
        self.seen += len(records)
        self.durable.update(durable)
        return living

    def equals(self, archive: Tally) -> bool:
        """Return whether the records of this tally, read from a restored store, equal the records of the backup."""
        return self.durable == archive.durable and self.expiring <= archive.expiring


def never(_record: bytes) -> None:
    """Return None as the expiry of a record: rows of PostgreSQL do not expire."""
