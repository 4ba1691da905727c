"""Checks a new password against the policy of the user pool, before a function looks for the account.

Cognito checks a password only when it creates or changes an account. The answer to a sign-up with a weak password would
therefore show whether the e-mail address has an account, if Cognito alone checked the password.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
_SYMBOLS = frozenset("^$*.[]{}()?-\"!@#%&/\\,><':;|_~`+= ")


@dataclass(frozen=True)
class PasswordPolicy:
    """Describes the rules for passwords. A rule that the user pool does not name is off.

    Attributes:
        minimum_length: smallest number of characters.
        classes: kinds of characters of which a password must have at least one, each with its characters.
    """

    minimum_length: int
    classes: Mapping[str, frozenset[str]]

    @classmethod
    def of_pool(cls, pool: Mapping[str, Any]) -> PasswordPolicy:
        """Read the policy from the answer to DescribeUserPool.

        https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_PasswordPolicyType.html
        """
        given = pool["UserPool"].get("Policies", {}).get("PasswordPolicy", {})
        kinds = {
            "RequireLowercase": ("a lower-case letter", frozenset(string.ascii_lowercase)),
            "RequireUppercase": ("an upper-case letter", frozenset(string.ascii_uppercase)),
            "RequireNumbers": ("a digit", frozenset(string.digits)),
            "RequireSymbols": ("a symbol", _SYMBOLS),
        }
        return cls(int(given.get("MinimumLength", 8)), dict(kind for name, kind in kinds.items() if given.get(name)))

    def fault(self, password: str) -> str:
        """Return why the policy refuses a password, or "" if the policy allows the password."""
        if password != password.strip():
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserPassword.html
            return "the password must not begin or end with a space"
        if len(password) < self.minimum_length:
            return f"the password must have at least {self.minimum_length} characters"
        for name, characters in self.classes.items():
            if not characters.intersection(password):
                return f"the password must contain {name}"
        return ""
