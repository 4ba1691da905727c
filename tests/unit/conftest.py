"""Configures Hypothesis for every unit test.

A property-based test has no time limit, because the machine may be busy. The examples are the same in every run, so
that a failure comes from the change under test. `make fuzz` tries new examples.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
