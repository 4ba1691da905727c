"""Derives the codes by which a player proves to read the mail to an e-mail address. No code is stored.

A code is a part of an HMAC that KMS computes. The HMAC covers the purpose of the code, the account, the e-mail address,
the time, and the time of the account's last change. A second request of a player therefore gets the same code for
some time. A code stops working when the account changes, so a code that the player has used is not valid any more.
https://docs.aws.amazon.com/kms/latest/developerguide/hmac.html
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from enum import Enum

from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

DIGITS = 12
"""Number of digits of a code. The decision about codes has the probability that a stranger guesses a code."""

_GROUP = 4


class CodePurpose(Enum):
    """Names the purpose of a code. The value is the number of seconds for which a code is valid at least.

    A code is valid for at most twice this time. Cognito's own codes were valid for 24 hours and for one hour:
    https://docs.aws.amazon.com/cognito/latest/developerguide/limits.html
    """

    CONFIRMATION = 12 * 3600
    RESET = 1800


class AccountCodes:
    """Derives codes, and compares the code of a player with the code of an account.

    Args:
        settings: settings of the process. Without `code_key_arn`, no code is valid.
        aws: clients of AWS.
        clock: returns the Unix time in seconds.
    """

    def __init__(self, settings: Settings, aws: AwsClients, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._aws = aws
        self._clock = clock

    async def issue(self, purpose: CodePurpose, account_id: str, email: str, state: str = "") -> str:
        """Return the code for an account, in groups of four digits.

        Args:
            purpose: purpose of the code.
            account_id: id of the account; "" for an address without an account.
            email: e-mail address to which the code is sent.
            state: text that the use of the code changes, so that a used code is not valid any more.

        Raises:
            KeyUnavailable: KMS does not answer, or the settings name no key.
        """
        code = await self._derive(purpose, account_id, email, state, self._window(purpose))
        return " ".join(code[start : start + _GROUP] for start in range(0, DIGITS, _GROUP))

    async def fits(self, purpose: CodePurpose, account_id: str, email: str, code: str, state: str = "") -> bool:
        """Return whether `code` is the code of the current or of the previous period of time.

        Spaces and hyphens in the code do not matter. The arguments are those of `issue`.

        Raises:
            KeyUnavailable: KMS does not answer.
        """
        if not self._settings.code_key_arn:
            return False
        digits = code.translate({ord(" "): None, ord("-"): None})
        if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
            return False
        window = self._window(purpose)
        for candidate in (window, window - 1):
            expected = await self._derive(purpose, account_id, email, state, candidate)
            # The comparison takes equal time for every code, so that its duration does not show the right digits.
            if hmac.compare_digest(expected, digits):
                return True
        return False

    def _window(self, purpose: CodePurpose) -> int:
        return int(self._clock() // purpose.value)

    async def _derive(self, purpose: CodePurpose, account_id: str, email: str, state: str, window: int) -> str:
        settings = self._settings
        if not settings.code_key_arn:
            raise KeyUnavailable("GAMESERVER_CODE_KEY_ARN is not set")
        parts = [settings.project, settings.environment, purpose.name, account_id, email, state, window]
        # JSON marks the end of each part, so that no two lists of parts have an equal text.
        message = json.dumps(parts).encode()

        def generate() -> bytes:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                answer = self._aws.code_kms.generate_mac(
                    KeyId=settings.code_key_arn, MacAlgorithm="HMAC_SHA_256", Message=message
                )
            except (BotoCoreError, ClientError) as error:
                raise KeyUnavailable(f"KMS: {error_code(error) or type(error).__name__}") from error
            return answer["Mac"]

        mac = await self._aws.run(generate)
        return f"{int.from_bytes(mac, 'big') % 10**DIGITS:0{DIGITS}}"
