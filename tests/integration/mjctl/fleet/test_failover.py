"""Players leave a region of the production stacks: the emulated Route 53 no longer names it, and names it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.models.exit_codes import ExitCode
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl import production
from tests.integration.mjctl.conftest import CommandLine
from tests.integration.mjctl.production import NAME, OTHER_REGION, REGION, Production


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


def inverted(emulators: Emulators) -> dict[str, bool]:
    checks = emulators.client("route53", REGION).list_health_checks()["HealthChecks"]
    configs = [check["HealthCheckConfig"] for check in checks]
    return {one["AlarmIdentifier"]["Region"]: one.get("Inverted", False) for one in configs}


def test_dns_leaves_the_region_out_and_names_it_again(mjctl: Any, emulators: Emulators) -> None:
    dry = mjctl("failover", "--region", REGION, "--dry-run", "-o", "json")
    assert dry.code == ExitCode.OK, dry.err
    assert dry.json()["elsewhere"] == [OTHER_REGION]
    assert inverted(emulators) == {REGION: False, OTHER_REGION: False}

    left = mjctl("failover", "--region", REGION, "--yes", "-o", "json")
    assert left.code == ExitCode.OK, left.err
    assert left.json()["action"] == "closed"
    assert {one["region"] for one in left.json()["probes"]} == {OTHER_REGION}
    assert inverted(emulators) == {REGION: True, OTHER_REGION: False}

    both = mjctl("failover", "--region", OTHER_REGION, "--yes")
    assert both.code == ExitCode.CONFLICT, "the last region that DNS names must not be left"
    assert inverted(emulators) == {REGION: True, OTHER_REGION: False}

    back = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert back.code == ExitCode.OK, back.err
    assert back.json()["action"] == "restored"
    assert inverted(emulators) == {REGION: False, OTHER_REGION: False}
    again = mjctl("failover", "--region", REGION, "--restore", "--yes", "-o", "json")
    assert again.json()["action"] == "none"


def test_players_are_not_sent_to_a_region_that_is_not_well(
    mjctl: Any, emulators: Emulators, regions: dict[str, Production]
) -> None:
    ecs = regions[OTHER_REGION].client("ecs")
    ecs.delete_service(cluster=NAME, service=regions[OTHER_REGION].service, force=True)
    ran = mjctl("failover", "--region", REGION, "--yes")
    assert ran.code == ExitCode.CONFLICT
    assert "nowhere to go" in ran.err
    assert inverted(emulators)[REGION] is False


def test_a_region_that_dns_does_not_know_is_said_to_be_so(mjctl: Any, emulators: Emulators) -> None:
    route53 = emulators.client("route53", REGION)
    for check in route53.list_health_checks()["HealthChecks"]:
        route53.delete_health_check(HealthCheckId=check["Id"])
    ran = mjctl("failover", "--region", REGION, "--restore", "--yes")
    assert ran.code == ExitCode.NOT_FOUND
    assert "stack `edge`" in " ".join(ran.err.split())
