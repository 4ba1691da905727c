"""Makes operators' passes, with which mjctl calls the API of one region on AWS.

The API answers players only through CloudFront. mjctl calls the API of a certain region by the name
`api-<region>.<domain>`, so each request of mjctl has a pass (docs/decisions/0018).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gameserver.runtime import operator_pass
from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract

LIFETIME_SECONDS = 900.0
"""Lifetime of a pass. mjctl makes a new pass after half of the lifetime."""


class OperatorPass:
    """Makes passes for the API of one region, and keeps the newest pass in memory only.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(self, contract: Contract, clients: RegionClients, *, clock: Callable[[], float] = time.time) -> None:
        self._contract = contract
        self._clients = clients
        self._clock = clock
        self._lock = asyncio.Lock()
        self._header = ""
        self._renew_at = 0.0

    async def headers(self) -> dict[str, str]:
        """Return the headers that a request to the API of the region needs: none for a region without CloudFront.

        Raises:
            PermissionDeniedError: There are no AWS credentials, or the operator may not make passes.
            UnreachableError: KMS does not answer.
        """
        if self._contract.managed is None:
            return {}
        async with self._lock:
            if self._clock() >= self._renew_at:
                self._header = await self._make()
                self._renew_at = self._clock() + LIFETIME_SECONDS / 2
            return {operator_pass.HEADER: self._header}

    async def _make(self) -> str:
        contract = self._contract
        answer = await self._clients.call(
            "kms",
            "encrypt",
            KeyId=contract.keys["data"],
            Plaintext=operator_pass.plaintext(self._clock() + LIFETIME_SECONDS),
            EncryptionContext=operator_pass.context(contract.project, contract.environment, contract.region),
        )
        return operator_pass.encode(answer["CiphertextBlob"])
