"""`destroy` names the backups that lose their key, before it asks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.cli.lost_backups import warn_of_lost_backups
from mjctl.models.contract import Backup, Contract
from mjctl.models.environment import FOUNDATION
from mjctl.models.errors import UnreachableError


@pytest.fixture
def warn(make_contract: Callable[..., Contract], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*going: str, target: str = "local", error: Exception | None = None) -> list[str]:
        said: list[str] = []
        keeping = {"backup": Backup(directory="/backups")}
        contracts = {name: make_contract(name).model_copy(update=keeping) for name in ("us-east-1", "eu-west-1")}

        async def unreadable_without(leaving: Any, staying: Any, location: Any) -> dict[str, list[Any]]:
            if error is not None:
                raise error
            assert set(leaving) | set(staying) == set(contracts)
            return {name: [SimpleNamespace(backup_id=f"backup-of-{name}")] for name in leaving}

        monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: contracts)
        monkeypatch.setattr("mjctl.backup.operations.unreadable_without", unreadable_without)
        environment = SimpleNamespace(target=target, backup=SimpleNamespace(store=None))
        session = SimpleNamespace(err=SimpleNamespace(print=said.append))
        run: Any = SimpleNamespace(environment=environment, workspace=None, session=session)
        warn_of_lost_backups(run, going)
        return said

    return call


def test_the_backups_of_a_region_that_goes_are_listed(warn: Any) -> None:
    said = "\n".join(warn("us-east-1"))
    assert "us-east-1: its key goes too, so 1 backup can never be opened again" in said
    assert "backup-of-us-east-1" in said
    assert "backup-of-eu-west-1" not in said
    assert "--copy-to" in said


def test_on_aws_the_keys_go_with_the_foundation_only(warn: Any) -> None:
    assert warn("us-east-1", "eu-west-1", target="aws") == []
    assert "backup-of-eu-west-1" in "\n".join(warn(FOUNDATION, "us-east-1", "eu-west-1", target="aws"))


def test_a_store_that_does_not_answer_does_not_stop_a_destroy(warn: Any) -> None:
    (said,) = warn("us-east-1", error=UnreachableError("S3 does not answer"))
    assert "cannot tell which backups become unreadable" in said
