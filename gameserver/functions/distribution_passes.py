"""Decides which requests have a pass of the game's own CloudFront distribution.

`mjctl deploy` writes the digests of the accepted passes into a secret, after CloudFront has the first pass. Before that
time, the secret has no value, and a process accepts requests without a pass. A deploy can therefore change a region
before the deploy changes CloudFront.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from gameserver.runtime import distribution_pass
from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.crypto import KeyUnavailable

log = structlog.get_logger()

# Age after which a process reads the secret again, so that a pass which is no longer accepted ends everywhere.
_FRESH_SECONDS = 300.0
# The first pass of an environment takes effect after this time.
_UNUSED_SECONDS = 30.0


class DistributionPasses:
    """Compares passes with the secret's digests, and reads the secret again if the process does not know a pass.

    Args:
        secret: name of the secret, or "" to accept every request.
        aws: clients of AWS.
        clock: returns a time in seconds that never goes backwards.
    """

    def __init__(self, secret: str, aws: AwsClients, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = secret
        self._aws = aws
        self._clock = clock
        self._accepted: frozenset[str] | None = None
        self._read_at = 0.0

    async def refusal(self, value: str) -> str:
        """Return why a request with the pass `value` must be refused, or "" for a request that the API must answer.

        Args:
            value: the header with the pass, or "" without the header.

        Raises:
            KeyUnavailable: Secrets Manager does not answer, and the process has never read the secret.
        """
        if not self._secret:
            return ""
        own = distribution_pass.digest(value)
        if self._accepted is None or self._age() > (_FRESH_SECONDS if self._accepted else _UNUSED_SECONDS):
            await self._read()
        if not self._accepts(own) and self._age() > distribution_pass.PAUSE_SECONDS:
            # mjctl may have replaced the passes, or may have withdrawn the requirement of a pass.
            await self._read()
        if self._accepts(own):
            return ""
        return "unknown_distribution_pass" if value else "no_distribution_pass"

    def _age(self) -> float:
        return self._clock() - self._read_at

    def _accepts(self, own: str) -> bool:
        return not self._accepted or own in self._accepted

    async def _read(self) -> None:
        """Read the secret. If Secrets Manager does not answer, keep the digests that the process has read before."""

        def get() -> str:
            # An answer without a text comes from a replica of a secret without a value.
            answer = self._aws.secrets_manager.get_secret_value(SecretId=self._secret)
            return answer.get("SecretString") or distribution_pass.encode([])

        from botocore.exceptions import BotoCoreError, ClientError

        try:
            accepted = distribution_pass.decode(await self._aws.run(get))
        except (BotoCoreError, ClientError, ValueError) as error:
            # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html: AWS answers with
            # this code if the secret has no value, and if the secret does not exist.
            if error_code(error) == "ResourceNotFoundException":
                accepted = frozenset()
            elif self._accepted is None:
                raise KeyUnavailable(f"Secrets Manager: {error_code(error) or type(error).__name__}") from error
            else:
                log.warning("distribution_passes_unreadable", cause=error_code(error) or type(error).__name__)
                accepted = self._accepted
        self._accepted, self._read_at = accepted, self._clock()
