"""Properties are judged by what they find, never by how quickly: a machine may be busy with other work.

The examples are the same in every run, so that a failure is the change's own; `make fuzz` looks for new ones.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
