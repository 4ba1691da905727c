"""Envelope encryption of sensitive fields before they are stored: AES-256-GCM under data keys that KMS wraps.

A sealed value opens only in the field, item and table that it was sealed for, and only with the environment's key:

    1 byte    version, 1
    2 bytes   length of the wrapped data key, big endian
    n bytes   the data key, as KMS wrapped it
    12 bytes  nonce, random
    rest      ciphertext and tag; authenticated with it: all before the nonce, then table, item and field

Not the aws-encryption-sdk: its cache of data keys counts the encryption context as part of the key, so binding a value
to its item means a call of KMS for each item. Its messages are 393 bytes larger than the value, ours 215 with KMS'
184-byte keys, and a call takes 100 to 140 us of CPU instead of 4 (version 4.0.7, without signatures).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NewType, TypeVar

from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.settings import Settings, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")

# What `seal` returns and stores accept: a value in clear does not fit where this type is asked for.
Sealed = NewType("Sealed", bytes)

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
# KMS takes no more.
_MAX_WRAPPED_BYTES = 6144
_KEYS_KEPT = 1000
# Random nonces are safe for 2**32 uses of a key (NIST SP 800-38D, 8.3); this stays far below.
_MAX_USES = 100_000
_FOREIGN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KeyUnavailable(Exception):
    """KMS does not answer at the moment, or refuses the use of the key."""


class Undecipherable(Exception):
    """The value was altered, moved from another field, or sealed with another key. Never says what it holds."""


@dataclass(frozen=True)
class FieldContext:
    """Where a value belongs. `table` is the logical name: a restored copy of a table has another physical one."""

    table: str
    item: str
    field: str

    def encode(self) -> bytes:
        parts = (self.table.encode(), self.item.encode(), self.field.encode())
        # With lengths, or ("ab", "c") would authenticate as ("a", "bc").
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


@dataclass
class _DataKey:
    aead: AESGCM
    wrapped: bytes
    expires_at: float
    uses: int = 0


class Sealer:
    """Seals and opens values. Data keys are kept in memory, bounded by age, uses and number.

    Args:
        max_age_seconds: how long a data key is used, to seal or to open, before KMS is asked again; also the longest
            time for which values still open after the key was disabled.
        max_uses: values sealed with one data key.

    Raises:
        SettingsError: GAMESERVER_DATA_KEY_ARN is not set.
    """

    def __init__(
        self,
        settings: Settings,
        aws: AwsClients,
        *,
        max_age_seconds: float = 300.0,
        max_uses: int = _MAX_USES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not settings.data_key_arn:
            raise SettingsError("GAMESERVER_DATA_KEY_ARN must be set")
        self._arn = settings.data_key_arn
        # KMS authenticates it and CloudTrail shows it: a data key of another environment does not unwrap here.
        self._context = {"project": settings.project, "environment": settings.environment}
        self._aws = aws
        self._max_age_seconds = max_age_seconds
        self._max_uses = max_uses
        self._clock = clock
        self._sealing: _DataKey | None = None
        self._making = asyncio.Lock()
        # By wrapped key, the least recently used first.
        self._opening: OrderedDict[bytes, _DataKey] = OrderedDict()

    async def seal(self, value: str, place: FieldContext) -> Sealed:
        """Encrypt `value` for `place`.

        Raises:
            KeyUnavailable: a new data key is due and KMS did not give one.
        """
        key = await self._sealing_key()
        header = bytes([_VERSION]) + len(key.wrapped).to_bytes(2, "big") + key.wrapped
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(header + nonce + key.aead.encrypt(nonce, value.encode(), header + place.encode()))

    async def open(self, sealed: bytes, place: FieldContext) -> str:
        """Decrypt what was sealed for `place`.

        Raises:
            Undecipherable: it was altered, was sealed for another place, or with a key that is not the environment's.
            KeyUnavailable: KMS did not unwrap the data key.
        """
        from cryptography.exceptions import InvalidTag

        nonce_at = 3 + int.from_bytes(sealed[1:3], "big")
        whole = 3 < nonce_at <= 3 + _MAX_WRAPPED_BYTES and len(sealed) > nonce_at + _NONCE_BYTES
        if sealed[:1] != bytes([_VERSION]) or not whole:
            raise Undecipherable(f"{place.table}.{place.field}: not a sealed value of version {_VERSION}")
        key = await self._opening_key(sealed[3:nonce_at], place)
        nonce, ciphertext = sealed[nonce_at : nonce_at + _NONCE_BYTES], sealed[nonce_at + _NONCE_BYTES :]
        try:
            return key.aead.decrypt(nonce, ciphertext, sealed[:nonce_at] + place.encode()).decode()
        except InvalidTag:
            raise Undecipherable(f"{place.table}.{place.field}: altered, or sealed for another place") from None

    async def _sealing_key(self) -> _DataKey:
        # One at a time, or every request that finds the key too old would have KMS make another.
        async with self._making:
            key = self._sealing
            if key is None or key.uses >= self._max_uses or key.expires_at <= self._clock():
                answer = await self._kms(
                    lambda: self._aws.kms.generate_data_key(
                        KeyId=self._arn, KeySpec="AES_256", EncryptionContext=self._context
                    )
                )
                key = self._keep(answer["CiphertextBlob"], answer["Plaintext"])
                self._sealing = key
            key.uses += 1
            return key

    async def _opening_key(self, wrapped: bytes, place: FieldContext) -> _DataKey:
        key = self._opening.get(wrapped)
        if key is not None and key.expires_at > self._clock():
            self._opening.move_to_end(wrapped)
            return key
        try:
            answer = await self._kms(
                lambda: self._aws.kms.decrypt(KeyId=self._arn, CiphertextBlob=wrapped, EncryptionContext=self._context)
            )
        except KeyUnavailable as error:
            if error.__cause__ is not None and error_code(error.__cause__) in _FOREIGN:
                raise Undecipherable(f"{place.table}.{place.field}: the data key is not of this environment") from error
            raise
        if len(answer["Plaintext"]) != _KEY_BYTES:
            raise Undecipherable(f"{place.table}.{place.field}: the data key has an impossible length")
        return self._keep(wrapped, answer["Plaintext"])

    def _keep(self, wrapped: bytes, plaintext: bytes) -> _DataKey:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = _DataKey(AESGCM(plaintext), wrapped, self._clock() + self._max_age_seconds)
        self._opening[wrapped] = key
        self._opening.move_to_end(wrapped)
        if len(self._opening) > _KEYS_KEPT:
            self._opening.popitem(last=False)
        return key

    async def _kms(self, call: Callable[[], Any]) -> Any:
        def guarded() -> Any:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                return call()
            except (BotoCoreError, ClientError) as error:
                raise KeyUnavailable(f"KMS: {error_code(error) or type(error).__name__}") from error

        return await self._aws.run(guarded)
