"""Tests of commands that ask before a change: --yes and --auto-approve, the typed words, and the named regions."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mjctl.__main__ import run
from mjctl.cache.model import FlushResult
from mjctl.cli.app import tree
from mjctl.cli.output.console import SafeConsole
from mjctl.cli.session import OutputFormat, Session
from mjctl.models.contract import Contract
from mjctl.models.environment import Environment
from mjctl.models.errors import RefusedError
from mjctl.models.exit_codes import ExitCode
from tests.integration.mjctl.conftest import CommandLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a session whose operator types the given answer."""
    monkeypatch.delenv("CI", raising=False)

    def make(answer: str, *, terminal: bool = True) -> Session:
        kind = Terminal if terminal else io.StringIO
        return Session(SafeConsole(io.StringIO()), SafeConsole(kind()), OutputFormat.TEXT, kind(answer))

    return make


def printed(session: Session) -> str:
    assert isinstance(session.err.file, io.StringIO)
    return session.err.file.getvalue()


@pytest.mark.parametrize("answer", ["yes\n", " yes \n"])
def test_yes_confirms(at_a_terminal: Any, answer: str) -> None:
    session = at_a_terminal(answer)
    session.confirm("Flush [red]it[/]?", yes=False)
    assert "[red]" in printed(session)


def test_a_long_question_is_folded_between_words(at_a_terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    session = at_a_terminal("yes\n")
    session.confirm("Destroy 12 resources and all data of local: us-east-1, eu-west-1?", yes=False)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed(session)).splitlines()
    assert lines == ["Destroy 12 resources and all data of local: us-east-1, eu-west-1?", "Type yes to confirm: "]


@pytest.mark.parametrize("answer", ["y\n", "Y\n", "no\n", "\n", "", "yes please\n", "prod\n"])
def test_only_yes_confirms(at_a_terminal: Any, answer: str) -> None:
    with pytest.raises(RefusedError, match="nothing was changed"):
        at_a_terminal(answer).confirm("Flush?", yes=False)


@pytest.mark.parametrize("answer", ["yes\n", "y\n", "Prod\n", "prod2\n", ""])
def test_only_the_environments_name_confirms_a_loss_of_players_data(at_a_terminal: Any, answer: str) -> None:
    session = at_a_terminal(answer)
    with pytest.raises(RefusedError, match="nothing was changed"):
        session.confirm("Destroy?", yes=False, name="prod")
    assert "prod" in printed(session)


def test_the_typed_name_confirms(at_a_terminal: Any) -> None:
    at_a_terminal("prod\n").confirm("Destroy?", yes=False, name="prod")


@pytest.mark.parametrize("name", [None, "prod"])
def test_without_a_terminal_no_answer_is_read(at_a_terminal: Any, name: str | None) -> None:
    session = at_a_terminal("yes\nprod\n", terminal=False)
    with pytest.raises(RefusedError) as refused:
        session.confirm("Destroy?", yes=False, name=name)
    assert refused.value.exit_code == ExitCode.REFUSED
    assert "--yes" in (refused.value.hint or "")
    session.confirm("Destroy?", yes=True, name=name)


