"""Refuses requests that did not come through the game's own distribution, unless they have an operator's pass.

API Gateway's HTTP APIs support no firewall, so the names `api.<domain>` and `api-<region>.<domain>` would let strangers
go round the firewall of CloudFront (docs/decisions/0018). CloudFront's networks serve the distributions of all its
customers, so a request from these networks needs the pass of the game's own distribution (docs/decisions/0021).
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping

import structlog

from gameserver.functions.distribution_passes import DistributionPasses
from gameserver.functions.http import HttpError
from gameserver.functions.rate_limit import RateLimit
from gameserver.functions.viewer import is_from_edge
from gameserver.runtime import distribution_pass, operator_pass
from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

log = structlog.get_logger()

_PASSES_KEPT = 100
# KMS's answers to a text that was not encrypted with the key and the encryption context of a pass:
# https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
_FORGED = frozenset({"IncorrectKeyException", "InvalidCiphertextException", "ValidationException"})


class DirectCalls:
    """Admits requests of the game's own distribution, and requests with an operator's pass from every other address.

    A stranger gets the same answer for a missing and for a forged pass. Only the holder of a genuine pass
    learns from the answer that the pass has expired. The log names the cause of each refusal.

    Args:
        settings: settings of the process. Without `edge_networks`, every request is admitted.
        aws: clients of AWS.
    """

    def __init__(self, settings: Settings, aws: AwsClients) -> None:
        self._settings = settings
        self._aws = aws
        self._context = operator_pass.context(settings.project, settings.environment, settings.region)
        # SHA-256 of a genuine pass -> its expiry. The first pass is the oldest.
        self._genuine: OrderedDict[bytes, float] = OrderedDict()
        # Strangers must not make the function call KMS for each request.
        self._unknown_by_peer = RateLimit("unknown_passes_by_peer", per_second=1, burst=20, max_keys=10_000)
        self._distribution_passes = DistributionPasses(settings.distribution_passes, aws)

    async def admit(self, peer: str, headers: Mapping[str, str]) -> None:
        """Admit a request, or refuse the request.

        Args:
            peer: address of the TCP peer of API Gateway.
            headers: headers of the request, with names in lower case.

        Raises:
            HttpError: 403 for a request without a valid pass, 429 if the peer has sent too many unknown passes.
            KeyUnavailable: KMS or Secrets Manager does not answer.
        """
        if not self._settings.edge_networks:
            return
        if is_from_edge(peer, self._settings.edge_networks):
            cause = await self._distribution_passes.refusal(headers.get(distribution_pass.HEADER, ""))
            if cause:
                raise _refused(cause)
            return
        header = headers.get(operator_pass.HEADER, "")
        if not header:
            raise _refused("missing")
        digest = hashlib.sha256(header.encode()).digest()
        expires_at = self._genuine.get(digest)
        if expires_at is None:
            await self._unknown_by_peer.take(peer)
            expires_at = await self._expiry(header)
            self._genuine[digest] = expires_at
            if len(self._genuine) > _PASSES_KEPT:
                self._genuine.popitem(last=False)
        now = time.time()
        if now >= expires_at:
            raise HttpError(403, "operator_pass_expired", "the operator's pass of this request has expired")
        if expires_at > now + operator_pass.LONGEST_SECONDS:
            raise _refused("too_long")

    async def _expiry(self, header: str) -> float:
        """Return the expiry of a genuine pass.

        Raises:
            HttpError: 403 if the pass is forged.
            KeyUnavailable: KMS does not answer, or the process has no key.
        """
        try:
            encrypted = operator_pass.decode(header)
        except ValueError:
            raise _refused("malformed") from None

        def decrypt() -> bytes:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                answer = self._aws.kms.decrypt(
                    CiphertextBlob=encrypted, KeyId=self._settings.data_key_arn, EncryptionContext=self._context
                )
            except (BotoCoreError, ClientError) as error:
                if error_code(error) in _FORGED:
                    raise _refused("forged") from None
                raise KeyUnavailable(f"KMS: {error_code(error) or type(error).__name__}") from error
            return answer["Plaintext"]

        try:
            return operator_pass.expiry(await self._aws.run(decrypt))
        except ValueError:
            raise _refused("malformed") from None


def _refused(cause: str) -> HttpError:
    log.info("direct_call_refused", cause=cause)
    return HttpError(403, "forbidden", "the request is not allowed")
