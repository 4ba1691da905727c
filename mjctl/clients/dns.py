"""Whether Route 53 names a region to players, and how an operator takes the region out of DNS.

Each region has one health check, which follows the region's alarm `no-healthy-server`. Route 53 leaves a region's
records out of its answers while the health check is unhealthy. Three things decide that: the health check's flags
`Disabled` and `Inverted`, and the state of the alarm. `_HEALTHY` is the only place that says how they combine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract, Managed
from mjctl.models.errors import ConflictError, MjctlError, NotFoundError, PermissionDeniedError, UnreachableError

_ALARM = "no-healthy-server"
_UPDATE_ATTEMPTS = 3


class AlarmState(StrEnum):
    """The states of a CloudWatch alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


# (Disabled, Inverted, alarm) -> whether Route 53 considers the health check healthy.
#
# - "If the state of the alarm is OK, the health check is considered healthy. If the state is ALARM, the health check is
#   considered unhealthy."
#   https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html (Type, CLOUDWATCH_METRIC)
# - "If you invert a health check, Route 53 considers the health check to be unhealthy when the status is healthy and
#   vice versa."
#   https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-invert.html
# - "After you disable a health check, Route 53 considers the status of the health check to always be healthy. If you
#   configured DNS failover, Route 53 continues to route traffic to the corresponding resources. If you want to stop
#   routing traffic to a resource, change the value of Inverted."
#   https://docs.aws.amazon.com/Route53/latest/APIReference/API_UpdateHealthCheck.html (Disabled)
#
# So only Disabled with Inverted is unhealthy in every state of the alarm. Inverted alone is healthy while the alarm
# fires.
_HEALTHY: Mapping[tuple[bool, bool, AlarmState], bool] = {
    (False, False, AlarmState.OK): True,
    (False, False, AlarmState.ALARM): False,
    (False, True, AlarmState.OK): False,
    (False, True, AlarmState.ALARM): True,
    (True, False, AlarmState.OK): True,
    (True, False, AlarmState.ALARM): True,
    (True, True, AlarmState.OK): False,
    (True, True, AlarmState.ALARM): False,
}
_FOLLOWS_ALARM = (False, False)
_EXCLUDED = (True, True)

# What an alarm without data counts as, by the health check's InsufficientDataHealthStatus. `LastKnownStatus` is not
# here: Route 53 remembers the alarm's last state, and no API returns it.
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html (InsufficientDataHealthStatus)
_WITHOUT_DATA = {"Healthy": AlarmState.OK, "Unhealthy": AlarmState.ALARM}


def healthy(
    disabled: bool, inverted: bool, alarm: AlarmState | None, insufficient_data: str = "LastKnownStatus"
) -> bool | None:
    """Say whether Route 53 considers a health check healthy.

    Args:
        disabled: The health check's flag `Disabled`.
        inverted: The health check's flag `Inverted`.
        alarm: The alarm's state. None if it could not be read.
        insufficient_data: The health check's setting `InsufficientDataHealthStatus`.

    Returns:
        None if the answer depends on an alarm state that is not known.
    """
    if alarm is AlarmState.INSUFFICIENT_DATA:
        alarm = _WITHOUT_DATA.get(insufficient_data)
    if alarm is not None:
        return _HEALTHY[disabled, inverted, alarm]
    possible = {_HEALTHY[disabled, inverted, state] for state in (AlarmState.OK, AlarmState.ALARM)}
    return possible.pop() if len(possible) == 1 else None


@dataclass(frozen=True)
class RegionDns:
    """What Route 53 does with a region's records.

    Attributes:
        alarm: The alarm's state. None if it does not matter to the answer, or if CloudWatch did not give it.
        insufficient_data: The health check's setting `InsufficientDataHealthStatus`.
    """

    region: str
    health_check: str
    version: int
    disabled: bool
    inverted: bool
    alarm: AlarmState | None
    insufficient_data: str

    @property
    def named(self) -> bool | None:
        """Whether DNS names the region to players. None: it depends on an alarm state that is not known.

        If no region's health check is healthy, Route 53 answers as if all of them were:
        https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html
        """
        return healthy(self.disabled, self.inverted, self.alarm, self.insufficient_data)

    @property
    def excluded(self) -> bool:
        """Whether an operator has taken the region out of DNS and DNS does leave it out."""
        return self.inverted and self.named is not True

    @property
    def lasting(self) -> bool:
        """Whether the region is out of DNS in every state of its alarm."""
        return (self.disabled, self.inverted) == _EXCLUDED

    @property
    def automatic(self) -> bool:
        """Whether the alarm alone decides, as after a deploy."""
        return (self.disabled, self.inverted) == _FOLLOWS_ALARM

    @property
    def summary(self) -> str:
        """One sentence for people: whether DNS names the region, and why."""
        state = self.alarm or "not known"
        if self.lasting:
            return f"DNS leaves {self.region} out, whatever its alarm says: `mjctl failover` excluded it"
        if self.inverted:
            answer = {True: "names", False: "leaves out", None: "may name"}[self.named]
            return (
                f"DNS {answer} {self.region}: its health check is inverted and its alarm is {state}; "
                f"it would {'leave it out' if self.named else 'name it'} in the opposite state"
            )
        if self.disabled:
            return f"DNS names {self.region} even if its alarm fires: its health check is disabled"
        if self.named is None:
            return f"DNS follows the alarm of {self.region}, whose state is {state}"
        return f"DNS {'names' if self.named else 'leaves out'} {self.region}: its alarm is {state}"

    def to_json(self) -> dict[str, object]:
        """The state as data, for reports."""
        return {
            "region": self.region,
            "named": self.named,
            "excluded": self.excluded,
            "health_check": self.health_check,
            "disabled": self.disabled,
            "inverted": self.inverted,
            "alarm": self.alarm,
            "summary": self.summary,
        }


