"""Derives the checks of a region from the region's contract, so that each deployed part has a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mjctl.health.checks import (
    backup,
    certificate,
    ecs,
    edge,
    fleet,
    functions,
    identity,
    mail,
    managed,
    messaging,
    probes,
    stores,
)
from mjctl.health.model import Check
from mjctl.models.contract import Contract

FAMILIES: tuple[Callable[[Contract], Iterable[Check]], ...] = (
    fleet.checks,
    ecs.checks,
    stores.checks,
    managed.checks,
    messaging.checks,
    functions.checks,
    identity.checks,
    mail.checks,
    certificate.checks,
    edge.checks,
    backup.checks,
    probes.checks,
)


def checks_for(contract: Contract) -> list[Check]:
    """Return all checks of one region, in the order of a report."""
    return [check for family in FAMILIES for check in family(contract)]
