"""Tests which accounts can be confirmed and reset."""

from __future__ import annotations

import pytest

from gameserver.functions.accounts import PlayerAccount


@pytest.mark.parametrize(
    ("status", "enabled", "verified", "confirmable", "resettable"),
    [
        ("CONFIRMED", True, False, True, False),
        ("UNCONFIRMED", True, False, True, False),
        ("CONFIRMED", True, True, False, True),
        ("RESET_REQUIRED", True, True, False, True),
        # An operator has disabled these accounts, and no code may change them.
        ("CONFIRMED", False, False, False, False),
        ("CONFIRMED", False, True, False, False),
        ("FORCE_CHANGE_PASSWORD", True, False, False, False),
        ("FORCE_CHANGE_PASSWORD", True, True, False, False),
    ],
)
def test_the_state_of_an_account_decides_what_a_code_can_do(
    status: str, enabled: bool, verified: bool, confirmable: bool, resettable: bool
) -> None:
    account = PlayerAccount("id", status, enabled, verified, created_at=0.0, changed_at="1")
    assert (account.awaits_confirmation, account.may_reset) == (confirmable, resettable)
