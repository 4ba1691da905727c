"""Counts the records that are compared after a restore, without the records that may expire during the restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mjctl.backup.digest import RecordDigest

# Records that expire within 6 hours are not compared. A restore and its comparison take less time.
_HORIZON_MS = 6 * 3600 * 1000

Expiry = Callable[[bytes], int | None]


@dataclass(frozen=True)
class RestoreMoment:
    """Holds one time for a whole restore, so that archive and target classify a record by the same time.

    Attributes:
        now_ms: when the restore began, in milliseconds since the epoch.
    """

    now_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def horizon_ms(self) -> int:
        """Return the time (milliseconds since the epoch) until which a record counts as `expiring`."""
        return self.now_ms + _HORIZON_MS


@dataclass
class Tally:
    """Counts records by their expiry.

    Attributes:
        clock: the time of the restore.
        expires_at_ms: returns the expiry of a record in milliseconds since the epoch, or None.
        seen: number of all records.
        expired: number of records that expired before the restore began.
        expiring: number of records that may expire during the restore.
        durable: digest of all other records, which are compared.
    """

    clock: RestoreMoment
    expires_at_ms: Expiry
    seen: int = 0
    expired: int = 0
    expiring: int = 0
    durable: RecordDigest = field(default_factory=RecordDigest)

    def take(self, records: Sequence[bytes]) -> list[bytes]:
        """Count records, and return the records that have not expired."""
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
        """Return whether these records, read from the target, equal the archive's records."""
        return self.durable == archive.durable and self.expiring <= archive.expiring


def never(_record: bytes) -> None:
    """Return None: records of this kind do not expire."""
