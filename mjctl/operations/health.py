"""Provides health checks to other services: the gate of a rollout, and the probe of a failover."""

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
    """Return a gate of a rollout that runs every health check of a region.

    The health checks `login` and `match` log in and play a real match.

    Args:
        workspace: The checkout, and mjctl's home folder on this machine.
        environment: The environment of the regions.
        soak_seconds: The time in seconds for which the gate observes a region, with at least one observation.
        max_failures: The number of health checks that may fail in an observation that counts as good.
        thresholds: Thresholds of measurements in the form `NAME=VALUE`, as for `mjctl health --threshold`.

    Raises:
        UsageError: A threshold has an unknown name, or its value is not a number.
    """
    bounds = Thresholds().with_overrides(thresholds)

    async def check(region: str) -> Sequence[CheckResult]:
        contracts = await asyncio.to_thread(published.deployed_contracts, workspace, environment, [region])
        folder = workspace.region_dir(environment.name, region) / "secrets"
        report = await runner.run_health(environment.name, contracts, {region: folder}, thresholds=bounds)
        return report.results

    return Gate(check, soak_seconds, max_failures)


def failover_probe(workspace: Workspace, environment: Environment) -> Probe:
    """Return the function with which a failover runs health checks in the regions that may take players."""

    async def probe(contracts: Mapping[str, Contract], only: Sequence[str]) -> list[CheckResult]:
        folders = {region: workspace.region_dir(environment.name, region) / "secrets" for region in contracts}
        report = await runner.run_health(environment.name, contracts, folders, only=only)
        return list(report.results)

    return probe
