"""Health checks for the operations that depend on them: the gate of a rollout, and the probe before a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from mjctl.deploy.gate import Gate
from mjctl.fleet.failover_sequence import Probe
from mjctl.health import runner
from mjctl.health.model import Thresholds
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform import contracts as published


def health_gate(
    workspace: Workspace,
    environment: Environment,
    *,
    soak_seconds: float = 0.0,
    max_failures: int = 0,
    thresholds: Sequence[str] = (),
) -> Gate:
    """Return a gate that runs every check of a region, a real log-in and a real match among them.

    Args:
        soak_seconds, max_failures: See Gate.
        thresholds: `NAME=VALUE`, as `mjctl health --threshold`.

    Raises:
        UsageError: A threshold is unknown or no number.
    """
    bounds = Thresholds().with_overrides(thresholds)

    async def check(region: str) -> Sequence[CheckResult]:
        contracts = await asyncio.to_thread(published.deployed_contracts, workspace, environment, [region])
        folder = workspace.region_dir(environment.name, region) / "secrets"
        report = await runner.run_health(environment.name, contracts, {region: folder}, thresholds=bounds)
        return report.results

    return Gate(check, soak_seconds, max_failures)


def failover_probe(workspace: Workspace, environment: Environment) -> Probe:
    """Return the probe with which a failover tests whether regions can take players."""

    async def probe(contracts: Mapping[str, Contract], only: Sequence[str]) -> list[CheckResult]:
        folders = {region: workspace.region_dir(environment.name, region) / "secrets" for region in contracts}
        report = await runner.run_health(environment.name, contracts, folders, only=only)
        return list(report.results)

    return probe
