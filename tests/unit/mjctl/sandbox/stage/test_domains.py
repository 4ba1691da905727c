"""Tests for which DNS names a certificate is valid."""

from __future__ import annotations

import pytest

from mjctl.sandbox.stage.domains import covers


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("example.com", True),
        ("api.game.example.com", True),
        ("game.example.com", False),
        ("deep.api.game.example.com", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_a_wildcard_stands_for_one_label(name: str, covered: bool) -> None:
    assert covers(["Example.com", "*.game.example.com"], name) is covered
