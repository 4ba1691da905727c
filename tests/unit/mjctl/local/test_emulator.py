"""Tests which requests make the emulator save its state."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.local.emulator import ChangeTracker


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Accept a request as an ASGI application, and send no answer."""


async def changed(method: str, target: bytes) -> tuple[bool, bool]:
    tracker = ChangeTracker(_application)
    headers = [(b"x-amz-target", target)] if target else []
    await tracker({"type": "http", "method": method, "headers": headers}, None, None)  # type: ignore[arg-type]
    return tracker.tables_changed, tracker.others_changed


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", b"DynamoDB_20120810.PutItem", (True, False)),
        ("POST", b"DynamoDB_20120810.GetItem", (False, False)),
        ("POST", b"AmazonSQS.ReceiveMessage", (False, False)),
        ("POST", b"AmazonSQS.DeleteMessage", (False, True)),
        ("POST", b"AWSCognitoIdentityProviderService.SignUp", (False, True)),
        ("POST", b"TrentService.GenerateDataKey", (False, False)),
        ("POST", b"", (False, True)),
        ("GET", b"", (False, False)),
    ],
)
async def test_only_requests_that_can_change_the_state_cause_a_save(
    method: str, target: bytes, expected: tuple[bool, bool]
) -> None:
    assert await changed(method, target) == expected
