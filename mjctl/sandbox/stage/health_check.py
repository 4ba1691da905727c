"""Health checks of a load balancer's targets: runs a check, and derives a target's state from the results.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mjctl.sandbox.stage.target_table import HEALTHY, INITIAL, UNHEALTHY, HealthState

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LONGEST_LINE = 8192


@dataclass(frozen=True)
class CheckSettings:
    """Holds the settings of a target group's health checks.

    Attributes:
        protocol: `HTTP`, `HTTPS` or `TCP`.
        port: The port of the checks.
        path: The path of the requests.
        interval: Seconds from the start of a check to the start of the next check of the same target.
        timeout: Seconds after which a check without an answer fails.
        healthy_threshold: Number of consecutive good checks after which an unhealthy target is healthy.
        unhealthy_threshold: Number of consecutive failed checks after which a target is unhealthy.
        matcher: The HTTP statuses with which a check succeeds, e.g. `200-299,404`.
    """

    protocol: str
    port: int
    path: str
    interval: float
    timeout: float
    healthy_threshold: int
    unhealthy_threshold: int
    matcher: str

    @classmethod
    def of(cls, group: Mapping[str, Any], traffic_port: int) -> CheckSettings:
        """Return the settings from a description of a target group by DescribeTargetGroups."""
        port = group["HealthCheckPort"]
        return cls(
            protocol=group["HealthCheckProtocol"],
            port=traffic_port if port == "traffic-port" else int(port),
            path=group["HealthCheckPath"],
            interval=float(group["HealthCheckIntervalSeconds"]),
            timeout=float(group["HealthCheckTimeoutSeconds"]),
            healthy_threshold=int(group["HealthyThresholdCount"]),
            unhealthy_threshold=int(group["UnhealthyThresholdCount"]),
            matcher=str(group["Matcher"]["HttpCode"]),
        )


class TargetCheck(NamedTuple):
    """Holds the result of a check: after a failure AWS's code for the reason and a description, else empty texts."""

    reason: str = ""
    description: str = ""


_TIMED_OUT = TargetCheck("Target.Timeout", "Request timed out")
_FAILED = TargetCheck("Target.FailedHealthChecks", "Health checks failed")


@dataclass
class TargetHealth:
    """Derives the state of a target from the results of its checks.

    A new target becomes healthy after its first successful check. After the first successful check, a change of the
    state needs several equal results in succession. The thresholds in `settings` are the numbers of results.

    Attributes:
        settings: The settings of the checks. The settings can change while the target is registered.
        state: The current state of the target, with a reason.
    """

    settings: CheckSettings
    state: HealthState = field(init=False)
    _good: int = 0
    _failed: int = 0

    def __post_init__(self) -> None:
        self._enter(INITIAL, TargetCheck("Elb.RegistrationInProgress", "Target registration is in progress"))

    def begin(self) -> None:
        """Change the reason of the state `initial`, because the checks have begun."""
        if self.state.state == INITIAL:
            text = "Initial health checks in progress"
            self._enter(INITIAL, TargetCheck("Elb.InitialHealthChecking", text))

    def record(self, result: TargetCheck) -> None:
        """Change the state of the target by the result of a check."""
        if result.reason:
            self._good, self._failed = 0, self._failed + 1
            if self._failed >= self.settings.unhealthy_threshold:
                self._enter(UNHEALTHY, result)
            return
        self._good, self._failed = self._good + 1, 0
        if self.state.state == INITIAL or self._good >= self.settings.healthy_threshold:
            self._enter(HEALTHY, result)

    def _enter(self, state: str, result: TargetCheck) -> None:
        self.state = HealthState(state, result.reason, result.description, str(self.settings.port))


def matches(matcher: str, status: int) -> bool:
    """Return whether an HTTP status is in the list `matcher`, e.g. `200-299,404`."""
    for part in matcher.split(","):
        low, _, high = part.partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


async def check(address: str, settings: CheckSettings, *, blocked: bool) -> TargetCheck:
    """Connect to a target, send a request for HTTP and HTTPS, and return the result.

    Args:
        address: The IP address of the target.
        settings: The settings of the checks.
        blocked: True if a security group blocks the connection, so that the check fails after its time limit.
    """
    try:
        async with asyncio.timeout(settings.timeout):
            if blocked:
                await asyncio.Event().wait()
            return await _ask(address, settings)
    except TimeoutError:
        return _TIMED_OUT
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return _FAILED


async def _ask(address: str, settings: CheckSettings) -> TargetCheck:
    secure = None
    if settings.protocol == "HTTPS":
        # Verify no certificate, because a load balancer of AWS does not verify the certificates of its targets.
        secure = ssl.create_default_context()
        secure.check_hostname = False
        secure.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(address, settings.port, ssl=secure, limit=_LONGEST_LINE)
    try:
        if settings.protocol not in {"HTTP", "HTTPS"}:
            return TargetCheck()
        writer.write(
            f"GET {settings.path} HTTP/1.1\r\nHost: {address}:{settings.port}\r\nConnection: close\r\n"
            "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n".encode()
        )
        status = _STATUS_LINE.match(await reader.readline())
        if status is None:
            return _FAILED
        if matches(settings.matcher, int(status[1])):
            return TargetCheck()
        text = f"Health checks failed with these codes: [{int(status[1])}]"
        return TargetCheck("Target.ResponseCodeMismatch", text)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
