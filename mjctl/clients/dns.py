"""Reads whether Route 53 answers with a region, and excludes a region from DNS or includes it again.

Each region has a health check in Route 53, which follows the region's alarm `no-healthy-server`. Route 53 omits a
region's records from its answers while the region's health check is unhealthy. The health check's flags `Disabled` and
`Inverted` and the state of the alarm decide whether the health check is healthy. `_HEALTHY` says for each combination
of the flags and the alarm's state whether the health check is healthy.
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
    """Lists the states of a CloudWatch alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


# Whether Route 53 considers a health check healthy, by the flags (Disabled, Inverted) and the state of its alarm.
#
# Without the flags Disabled and Inverted, a health check is healthy if its alarm's state is OK, and unhealthy if the
# state is ALARM. See the type CLOUDWATCH_METRIC in
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html .
#
# The flag Inverted of a health check exchanges the results healthy and unhealthy. See
# https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-invert.html .
#
# The flag Disabled alone makes a health check always healthy, so Route 53 continues to answer with the region. AWS
# says: "If you want to stop routing traffic to a resource, change the value of Inverted." See the field Disabled in
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_UpdateHealthCheck.html .
#
# A health check with the flags Disabled and Inverted is unhealthy in every state of its alarm. A health check with the
# flag Inverted alone is healthy while its alarm fires.
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

# The state as which Route 53 counts an alarm without data, by the health check's InsufficientDataHealthStatus.
# `_WITHOUT_DATA` lacks the status `LastKnownStatus`, which means the alarm's last state, because no API returns the
# last state. https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html
# (InsufficientDataHealthStatus)
_WITHOUT_DATA = {"Healthy": AlarmState.OK, "Unhealthy": AlarmState.ALARM}


def healthy(
    disabled: bool, inverted: bool, alarm: AlarmState | None, insufficient_data: str = "LastKnownStatus"
) -> bool | None:
    """Return whether Route 53 considers a health check healthy.

    Args:
        disabled: The health check's flag `Disabled`.
        inverted: The health check's flag `Inverted`.
        alarm: The alarm's state; None if the alarm could not be read.
        insufficient_data: The health check's setting `InsufficientDataHealthStatus`.

    Returns:
        True or False, or None if the answer depends on an unknown state of the alarm.
    """
    if alarm is AlarmState.INSUFFICIENT_DATA:
        alarm = _WITHOUT_DATA.get(insufficient_data)
    if alarm is not None:
        return _HEALTHY[disabled, inverted, alarm]
    possible = {_HEALTHY[disabled, inverted, state] for state in (AlarmState.OK, AlarmState.ALARM)}
    return possible.pop() if len(possible) == 1 else None


@dataclass(frozen=True)
class RegionDns:
    """Describes the health check of a region, and so whether Route 53 answers with the region.

    Attributes:
        region: The region.
        health_check: The id of the health check.
        version: The version of the health check, which each change increases.
        disabled: The health check's flag `Disabled`.
        inverted: The health check's flag `Inverted`.
        alarm: The alarm's state; None if the state does not change Route 53's answer, or if CloudWatch did not return
            the state.
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
        """Return whether DNS answers players with the region, or None if that depends on an unknown alarm state.

        If no region's health check is healthy, Route 53 answers as if all health checks were healthy:
        https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html
        """
        return healthy(self.disabled, self.inverted, self.alarm, self.insufficient_data)

    @property
    def excluded(self) -> bool:
        """Return whether an operator has excluded the region and DNS is not known to answer with the region."""
        return self.inverted and self.named is not True

    @property
    def lasting(self) -> bool:
        """Return whether the region is excluded from DNS in every state of its alarm."""
        return (self.disabled, self.inverted) == _EXCLUDED

    @property
    def automatic(self) -> bool:
        """Return whether the alarm alone decides if DNS answers with the region, as after the first deploy."""
        return (self.disabled, self.inverted) == _FOLLOWS_ALARM

    @property
    def summary(self) -> str:
        """Return a sentence for people that says whether DNS includes the region, and why."""
        state = self.alarm or "unknown"
        if self.lasting:
            return f"DNS excludes {self.region} in every state of its alarm, because `mjctl failover` excluded it"
        if self.inverted:
            answer = {True: "includes", False: "excludes", None: "may include"}[self.named]
            return (
                f"DNS {answer} {self.region}: its health check is inverted and its alarm is {state}; "
                f"DNS would {'exclude' if self.named else 'include'} the region in the opposite state"
            )
        if self.disabled:
            return f"DNS includes {self.region} even if its alarm fires, because its health check is disabled"
        if self.named is None:
            return f"DNS follows the alarm of {self.region}, whose state is {state}"
        return f"DNS {'includes' if self.named else 'excludes'} {self.region}: its alarm is {state}"

    def to_json(self) -> dict[str, object]:
        """Return the health check's state as JSON values, for reports."""
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
    """Read a region's health check, and the alarm that it follows if the alarm's state matters.

    An alarm that cannot be read is no error.

    Raises:
        NotFoundError: no health check follows the region's alarm, because the unit `edge` does not contain the region.
        PermissionDeniedError: AWS refused the request to Route 53.
        UnreachableError: Route 53 did not answer.
    """
    if clients is not None:
        return await _read(contract, managed, clients)
    with RegionClients(contract) as own:
        return await _read(contract, managed, own)


async def set_excluded(contract: Contract, managed: Managed, *, excluded: bool) -> bool:
    """Exclude the region from DNS in every state of its alarm, or include it again so that its alarm decides.

    DNS resolvers follow the change within minutes. `set_excluded` also changes a health check that an older version of
    mjctl excluded with the flag `Inverted` alone.

    Returns:
        True if the health check was changed.

    Raises:
        ConflictError: another program keeps changing the health check.
        NotFoundError: no health check follows the region's alarm, because the unit `edge` does not contain the region.
        PermissionDeniedError: AWS refused a request to Route 53.
        UnreachableError: Route 53 did not answer.
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
                    # Route 53 refuses the update if another program has changed the health check, and so its version.
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
        f"another program changed the region's health check during each of {_UPDATE_ATTEMPTS} attempts",
        where=f"{contract.environment}, {contract.region}",
        hint="wait until the other `mjctl failover` or the deploy of `edge` has ended, then repeat the command",
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
    """Return the alarm's state, or None if the region's CloudWatch does not answer, e.g. because the region is down."""
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
        f"Route 53 has no health check that follows the alarm {alarm}",
        where=f"{contract.environment}, {contract.region}",
        hint=f"`mjctl deploy --env {contract.environment} --all-regions` deploys `edge`, which creates the health "
        f"check",
    )