async def region_dns(contract: Contract, managed: Managed, clients: RegionClients | None = None) -> RegionDns:
    """Read a region's health check and, where it matters, the alarm that the health check follows.

    Raises:
        NotFoundError: No health check follows the region's alarm: the stack `edge` does not know the region.
        UnreachableError, PermissionDeniedError: Route 53 did not answer. An alarm that cannot be read is not an error.
    """
    if clients is not None:
        return await _read(contract, managed, clients)
    with RegionClients(contract) as own:
        return await _read(contract, managed, own)


async def set_excluded(contract: Contract, managed: Managed, *, excluded: bool) -> bool:
    """Exclude the region from DNS whatever its alarm says, or let its alarm decide again.

    Resolvers follow within minutes. A region that an older mjctl excluded (`Inverted` without `Disabled`) is brought to
    the requested form too.

    Returns:
        Whether anything was changed.

    Raises:
        ConflictError: Someone else keeps changing the health check.
        As `region_dns`.
    """
    wanted = _EXCLUDED if excluded else _FOLLOWS_ALARM
    with RegionClients(contract) as clients:
        for _ in range(_UPDATE_ATTEMPTS):
            check = await _health_check(contract, managed, clients)
            config = check["HealthCheckConfig"]
            if (bool(config.get("Disabled")), bool(config.get("Inverted"))) == wanted:
                return False
            disabled, inverted = wanted
            try:
                await clients.call(
                    "route53",
                    "update_health_check",
                    HealthCheckId=check["Id"],
                    # Route 53 refuses the change if the health check was changed after it was read.
                    HealthCheckVersion=check["HealthCheckVersion"],
                    Disabled=disabled,
                    Inverted=inverted,
                )
            except MjctlError as error:
                if not _changed_meanwhile(error):
                    raise
                continue
            return True
    raise ConflictError(
        "the health check of the region changes all the time",
        where=f"{contract.environment}, {contract.region}",
        hint="another run of `mjctl failover` or a deploy of the stack `edge` is under way: repeat the command later",
    )


def _changed_meanwhile(error: MjctlError) -> bool:
    response: Mapping[str, Any] = getattr(error.__cause__, "response", {})
    return bool(response.get("Error", {}).get("Code") == "HealthCheckVersionMismatch")


async def _read(contract: Contract, managed: Managed, clients: RegionClients) -> RegionDns:
    check = await _health_check(contract, managed, clients)
    config = check["HealthCheckConfig"]
    disabled, inverted = bool(config.get("Disabled")), bool(config.get("Inverted"))
    alarm = None
    if healthy(disabled, inverted, None) is None:
        alarm = await _alarm_state(managed, clients)
    insufficient = str(config.get("InsufficientDataHealthStatus", "LastKnownStatus"))
    return RegionDns(contract.region, check["Id"], check["HealthCheckVersion"], disabled, inverted, alarm, insufficient)


async def _alarm_state(managed: Managed, clients: RegionClients) -> AlarmState | None:
    """The region's own CloudWatch is asked, and may be down together with the region."""
    try:
        answer = await clients.call_all("cloudwatch", "describe_alarms", AlarmNames=[f"{managed.alarm_prefix}{_ALARM}"])
    except (UnreachableError, NotFoundError, PermissionDeniedError):
        return None
    return next((AlarmState(item["StateValue"]) for item in answer.get("MetricAlarms", ())), None)


async def _health_check(contract: Contract, managed: Managed, clients: RegionClients) -> dict[str, Any]:
    alarm = f"{managed.alarm_prefix}{_ALARM}"
    answer = await clients.call_all("route53", "list_health_checks")
    for item in answer["HealthChecks"]:
        if item["HealthCheckConfig"].get("AlarmIdentifier") == {"Region": contract.region, "Name": alarm}:
            return dict(item)
    raise NotFoundError(
        f"no health check of Route 53 follows the alarm {alarm}",
        where=f"{contract.environment}, {contract.region}",
        hint=f"`mjctl deploy --env {contract.environment} --all-regions` brings up the stack `edge`, which makes it",
    )
