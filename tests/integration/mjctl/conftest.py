"""A contract over the session's real services, and the command as a process would run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gameserver.runtime.settings import Settings
from mjctl.__main__ import run
from mjctl.models.contract import Contract
from tests.documents import read_document
from tests.factories import contract_over
from tests.integration.conftest import EmulatedAws


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def contract(settings: Settings, aws: EmulatedAws) -> Contract:
    """Return the contract that a stack with the session's services would publish, without game servers, API and
    worker."""
    return contract_over(settings, aws.secret)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the document on stdout, which fits its published schema."""
        return read_document(self.out)


@dataclass
class CommandLine:
    """Runs `mjctl` in this process over `contracts`, as if Terraform had published them."""

    contracts: Mapping[str, Contract]
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        code = run(list(arguments))
        captured = self.capture.readouterr()
        return Ran(int(code), captured.out, captured.err)

    def add(self, region: str, contract: Contract) -> None:
        """Add `contract` as the contract of a deployed region `region`, beside the other regions."""
        self.contracts = {**self.contracts, region: contract.model_copy(update={"region": region})}


@pytest.fixture
def mjctl(
    contract: Contract, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> CommandLine:
    command = CommandLine({contract.region: contract}, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


@pytest.fixture
def without_cache(contract: Contract) -> Contract:
    """Return the contract of the region with an address of the cache at which no process listens."""
    return contract.model_copy(update={"cache": contract.cache.model_copy(update={"url": "redis://127.0.0.1:1/0"})})


@pytest.fixture
def without_state(contract: Contract) -> Contract:
    """Return the contract of the region with an address of the state store at which no process listens."""
    return contract.model_copy(update={"state": contract.state.model_copy(update={"url": "redis://127.0.0.1:1/0"})})
