"""Fault tests use the real services of the integration tests, started the same way."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "integration_services", Path(__file__).parents[1] / "integration" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_services = importlib.util.module_from_spec(_spec)
# Its dataclasses look themselves up there.
sys.modules[_spec.name] = _services
_spec.loader.exec_module(_services)

services_dir = _services.services_dir
redis_url = _services.redis_url
postgres = _services.postgres
aws = _services.aws
make_settings = _services.make_settings
run_environment = _services.run_environment
run_game = _services.run_game
