from __future__ import annotations

import pytest

from gameserver.functions.password_policy import PasswordPolicy

GIVEN = {"MinimumLength": 12, "RequireLowercase": True, "RequireUppercase": True, "RequireNumbers": True}


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("correct Horse 7 battery", ""),
        ("Short 1", "the password must have at least 12 characters"),
        ("CORRECT HORSE 7", "the password must contain a lower-case letter"),
        ("correct horse 7", "the password must contain an upper-case letter"),
        ("correct Horse battery", "the password must contain a digit"),
        (" correct Horse 7", "the password must not begin or end with a space"),
        ("ÄÖÜ correct 7 battery", "the password must contain an upper-case letter"),
    ],
)
def test_a_password_has_the_characters_that_the_pool_requires(password: str, fault: str) -> None:
    policy = PasswordPolicy.of_pool({"UserPool": {"Policies": {"PasswordPolicy": GIVEN}}})
    assert policy.fault(password) == fault


def test_a_rule_that_the_pool_does_not_name_is_off() -> None:
    symbols = PasswordPolicy.of_pool({"UserPool": {"Policies": {"PasswordPolicy": {"RequireSymbols": True}}}})
    assert symbols.fault("lower case") == ""
    assert symbols.fault("lowercase") == "the password must contain a symbol"
    assert PasswordPolicy.of_pool({"UserPool": {}}).fault("lowercase") == ""
