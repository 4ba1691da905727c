"""Moving players away from a region on AWS: DNS no longer names it.

Route 53 answers with the nearest region whose health check is well, and that check follows an alarm of the region.
Inverted, it says the opposite: the region's records are left out while the alarm is quiet. Terraform says otherwise, so
`mjctl drift` shows it, and a deploy of the stack `edge` lets the region back.
"""

from __future__ import annotations

from dataclasses import dataclass

from mjctl.aws.clients import AwsClients
from mjctl.models.contract import Contract, Managed
from mjctl.models.errors import NotFoundError


@dataclass(frozen=True)
class _HealthCheck:
    id: str
    version: int
    inverted: bool


async def is_left(contract: Contract, managed: Managed) -> bool:
    """Whether DNS leaves the region out on purpose.

    Raises:
        NotFoundError: no health check follows the region's alarm: the stack `edge` does not know the region.
    """
    with AwsClients(contract) as clients:
        return (await _find(contract, managed, clients)).inverted


async def leave(contract: Contract, managed: Managed, *, left: bool) -> bool:
    """Have DNS leave the region out, or name it again; whether that was a change. Resolvers follow within minutes.

    Raises:
        As `is_left`.
    """
    with AwsClients(contract) as clients:
        found = await _find(contract, managed, clients)
        if found.inverted == left:
            return False
        await clients.call(
            "route53",
            "update_health_check",
            HealthCheckId=found.id,
            HealthCheckVersion=found.version,
            Inverted=left,
        )
        return True


async def _find(contract: Contract, managed: Managed, clients: AwsClients) -> _HealthCheck:
    alarm = f"{managed.alarm_prefix}no-healthy-server"
    marker: dict[str, str] = {}
    while True:
        page = await clients.call("route53", "list_health_checks", **marker)
        for item in page["HealthChecks"]:
            config = item["HealthCheckConfig"]
            if config.get("AlarmIdentifier") == {"Region": contract.region, "Name": alarm}:
                return _HealthCheck(item["Id"], item["HealthCheckVersion"], bool(config.get("Inverted")))
        if not page.get("IsTruncated"):
            break
        marker = {"Marker": page["NextMarker"]}
    raise NotFoundError(
        f"no health check of Route 53 follows the alarm {alarm}",
        where=f"{contract.environment}, {contract.region}",
        hint=f"`mjctl deploy --env {contract.environment}` brings up the stack `edge`, which makes it",
    )
