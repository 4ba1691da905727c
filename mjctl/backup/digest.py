"""Computes a digest of many records.

The digest must not depend on the order of the records, because stores return records in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_MODULUS = 1 << 256


class RecordDigest:
    """Counts records and adds up their SHA-256 values modulo 2^256.

    The sum of the SHA-256 values (AdHash, Bellare and Micciancio 1997) shows whether a record was lost, added,
    duplicated or changed by accident. The sum does not show a forged record: the manifest's signature and the chunks'
    encryption do.

    Attributes:
        records: number of records in the digest.
        bytes: total size of the records in bytes.
    """

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0
        self._sum = 0

    def update(self, records: Iterable[bytes]) -> None:
        """Add records to the digest."""
        total = 0
        for record in records:
            total += int.from_bytes(hashlib.sha256(record).digest(), "big")
            self.records += 1
            self.bytes += len(record)
        self._sum = (self._sum + total) % _MODULUS

    def merge(self, other: RecordDigest) -> None:
        """Add the records that another digest has counted."""
        self.records += other.records
        self.bytes += other.bytes
        self._sum = (self._sum + other._sum) % _MODULUS

    def hexdigest(self) -> str:
        """Return the sum of the records' SHA-256 values as 64 hexadecimal digits."""
        return f"{self._sum:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordDigest) and (self.records, self.bytes, self._sum) == (
            other.records,
            other.bytes,
            other._sum,
        )

    __hash__ = None  # type: ignore[assignment]