def commands(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(tree, "commands"):
        yield " ".join(path), tree
        return
    for name, command in tree.commands.items():
        yield from commands(command, (*path, name))


ASKING = {
    name: command
    for name, command in commands(tree())
    if {"--yes", "--auto-approve"} & {word for parameter in command.params for word in parameter.opts}
}


def test_every_command_that_asks_accepts_yes_and_auto_approve() -> None:
    assert {"deploy", "destroy", "rollback", "bootstrap", "servers scale", "cache flush", "queue redrive"} <= set(
        ASKING
    )
    for name, command in ASKING.items():
        (option,) = [parameter for parameter in command.params if "--yes" in parameter.opts]
        assert set(option.opts) == {"--yes", "-y", "--auto-approve"}, name


def test_no_variable_confirms_a_change_or_allows_data_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that no environment variable confirms, because it would confirm every later command of the shell."""
    decisive = {"--yes", "--auto-approve", "--allow-data-loss"}
    for word in ("YES", "AUTO_APPROVE", "ALLOW_DATA_LOSS", "FAILOVER_ALLOW_DATA_LOSS"):
        monkeypatch.setenv(f"MJCTL_{word}", "1")
    checked = 0
    for name, command in commands(tree()):
        options = [parameter for parameter in command.params if decisive & set(parameter.opts)]
        with command.make_context(name, [], resilient_parsing=True) as context:
            for option in options:
                assert option.envvar is None, name
                assert not option.value_from_envvar(context), name
                assert not context.params[option.name], name
        checked += len(options)
    assert checked > len(ASKING)


@pytest.mark.parametrize(
    "line",
    [
        ("cache", "flush", "--yes"),
        ("cache", "invalidate", "profile:1"),
        ("cache", "invalidate", "--pattern", "*"),
        ("queue", "purge", "persistence", "--yes"),
        ("queue", "redrive", "persistence", "--yes"),
    ],
    ids=" ".join,
)
def test_commands_that_remove_data_need_the_regions_named(
    line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: pytest.fail("regions were read"))
    assert run(list(line)) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "--region" in error
    assert "--all-regions" in error


def environment(target: str, **fields: Any) -> Environment:
    zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
    aws = {"account_id": "123456789012", "domain": {"name": "a.example.com"}, "backup": {"copy_region": "eu-west-1"}}
    return Environment.model_validate(
        {
            "name": "prod",
            "project": "arena",
            "target": target,
            "regions": {"us-east-1": {"zones": zones}},
            "aws": None if target == "local" else aws,
            **fields,
        }
    )


def test_environments_on_aws_store_players_data_by_default() -> None:
    assert environment("aws").stores_players_data
    assert not environment("local").stores_players_data
    assert not environment("sandbox").stores_players_data
    assert environment("local", players_data=True).stores_players_data
    assert not environment("aws", players_data=False).stores_players_data


@pytest.mark.parametrize(("players_data", "answer"), [(True, "prod\n"), (False, "yes\n")])
def test_cache_flush_asks_for_the_environments_name_if_it_stores_players_data(
    players_data: bool,
    answer: str,
    make_contract: Any,
    at_a_terminal: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened = environment("local", players_data=players_data)
    monkeypatch.setattr("mjctl.cli.target.open_environment", lambda _: (tmp_path, opened))
    contract: Contract = make_contract()
    command = CommandLine({contract.region: contract}, capsys)
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    flushed: list[str] = []

    @asynccontextmanager
    async def open_cache(contract: Contract) -> AsyncIterator[str]:
        yield contract.region

    async def flush(cache: str, **_: Any) -> FlushResult:
        flushed.append(cache)
        return FlushResult(keys=3, foreign_namespaces=0)

    monkeypatch.setattr("mjctl.cache.access.open_cache", open_cache)
    monkeypatch.setattr("mjctl.cache.access.flush", flush)
    for typed in ("prod\n" if answer == "yes\n" else "yes\n", "y\n"):
        monkeypatch.setattr("mjctl.cli.target.open_session", lambda _, typed=typed: at_a_terminal(typed))
        assert command("cache", "flush", "--region", contract.region).code == ExitCode.REFUSED
    assert not flushed
    monkeypatch.setattr("mjctl.cli.target.open_session", lambda _: at_a_terminal(answer))
    assert command("cache", "flush", "--region", contract.region).code == ExitCode.OK
    assert flushed == [contract.region]


def test_the_question_before_a_deploy_shows_the_values(at_a_terminal: Any, tmp_path: Path) -> None:
    from mjctl.cli.deploy_run import Run
    from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitOutcome, UnitResult

    attributes = (
        AttributeChange("desired_count", 3, 6),
        AttributeChange("password", Hidden.SENSITIVE, Hidden.SENSITIVE),
    )
    change = Change("aws_ecs_service.game", "update", attributes=attributes)
    planned = UnitResult("us-east-1", UnitOutcome.PLANNED, changes=(change,))
    session = at_a_terminal("yes\n")
    run: Any = Run("deploy", session, Any, Any)
    run.confirm([planned], "Apply?", False)
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(session))
    assert text.index("desired_count: 3 -> 6") < text.index("Apply?")
    assert "password: (sensitive) -> (sensitive)" in text
