"""Runs every public command with a wrong option, with nothing deployed, with stopped services, and with Ctrl-C.

The first test fails for a command that is in mjctl but not in COMMANDS.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mjctl.__main__ import run
from mjctl.cli.app import tree
from mjctl.models.exit_codes import ExitCode
from tests.documents import read_document

from .conftest import REGION, Operator, SharedRegion

pytestmark = pytest.mark.stack

# The valid arguments of every command, as a pipeline would pass them.
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("--region", REGION),
    "deploy": ("--region", REGION, "--auto-approve"),
    "destroy": ("--region", REGION, "--auto-approve"),
    "rollback": ("--region", REGION, "--auto-approve"),
    "drift": ("--region", REGION),
    "outputs": (),
    "status": (),
    "history": (),
    "unlock": ("--region", REGION),
    "failover": ("--region", REGION, "--yes"),
    "health": (),
    "loadtest": ("--players", "2", "--duration", "10"),
    "doctor": (),
    "completion": ("bash",),
    "help": ("cache", "flush"),
    "version": (),
    "backup create": (),
    "backup list": (),
    "backup show": ("20990101T000000Z-none",),
    "backup verify": (),
    "backup restore": ("20990101T000000Z-none", "--yes"),
    "backup prune": ("--yes",),
    "backup drill": (),
    "backup discard": ("scratch-none", "--yes"),
    "cache hot": (),
    "cache stats": (),
    "cache keys": ("profile:*",),
    "cache get": ("profile:nobody",),
    "cache ttl": ("profile:nobody",),
    "cache expire": ("profile:nobody", "5"),
    "cache invalidate": ("profile:nobody", "--region", REGION),
    "cache flush": ("--region", REGION, "--yes"),
    "queue list": (),
    "queue peek": ("persistence",),
    "queue redrive": ("persistence", "--region", REGION, "--yes"),
    "queue purge": ("persistence", "--region", REGION, "--yes"),
    "servers list": (),
    "servers drain": (f"game-{REGION}a-1", "--region", REGION, "--yes"),
    "servers restart": ("--region", REGION, "--yes"),
    "servers scale": ("1", "--region", REGION, "--auto-approve"),
    "bootstrap": ("--env", "sandbox", "--auto-approve"),
    "package": ("--env", "sandbox"),
    "sandbox up": (),
    "sandbox down": ("--yes",),
    "sandbox status": (),
    "sandbox logs": (),
    "sandbox mail": (),
    "sandbox calls": (),
    "config validate": (),
    "config show": (),
    "config schema": (),
}
# Exit codes of the commands that do not end with NOT_FOUND when nothing is deployed.
ON_NOTHING = {
    "plan": ExitCode.CHANGES_PENDING,
    "destroy": ExitCode.OK,
    "drift": ExitCode.NOT_FOUND,
    "status": ExitCode.OK,
    "bootstrap": ExitCode.UNREACHABLE,
    "sandbox down": ExitCode.OK,
    "sandbox status": ExitCode.OK,
    "sandbox mail": ExitCode.OK,
    "sandbox calls": ExitCode.OK,
    "history": ExitCode.OK,
    "unlock": ExitCode.OK,
    "doctor": ExitCode.OK,
    "completion": ExitCode.OK,
    "help": ExitCode.OK,
    "version": ExitCode.OK,
    "config validate": ExitCode.OK,
    "config show": ExitCode.OK,
    "config schema": ExitCode.OK,
}
MAKES_SOMETHING = {"deploy", "package", "sandbox up"}
WITHOUT_AN_ENVIRONMENT = {"doctor", "completion", "help", "version", "config schema"}
WITHOUT_JSON = {"completion", "help", "config schema"}
# The commands that ask before they change something, without the option that confirms the change.
UNCONFIRMED = {
    name: tuple(word for word in line if word not in ("--yes", "--auto-approve"))
    for name, line in COMMANDS.items()
    if {"--yes", "--auto-approve"} & set(line)
}
# Commands that ask no question when there is nothing to change.
NOTHING_TO_ASK = {
    "backup prune",
    "deploy",
    "destroy",
    "queue purge",
    "rollback",
    "sandbox down",
    "servers scale",
}


def commands_of(tree: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if not hasattr(tree, "commands"):
        yield " ".join(path)
        return
    for name, command in tree.commands.items():
        yield from commands_of(command, (*path, name))


def line(name: str) -> list[str]:
    return [*name.split(), *COMMANDS[name]]


def assert_one_screen(stderr: str) -> None:
    assert "error:" in stderr
    assert "Traceback" not in stderr
    assert "mjctl itself has failed" not in stderr, stderr
    assert len(stderr.splitlines()) <= 30, stderr


def begun(operator: Operator, *arguments: str) -> subprocess.Popen[str]:
    """Start a command and wait until the function `main` of mjctl runs. Before `main` runs, Python itself handles the
    signals."""
    program = "import sys; from mjctl.__main__ import main; print('begun', file=sys.stderr, flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=operator.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    return process


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_table_has_every_command() -> None:
    assert sorted(COMMANDS) == sorted(commands_of(tree()))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_wrong_option_is_a_usage_error(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*line(name), "--nosuch"]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_screen(captured.err)
    assert "--nosuch" in captured.err
    assert not home.exists()


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_AN_ENVIRONMENT))
def test_an_environment_that_does_not_exist_is_reported(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line(name), "--env", "nosuch"]) == ExitCode.NOT_FOUND
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_screen(captured.err)
    assert "nosuch" in captured.err
    assert not home.exists()


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - MAKES_SOMETHING))
def test_nothing_is_deployed(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(line(name))
    captured = capsys.readouterr()
    assert code == ON_NOTHING.get(name, ExitCode.NOT_FOUND), captured.err
    if code == ExitCode.NOT_FOUND:
        assert_one_screen(captured.err)
        assert "deploy" in captured.err
    assert not list(home.rglob("*.tfplan"))


@pytest.mark.parametrize("name", sorted(UNCONFIRMED))
def test_a_question_is_refused_without_a_terminal(
    name: str, operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The commands run in this process, because a separate process for each command would take a minute more.
    monkeypatch.setenv("MJCTL_HOME", str(operator.home))

    def status() -> Any:
        assert run(["status", "--output", "json"]) == ExitCode.OK
        return read_document(capsys.readouterr().out)

    before = status()
    code = run([*name.split(), *UNCONFIRMED[name]])
    stderr = capsys.readouterr().err
    expected = {ExitCode.REFUSED, ExitCode.NOT_FOUND}
    if name in NOTHING_TO_ASK:
        expected |= {ExitCode.OK}
    if name == "destroy":
        expected = {ExitCode.REFUSED}
    elif name == "bootstrap":
        expected = {ExitCode.UNREACHABLE}
    elif name == "failover":
        # `failover` finds no other deployed region to which it could send the players.
        expected = {ExitCode.CONFLICT}
    assert code in expected, stderr
    if code != ExitCode.OK:
        assert_one_screen(stderr)
    assert status() == before


OF_THE_SANDBOX = {"bootstrap", "package", *(name for name in COMMANDS if name.startswith("sandbox "))}


@pytest.fixture(scope="class")
def down(shared_region: SharedRegion) -> Iterator[Operator]:
    """Stop Redis, the database and the emulated AWS of a region without backups; the game servers still run."""
    shared_region.repair()
    shared_region.operator.remove_backups()
    parts = ("redis", "cache", "postgres", "aws")
    for part in parts:
        shared_region.supervisor.stop(part)
    yield shared_region.operator
    for part in parts:
        shared_region.supervisor.start(part)


# Commands that the test of stopped services does not run, because these commands start or stop services.
APPLIES = {"deploy", "destroy", "rollback", "servers scale"}
# Exit codes of the commands that do not end with UNREACHABLE while Redis, the database and the emulated AWS are
# stopped.
WHEN_DOWN = {
    **dict.fromkeys(("plan", "drift"), ExitCode.CHANGES_PENDING),
    "health": ExitCode.UNHEALTHY,
    # The local folder of backups is empty.
    **dict.fromkeys(("backup drill", "backup restore", "backup show", "backup verify"), ExitCode.NOT_FOUND),
    # `failover` finds no second deployed region. `servers drain` and `servers restart` find no second server that is
    # ready, because no server is ready without Redis.
    **dict.fromkeys(("failover", "servers drain", "servers restart"), ExitCode.CONFLICT),
    **dict.fromkeys(
        ("backup list", "backup prune", "history", "outputs", "servers list", "status", "unlock"), ExitCode.OK
    ),
    **dict.fromkeys(("completion", "config schema", "config show", "config validate", "doctor"), ExitCode.OK),
    **dict.fromkeys(("help", "version"), ExitCode.OK),
}


@pytest.mark.slow
class TestEverythingIsDown:
    @pytest.mark.parametrize("name", sorted(set(COMMANDS) - APPLIES - OF_THE_SANDBOX))
    def test_every_command_reports_the_stopped_services(self, name: str, down: Operator) -> None:
        as_json = () if name in WITHOUT_JSON else ("--output", "json")
        ran = down.run(*line(name), *as_json)
        assert "Traceback" not in ran.stderr
        assert ran.code == WHEN_DOWN.get(name, ExitCode.UNREACHABLE), ran.stderr
        # `health` reports failed checks in its document, not on stderr.
        if ran.code not in (ExitCode.OK, ExitCode.CHANGES_PENDING, ExitCode.UNHEALTHY):
            assert ran.stderr.strip(), "an error without a word"
        if as_json:
            assert ran.json()["command"] == name


# Exit codes of the commands that do not end with OK on a healthy region.
WHEN_UP = {
    "bootstrap": ExitCode.UNREACHABLE,
    "failover": ExitCode.CONFLICT,
    # The region has no earlier release, and `prepare_backups` has removed the backups.
    "rollback": ExitCode.NOT_FOUND,
    **dict.fromkeys(("backup discard", "backup restore", "backup show", "backup verify"), ExitCode.NOT_FOUND),
    **dict.fromkeys(("cache expire", "cache get", "cache ttl"), ExitCode.NOT_FOUND),
}


def prepare_backups(operator: Operator, name: str) -> None:
    """Remove the backups of earlier tests, and create a backup for the command that needs it."""
    operator.remove_backups()
    if name == "backup drill":
        assert operator.run("backup", "create", "--region", REGION).code == ExitCode.OK


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON - {"destroy", "sandbox logs"}))
def test_the_document_of_every_command_fits_its_schema(
    name: str, operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check the document of each command on a healthy region, or its error document, against the published schema."""
    prepare_backups(operator, name)
    monkeypatch.setenv("MJCTL_HOME", str(operator.home))
    code = run([*line(name), "--output", "json"])
    captured = capsys.readouterr()
    document = read_document(captured.out)
    assert document["command"] == name
    assert ("error" in document) is (code in (ExitCode.UNREACHABLE, ExitCode.CONFLICT, ExitCode.NOT_FOUND)), code
    if name not in WHEN_UP:
        assert code == ExitCode.OK, captured.err
    if name == "sandbox up":
        assert run(["sandbox", "down", "--yes"]) == ExitCode.OK


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"destroy"}))
def test_an_interrupted_command_leaves_no_lock(
    name: str, operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupt each command with SIGINT while it starts, and with SIGTERM while it works."""
    prepare_backups(operator, name)
    for sent, after in ((signal.SIGINT, 0.03), (signal.SIGTERM, 0.3)):
        process = begun(operator, *line(name))
        time.sleep(after)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        # A command that ended before the signal has its usual exit code. A signal during Python's shutdown kills the
        # process.
        assert process.returncode in (ExitCode.INTERRUPTED, -sent, WHEN_UP.get(name, ExitCode.OK)), stderr
    if name == "sandbox up":
        assert operator.run("sandbox", "down", "--yes").code == ExitCode.OK
    monkeypatch.setenv("MJCTL_HOME", str(operator.home))
    assert run(["status", "--region", REGION, "--output", "json"]) == ExitCode.OK
    assert read_document(capsys.readouterr().out)["regions"][0]["held_by"] is None
