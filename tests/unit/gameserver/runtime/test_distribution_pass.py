from __future__ import annotations

import pytest

from gameserver.runtime import distribution_pass


def test_the_secret_lists_digests_and_not_the_passes() -> None:
    text = distribution_pass.encode(distribution_pass.digest(value) for value in ("old-pass", "new-pass"))
    assert distribution_pass.decode(text) == {
        distribution_pass.digest("old-pass"),
        distribution_pass.digest("new-pass"),
    }
    assert "pass" not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"accepted": "a"}', '{"accepted": [1]}', '{"accepted": null}'])
def test_another_text_is_no_list_of_passes(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        distribution_pass.decode(text)
