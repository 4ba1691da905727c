"""Tests that `destroy` lists the backups that it makes unreadable before it asks for approval."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.backup.lost import lost_with
from mjctl.cli.commands.deploy import _destroy_approval
from mjctl.cli.output.backup import lost_backup_lines
from mjctl.models.contract import Backup, Contract
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.environment import FOUNDATION
from mjctl.models.errors import UnreachableError


@pytest.fixture
def lost(make_contract: Callable[..., Contract], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*units: str, target: str = "local") -> str:
        store = {"backup": Backup(directory="/backups")}
        contracts = {name: make_contract(name).model_copy(update=store) for name in ("us-east-1", "eu-west-1")}

        async def unreadable_without(destroyed: Any, remaining: Any, location: Any) -> dict[str, list[Any]]:
            assert location is None
            assert set(destroyed) | set(remaining) == set(contracts)
            return {name: [SimpleNamespace(backup_id=f"backup-of-{name}")] for name in destroyed}

        monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: contracts)
        monkeypatch.setattr("mjctl.backup.lost.unreadable_without", unreadable_without)
        environment: Any = SimpleNamespace(target=target, backup=SimpleNamespace(store=None))
        workspace: Any = None
        return "\n".join(lost_backup_lines(lost_with(workspace, environment, units)))

    return call


def test_the_backups_of_a_destroyed_region_are_listed(lost: Any) -> None:
    text = lost("us-east-1")
    assert "us-east-1: its key is deleted too, so 1 backup can never be opened again" in text
    assert "backup-of-us-east-1" in text
    assert "backup-of-eu-west-1" not in text
    assert "--copy-to" in text


def test_on_aws_only_the_destroy_of_the_foundation_makes_backups_unreadable(lost: Any) -> None:
    assert lost("us-east-1", "eu-west-1", target="aws") == ""
    assert "backup-of-eu-west-1" in lost(FOUNDATION, "us-east-1", "eu-west-1", target="aws")


def test_a_store_that_does_not_answer_does_not_stop_a_destroy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnreachableError("S3 does not answer")

    monkeypatch.setattr("mjctl.backup.lost.lost_with", refuse)
    lines: list[str] = []
    session = SimpleNamespace(say=lambda *given: lines.extend(given), confirm=lambda *_, **__: None)
    environment = SimpleNamespace(name="local", stores_players_data=False)
    run: Any = SimpleNamespace(environment=environment, workspace=None, session=session)
    assert _destroy_approval(run, auto_approve=True)([UnitResult("us-east-1", UnitOutcome.PLANNED, remove=1)])
    (line,) = lines
    assert "cannot tell which backups become unreadable" in line
