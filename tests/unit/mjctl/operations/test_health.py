from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mjctl.health.model import HealthReport
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.operations.health import health_gate


async def test_a_gate_looks_up_the_contract_reader_and_the_check_runner_at_each_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Replace two functions by name, because a module that binds a function at import keeps another test's
    replacement."""
    workspace = Workspace.discover(Path(__file__))
    environment = load_environment(workspace, "local")
    gate = health_gate(workspace, environment)
    calls: list[Any] = []

    def contracts(_workspace: object, _environment: object, regions: list[str]) -> dict[str, Any]:
        calls.append(regions)
        return {}

    async def checks(name: str, *_: object, **__: object) -> HealthReport:
        calls.append(name)
        return HealthReport(name, "2026-11-29T00:00:00Z", 0.0, ())

    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", contracts)
    monkeypatch.setattr("mjctl.health.runner.run_health", checks)
    await gate.check("us-east-1")
    assert calls == [["us-east-1"], "local"]
