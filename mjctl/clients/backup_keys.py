"""Checks the KMS keys of backups. A backup whose KMS key is deleted or disabled cannot be restored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mjctl.clients.boto import RegionClients
from mjctl.models.backup import WrappedKey
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError

DATA_KEY = "data"
"""The contract's name for the KMS key that encrypts portable backups."""


def same_key(first: str, second: str) -> bool:
    """Return whether two key ids or ARNs name the same KMS key, or replicas of a multi-region key (`mrk-...`).

    A replica of a multi-region key decrypts data that another replica of the key encrypted:
    https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
    """
    if first == second:
        return True
    key = first.rsplit("/", 1)[-1]
    return key.startswith("mrk-") and key == second.rsplit("/", 1)[-1]


class BackupKeyring:
    """Checks the KMS keys of a region, and asks KMS about each key only once."""

    def __init__(self, contract: Contract, clients: RegionClients) -> None:
        self._contract = contract
        self._clients = clients
        self._answers: dict[str, asyncio.Future[str | None]] = {}

    async def problem(self, wrapped: Sequence[WrappedKey]) -> str | None:
        """Return why the region cannot open a portable backup, or None if it can.

        Args:
            wrapped: The backup's root key, encrypted once by each KMS key of the backup.

        Raises:
            PermissionDeniedError: AWS refused the request to KMS.
            UnreachableError: KMS did not answer.
        """
        own = self._contract.keys.get(DATA_KEY)
        if own is None or not any(same_key(key.key_id, own) for key in wrapped):
            made_for = ", ".join(f"{key.key_id} ({key.region})" for key in wrapped) or "no key"
            return f"the region no longer has the KMS key with which the backup was encrypted: {made_for}"
        return await self.key_problem(own)

    async def key_problem(self, key: str) -> str | None:
        """Return why a KMS key cannot be used, or None if it can.

        Only an enabled KMS key can decrypt data: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html

        Raises:
            PermissionDeniedError: AWS refused the request to KMS.
            UnreachableError: KMS did not answer.
        """
        if key not in self._answers:
            self._answers[key] = asyncio.ensure_future(self._ask(key))
        return await self._answers[key]

    async def _ask(self, key: str) -> str | None:
        try:
            answer = await self._clients.call("kms", "describe_key", KeyId=key)
        except NotFoundError:
            return f"its KMS key {key} does not exist"
        state = answer["KeyMetadata"]["KeyState"]
        return None if state == "Enabled" else f"its KMS key {key} cannot be used: {state}"
