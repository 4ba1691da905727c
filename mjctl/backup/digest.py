"""A digest of many records that does not depend on their order: stores give them back in another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_MODULUS = 1 << 256


class RecordDigest:
    """Number of records, their bytes, and the sum of their SHA-256 modulo 2^256.

    The sum (AdHash, Bellare and Micciancio 1997) finds any record that was lost, added, doubled or changed by accident.
    It need not withstand a forger: the archive's MAC does.
    """

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0
        self._sum = 0

    def update(self, records: Iterable[bytes]) -> None:
        total = 0
        for record in records:
            total += int.from_bytes(hashlib.sha256(record).digest(), "big")
            self.records += 1
            self.bytes += len(record)
        self._sum = (self._sum + total) % _MODULUS

    def merge(self, other: RecordDigest) -> None:
        self.records += other.records
        self.bytes += other.bytes
        self._sum = (self._sum + other._sum) % _MODULUS

    def hexdigest(self) -> str:
        return f"{self._sum:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordDigest) and (self.records, self.bytes, self._sum) == (
            other.records,
            other.bytes,
            other._sum,
        )

    __hash__ = None  # type: ignore[assignment]
