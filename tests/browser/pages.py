"""Describes the devices on which the browser tests open the web client, and measures the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 412, "height": 839},
    "device_scale_factor": 2.625,
    "is_mobile": True,
    "has_touch": True,
}

Eventually = Callable[..., Any]


def fits(page: Any, screen: str) -> bool:
    """Check that the page does not scroll sideways, and that every button is large enough for a thumb."""
    page.locator(screen).wait_for()
    buttons = page.locator(f"{screen} button:visible").all()
    assert buttons
    assert all(button.bounding_box()["height"] >= 44 for button in buttons)
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))
