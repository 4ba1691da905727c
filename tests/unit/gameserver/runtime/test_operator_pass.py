from __future__ import annotations

import pytest

from gameserver.runtime import operator_pass


def test_a_pass_survives_its_header() -> None:
    encrypted = bytes(range(256))
    assert operator_pass.decode(operator_pass.encode(encrypted)) == encrypted
    assert operator_pass.expiry(operator_pass.plaintext(1_700_000_000.9)) == 1_700_000_000


@pytest.mark.parametrize("header", ["", "a", "not base64!", "é" * 8, "A" * 1028])
def test_a_header_that_is_no_pass_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"pass|base64"):
        operator_pass.decode(header)


def test_an_encrypted_text_without_a_time_is_no_pass() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        operator_pass.expiry(b"soon")
