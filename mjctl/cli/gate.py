"""The health gate of a rollout, made of `mjctl health`'s own checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mjctl.cli.deploy_run import (
        Run,
    )
    from mjctl.deploy.gate import Gate
    from mjctl.models.check import CheckResult


def health_gate(run: Run, soak: float, max_failures: int, threshold: Sequence[str]) -> Gate:
    """A gate that runs every check of a region, a real log-in and a real match among them.

    Raises:
        UsageError: a threshold is unknown or no number.
    """
    import asyncio

    from mjctl.deploy.gate import Gate
    from mjctl.health.model import Thresholds
    from mjctl.health.runner import run_health
    from mjctl.terraform.contracts import deployed_contracts

    bounds = Thresholds().with_overrides(threshold)

    async def look(region: str) -> Sequence[CheckResult]:
        contracts = await asyncio.to_thread(deployed_contracts, run.workspace, run.environment, [region])
        folder = run.workspace.region_dir(run.environment.name, region) / "secrets"
        report = await run_health(run.environment.name, contracts, {region: folder}, thresholds=bounds)
        return report.results

    return Gate(look, soak, max_failures)
