"""Tests that the emulated API Gateway limits requests by a rate and a burst."""

from __future__ import annotations

from mjctl.sandbox.stage.api_gateway import TokenBucket


def test_a_burst_is_admitted_at_once_and_the_rate_refills_it() -> None:
    now = 0.0
    bucket = TokenBucket(rate=2, burst=3, clock=lambda: now)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 0.4
    assert not bucket.take()
    now = 0.5
    assert bucket.take()
    now = 60.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_limit_of_zero_admits_no_request() -> None:
    assert not TokenBucket(rate=0, burst=0, clock=lambda: 0.0).take()
