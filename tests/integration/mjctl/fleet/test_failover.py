"""A failover makes the emulated Route 53 exclude a region of the production stacks, and later include it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.models.exit_codes import ExitCode
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl import production
from tests.integration.mjctl.conftest import CommandLine
from tests.integration.mjctl.production import (
    OTHER_REGION,
    REGION,
    Production,
    named_by_dns,
    set_alarm,
    set_flags,
)


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture(scope="module")
def regions(emulators: Emulators) -> dict[str, Production]:
    return {region: production.build(emulators, region) for region in (REGION, OTHER_REGION)}


@pytest.fixture
def mjctl(
    regions: dict[str, Production],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> CommandLine:
    contracts = {region: built.contract for region, built in regions.items()}
    command = CommandLine(contracts, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


@pytest.fixture(autouse=True)
def as_deployed(emulators: Emulators, regions: dict[str, Production]) -> None:
    for region in regions:
        set_flags(emulators, region, disabled=False, inverted=False)
        set_alarm(emulators, region, "OK")


def test_a_failover_excludes_the_region_from_dns_and_a_restore_includes_it_again(
    mjctl: Any, emulators: Emulators
) -> None:
    dry = mjctl("failover", "--region", REGION, "--dry-run", "-o", "json")
    assert dry.code == ExitCode.OK, dry.err
    assert dry.json()["regions"][0]["elsewhere"] == [OTHER_REGION]
    assert named_by_dns(emulators) == {REGION, OTHER_REGION}

    left = mjctl("failover", "--region", REGION, "--yes", "-o", "json")
    assert left.code == ExitCode.OK, left.err
    assert left.json()["regions"][0]["action"] == "closed"
    assert {probe["region"] for probe in left.json()["regions"][0]["probes"]} == {OTHER_REGION}
    assert {entry["region"]: entry["named"] for entry in left.json()["regions"][0]["dns"]} == {
        REGION: False,
        OTHER_REGION: True,
    }
    assert named_by_dns(emulators) == {OTHER_REGION}

    both = mjctl("failover", "--region", OTHER_REGION, "--yes")
    assert both.code == ExitCode.CONFLICT, "players must not leave the last region that DNS includes"
    assert named_by_dns(emulators) == {OTHER_REGION}

    back = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert back.code == ExitCode.OK, back.err
    assert back.json()["regions"][0]["action"] == "restored"
    assert named_by_dns(emulators) == {REGION, OTHER_REGION}
    again = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert again.json()["regions"][0]["action"] == "none"


@pytest.mark.parametrize("before", ["OK", "ALARM", "INSUFFICIENT_DATA"])
@pytest.mark.parametrize("old_form", [False, True])
def test_an_excluded_region_stays_excluded_from_dns_in_every_state_of_its_alarm(
    mjctl: Any, emulators: Emulators, before: str, old_form: bool
) -> None:
    """Set the alarm before and after the failover: a sick region's alarm may fire, and its metrics may stop."""
    set_flags(emulators, REGION, disabled=False, inverted=old_form)
    set_alarm(emulators, REGION, before)
    left = mjctl("failover", "--region", REGION, "--yes", "-o", "json")
    assert left.code == ExitCode.OK, left.err
    for state in ("OK", "ALARM", "INSUFFICIENT_DATA", "OK"):
        set_alarm(emulators, REGION, state)
        assert named_by_dns(emulators) == {OTHER_REGION}, state
        rehearsed = mjctl("failover", "--region", REGION, "--dry-run", "-o", "json")
        dns = {entry["region"]: entry["named"] for entry in rehearsed.json()["regions"][0]["dns"]}
        assert dns[REGION] is False, state


def test_a_region_that_an_older_mjctl_has_excluded_is_restored(mjctl: Any, emulators: Emulators) -> None:
    set_flags(emulators, REGION, disabled=False, inverted=True)
    back = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert back.code == ExitCode.OK, back.err
    assert back.json()["regions"][0]["action"] == "restored"
    set_alarm(emulators, REGION, "OK")
    assert named_by_dns(emulators) == {REGION, OTHER_REGION}
    set_alarm(emulators, REGION, "ALARM")
    assert named_by_dns(emulators) == {OTHER_REGION}, "the alarm decides again"


def test_a_restored_region_whose_alarm_fires_is_reported_as_excluded(mjctl: Any, emulators: Emulators) -> None:
    set_flags(emulators, REGION, disabled=True, inverted=True)
    set_alarm(emulators, REGION, "ALARM")
    back = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert named_by_dns(emulators) == {OTHER_REGION}
    assert back.code == ExitCode.UNHEALTHY, back.err
    assert [step["summary"] for step in back.json()["regions"][0]["steps"]] == [
        f"DNS excludes {REGION}: its alarm is ALARM"
    ]


def test_players_are_not_sent_to_a_region_that_dns_excludes(mjctl: Any, emulators: Emulators) -> None:
    set_alarm(emulators, OTHER_REGION, "ALARM")
    ran = mjctl("failover", "--region", REGION, "--yes")
    assert ran.code == ExitCode.CONFLICT
    assert named_by_dns(emulators) == {REGION}


def test_players_are_not_sent_to_an_unhealthy_region(mjctl: Any, emulators: Emulators) -> None:
    contract = mjctl.contracts[OTHER_REGION]
    without_service = contract.fleet.model_copy(update={"service": "no-such-service"})
    mjctl.contracts = {**mjctl.contracts, OTHER_REGION: contract.model_copy(update={"fleet": without_service})}
    ran = mjctl("failover", "--region", REGION, "--yes")
    assert ran.code == ExitCode.CONFLICT
    assert f"no other region can take the players of {REGION}" in " ".join(ran.err.split())
    assert named_by_dns(emulators) == {REGION, OTHER_REGION}


def test_a_region_that_dns_does_not_know_is_reported_as_not_found(mjctl: Any, emulators: Emulators) -> None:
    with production.without_health_checks(emulators):
        ran = mjctl("failover", "--region", REGION, "--restore", "--yes")
    assert ran.code == ExitCode.NOT_FOUND
    assert "deploys `edge`, which creates the health check" in " ".join(ran.err.split())
