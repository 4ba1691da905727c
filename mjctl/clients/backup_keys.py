"""Whether the KMS key of a backup can be used: a backup whose key is gone cannot be restored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mjctl.clients.boto import RegionClients
from mjctl.models.backup import WrappedKey
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError

DATA_KEY = "data"
"""The contract's name for the key that portable backups are encrypted under."""


def same_key(one: str, other: str) -> bool:
    """Whether two key ids or ARNs name the same key, or replicas of one multi-region key (`mrk-...`).

    Replicas open each other's ciphertexts:
    https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
    """
    if one == other:
        return True
    key = one.rsplit("/", 1)[-1]
    return key.startswith("mrk-") and key == other.rsplit("/", 1)[-1]


class BackupKeyring:
    """The keys of one region, each asked for once."""

    def __init__(self, contract: Contract, clients: RegionClients) -> None:
        self._contract = contract
        self._clients = clients
        self._asked: dict[str, asyncio.Future[str | None]] = {}

    async def problem(self, wrapped: Sequence[WrappedKey]) -> str | None:
        """Say why this region cannot open a portable backup; None if it can.

        Raises:
            PermissionDeniedError, UnreachableError: KMS refused the question, or did not answer.
        """
        own = self._contract.keys.get(DATA_KEY)
        if own is None or not any(same_key(key.key_id, own) for key in wrapped):
            made_for = ", ".join(f"{key.key_id} ({key.region})" for key in wrapped) or "no key"
            return f"it was made for another key than the region has now: {made_for}"
        return await self.key_problem(own)

    async def key_problem(self, key: str) -> str | None:
        """Say why a key cannot be used; None if it can.

        Only an enabled key decrypts: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html

        Raises:
            As `problem`.
        """
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(self._ask(key))
        return await self._asked[key]

    async def _ask(self, key: str) -> str | None:
        try:
            answer = await self._clients.call("kms", "describe_key", KeyId=key)
        except NotFoundError:
            return f"its key {key} is gone"
        state = answer["KeyMetadata"]["KeyState"]
        return None if state == "Enabled" else f"its key {key} cannot be used: {state}"
