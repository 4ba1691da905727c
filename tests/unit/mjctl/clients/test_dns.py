"""Tests of Route 53's answer for every combination of the health check's flags and the alarm's state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mjctl.clients import dns
from mjctl.clients.boto import RegionClients
from mjctl.clients.dns import AlarmState, RegionDns, healthy
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, UnreachableError


def documented(disabled: bool, inverted: bool, alarm_is_ok: bool) -> bool:
    """Compute AWS's documented rule: a disabled health check is healthy, and `Inverted` exchanges the two results."""
    status = True if disabled else alarm_is_ok
    return status is not inverted


@pytest.mark.parametrize(
    ("disabled", "inverted", "alarm"), list(product((False, True), (False, True), ("OK", "ALARM")))
)
def test_the_table_of_results_matches_the_documents_of_aws(disabled: bool, inverted: bool, alarm: str) -> None:
    assert healthy(disabled, inverted, AlarmState(alarm)) is documented(disabled, inverted, alarm == "OK")


@pytest.mark.parametrize(("disabled", "inverted"), list(product((False, True), (False, True))))
@pytest.mark.parametrize(("setting", "as_if_ok"), [("Healthy", True), ("Unhealthy", False)])
def test_the_setting_of_the_health_check_decides_about_an_alarm_without_data(
    disabled: bool, inverted: bool, setting: str, as_if_ok: bool
) -> None:
    result = healthy(disabled, inverted, AlarmState.INSUFFICIENT_DATA, setting)
    assert result is documented(disabled, inverted, as_if_ok)


@pytest.mark.parametrize("alarm", [AlarmState.INSUFFICIENT_DATA, None])
@pytest.mark.parametrize(
    ("disabled", "inverted", "expected"),
    [(False, False, None), (False, True, None), (True, False, True), (True, True, False)],
)
def test_an_unknown_alarm_state_gives_an_unknown_result_only_if_the_result_depends_on_it(
    alarm: AlarmState | None, disabled: bool, inverted: bool, expected: bool | None
) -> None:
    assert healthy(disabled, inverted, alarm, "LastKnownStatus") is expected


@pytest.mark.parametrize("alarm", [*AlarmState, None])
@pytest.mark.parametrize("insufficient", ["Healthy", "Unhealthy", "LastKnownStatus"])
def test_only_disabled_with_inverted_excludes_a_region_permanently(alarm: AlarmState | None, insufficient: str) -> None:
    def state(disabled: bool, inverted: bool) -> RegionDns:
        return RegionDns("eu-west-1", "id", 1, disabled, inverted, alarm, insufficient)

    assert state(True, True).named is False
    assert state(True, True).excluded
    assert not state(True, False).excluded
    assert not state(False, False).excluded, "the alarm excluded the region, and no operator did"
    assert not state(False, True).lasting


class FakeClients(RegionClients):
    """Simulates Route 53 with a health check that another program changes `conflicts` times between read and write."""

    def __init__(self, contract: Contract, conflicts: int, code: str = "HealthCheckVersionMismatch") -> None:
        super().__init__(contract)
        self.conflicts, self.code = conflicts, code
        self.version = 1
        alarm = {"Region": contract.region, "Name": "arena-it-no-healthy-server"}
        self.config: dict[str, Any] = {"AlarmIdentifier": alarm, "Inverted": False}

    async def call_all(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        assert operation == "list_health_checks"
        item = {"Id": "id", "HealthCheckVersion": self.version, "HealthCheckConfig": dict(self.config)}
        return {"HealthChecks": [item]}

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        assert operation == "update_health_check"
        if self.conflicts:
            self.conflicts -= 1
            self.version += 1
            raise UnreachableError("AWS answered") from ClientError({"Error": {"Code": self.code}}, operation)
        assert parameters["HealthCheckVersion"] == self.version
        self.config |= {name: parameters[name] for name in ("Disabled", "Inverted")}
        return {}


@pytest.fixture
def contract(make_contract: Callable[..., Contract]) -> Contract:
    return make_contract()


@pytest.fixture
def managed() -> Any:
    return SimpleNamespace(alarm_prefix="arena-it-")


async def test_a_health_check_that_another_program_changed_is_read_again(
    contract: Contract, managed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = FakeClients(contract, conflicts=2)
    monkeypatch.setattr(dns, "RegionClients", lambda _: clients)
    assert await dns.set_excluded(contract, managed, excluded=True)
    assert (await dns.region_dns(contract, managed)).lasting


async def test_a_health_check_that_changes_during_every_attempt_is_a_conflict(
    contract: Contract, managed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RegionClients", lambda _: FakeClients(contract, conflicts=99))
    with pytest.raises(ConflictError):
        await dns.set_excluded(contract, managed, excluded=True)


async def test_another_error_of_the_update_is_not_retried(
    contract: Contract, managed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "RegionClients", lambda _: FakeClients(contract, conflicts=99, code="InvalidInput"))
    with pytest.raises(UnreachableError):
        await dns.set_excluded(contract, managed, excluded=True)
