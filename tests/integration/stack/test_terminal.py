"""Runs every command on a real pseudo-terminal of 80, 40 and 200 columns, with and without colour.

The commands come from the tree of commands: a new command fails `test_the_table_has_every_command` until it has a line
in LINES. A command is run by a child of `terminal_server.py`, which has imported mjctl already.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import pytest
from rich.cells import cell_len

from gameserver.cache import DistributedCache
from mjctl.cli.app import tree
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, SharedRegion
from .test_every_command import commands_of

pytestmark = pytest.mark.stack

_SIDE_BY_SIDE = 3
SIZES = ((80, 24), (40, 24), (200, 50))
COLOURS = ({}, {"NO_COLOR": "1"})
Look = tuple[tuple[int, int], dict[str, str]]
LOOKS: tuple[Look, ...] = tuple((size, colour) for size in SIZES for colour in COLOURS)
# Each size of the terminal once, with or without colour: all six combinations take twice as long.
FEW_LOOKS = (LOOKS[0], LOOKS[3], LOOKS[4])
# Environment variables that change the look of a command. A command in a test gets these variables from the test only,
# and not from this machine's environment.
DROPPED = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI", "TERM", "COLORTERM", "LC_ALL", "PYTHONIOENCODING")
KEY = "profile:terminal"
# A cache key whose control characters would retitle and clear the terminal, reorder the line and add a line.
EVIL_KEY = "profile:\x1b]0;owned\x07\x1b[2J\u202eevil\nus-east-1  profile:faked [red]"
EVIL_SHOWN = r"profile:\x1b]0;owned\x07\x1b[2J\u202eevil\nus-east-1  profile:faked [red]"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


@dataclass(frozen=True)
class Line:
    """Describes one command line and its expected result.

    Attributes:
        arguments: The arguments after the command's name. `BACKUP` stands for the id of a backup.
        codes: The expected exit codes.
        answers: The answers to the questions of the command.
        table: Whether stdout is a table, in which no name may be cut and no line may be too long.
    """

    arguments: tuple[str, ...] = ()
    codes: tuple[ExitCode, ...] = (ExitCode.OK,)
    answers: tuple[str, ...] = ()
    table: bool = False
    lane: str = "any"


_HERE = ("--region", REGION)
_NO = {"codes": (ExitCode.REFUSED,), "answers": ("no",)}
_DONE_OR_REFUSED = {"codes": (ExitCode.OK, ExitCode.REFUSED), "answers": ("no",)}
# A lane is a group of commands that run one after another, because they use the same lock or the same data.
_LOCK = {"lane": "lock"}
_QUEUE = {"lane": "queue"}

LINES: dict[str, list[Line]] = {
    # `plan` shortens values to the width of the terminal, so its output is not checked as a table.
    "plan": [Line(_HERE, (ExitCode.OK, ExitCode.CHANGES_PENDING), **_LOCK)],
    "deploy": [Line(("--region", "eu-west-1"), **_NO, **_LOCK)],
    "destroy": [Line(_HERE, **_NO, **_LOCK)],
    "rollback": [Line((*_HERE, "--lock-timeout", "60"), (ExitCode.NOT_FOUND,), **_LOCK)],
    "drift": [Line(_HERE, (ExitCode.OK, ExitCode.CHANGES_PENDING), **_LOCK)],
    "outputs": [Line(table=True)],
    "status": [Line(table=True, **_LOCK)],
    "history": [Line(table=True)],
    "unlock": [Line(_HERE, (ExitCode.OK, ExitCode.NOT_FOUND), **_LOCK)],
    "failover": [Line(_HERE, (ExitCode.CONFLICT,))],
    "health": [
        Line(
            ("--only", "redis", "--only", "server/*", "--only", "backup"), (ExitCode.OK, ExitCode.UNHEALTHY), table=True
        ),
        Line(("--only", "nosuch/*"), (ExitCode.UNHEALTHY, ExitCode.USAGE, ExitCode.NOT_FOUND)),
    ],
    "loadtest": [Line(("--players", "2", "--duration", "2", "--mode", "probe"))],
    "doctor": [Line(codes=(ExitCode.OK, ExitCode.DEPENDENCY), table=True)],
    "completion": [Line(("bash",))],
    "help": [Line(), Line(("cache", "flush"))],
    "version": [Line()],
    "backup create": [Line(_HERE, lane="backup")],
    "backup list": [Line(table=True, lane="backup")],
    "backup show": [Line(("BACKUP",), table=True)],
    "backup verify": [Line(("BACKUP",))],
    "backup restore": [Line(("BACKUP", *_HERE), **_DONE_OR_REFUSED)],
    "backup prune": [Line(**_DONE_OR_REFUSED, lane="backup")],
    "backup drill": [Line(_HERE, lane="drill")],
    "backup discard": [Line(("scratch-none",), (ExitCode.REFUSED, ExitCode.NOT_FOUND), ("no",))],
    "cache hot": [Line(("--seconds", "1"))],
    # A drill creates namespaces, which `cache stats` lists.
    "cache stats": [Line(table=True, lane="drill")],
    "cache keys": [Line(("profile:*", "--sizes"), table=True)],
    "cache get": [Line((KEY,)), Line(("profile:nosuch",), (ExitCode.NOT_FOUND,))],
    "cache ttl": [Line((KEY,))],
    "cache expire": [Line((KEY, "600"))],
    "cache invalidate": [
        Line((*_HERE, "--pattern", "profile:*", "--dry-run")),
        Line((*_HERE, "--pattern", "nosuch:*")),
        Line((*_HERE, "--pattern", "*"), **_NO),
        Line((*_HERE, "--namespace", "nosuch")),
    ],
    "cache flush": [Line((*_HERE, "--dry-run")), Line(_HERE, **_NO)],
    "queue list": [Line(table=True, **_QUEUE)],
    "queue peek": [Line(("persistence", "--bodies"), table=True, **_QUEUE)],
    "queue redrive": [
        Line(("persistence", *_HERE, "--limit", "1"), (ExitCode.OK,), ("yes",), **_QUEUE),
        Line(("persistence", *_HERE), **_DONE_OR_REFUSED, **_QUEUE),
    ],
    "queue purge": [Line(("persistence", *_HERE), **_DONE_OR_REFUSED, **_QUEUE)],
    "servers list": [Line(table=True)],
    "servers drain": [Line((f"game-{REGION}a-1", *_HERE), **_NO)],
    "servers restart": [Line(_HERE, **_NO)],
    "servers scale": [Line(("2", *_HERE), **_NO, **_LOCK)],
    "bootstrap": [Line(("--env", "sandbox"), (ExitCode.UNREACHABLE,))],
    "package": [Line(("--env", "local"), (ExitCode.USAGE,))],
    "sandbox up": [Line(("--env", "local"), (ExitCode.USAGE,))],
    "sandbox down": [Line()],
    "sandbox status": [Line(table=True)],
    "sandbox logs": [Line((), (ExitCode.NOT_FOUND,))],
    "sandbox mail": [Line()],
    "sandbox calls": [Line(("--refused",))],
    "config validate": [Line(("--all",))],
    "config show": [Line()],
    "config schema": [Line()],
}


@dataclass(frozen=True)
class Shown:
    """Holds the output of a command."""

    line: str
    columns: int
    code: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float

    @property
    def text(self) -> str:
        """Return stdout without escape sequences."""
        return _SEQUENCE.sub("", self.stdout).replace("\r\n", "\n")

    @property
    def all(self) -> str:
        return self.stdout + self.stderr


@dataclass
class Terminals:
    """Runs commands on several terminal servers, each of which runs one command at a time."""

    operator: Operator
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    free: SimpleQueue[subprocess.Popen[str]] = field(default_factory=SimpleQueue)

    def start(self, count: int) -> None:
        self.servers = [
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("terminal_server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        for server in self.servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            self.free.put(server)

    def stop(self) -> None:
        for server in self.servers:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.close()
            server.wait(timeout=60)
            server.stdout.close()

    def run(
        self,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        answers: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        **more: str,
    ) -> Shown:
        """Run one command.

        Args:
            more: `stdout` and `stderr` (terminal, pipe, broken, full or closed), `interrupt_at`.
        """
        kept = {name: value for name, value in self.operator.environment.items() if name not in DROPPED}
        request = {
            "arguments": arguments,
            "columns": columns,
            "lines": lines,
            "answers": answers,
            "environment": {**kept, "TERM": "xterm-256color", **(environment or {})},
            **more,
        }
        server = self.free.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
        finally:
            self.free.put(server)
        return Shown(" ".join(arguments), columns, **answer)


@pytest.fixture(scope="session")
def contract(shared_region: SharedRegion) -> Contract:
    return Contract.model_validate(shared_region.contract)


@pytest.fixture
def backup(operator: Operator) -> str:
    created = operator.run("backup", "create", "--region", REGION, "--output", "json")
    assert created.code == ExitCode.OK, created.stderr
    return str(created.json()["regions"][0]["backup_id"])


@pytest.fixture(scope="session")
def servers(shared_region: SharedRegion) -> Iterator[Terminals]:
    terminals = Terminals(shared_region.operator)
    terminals.start(_SIDE_BY_SIDE)
    yield terminals
    terminals.stop()


@pytest.fixture
def terminals(servers: Terminals, contract: Contract, operator: Operator) -> Terminals:
    """Put odd data into the cache, and remove the sandbox of earlier tests."""
    asyncio.run(_fill_cache(contract))
    shutil.rmtree(operator.home / "sandbox", ignore_errors=True)
    return servers


async def _fill_cache(contract: Contract) -> None:
    from mjctl.clients.boto import RegionClients
    from mjctl.clients.stores import cache

    with RegionClients(contract) as clients:
        async with cache(contract, clients, timeout_seconds=10) as redis:
            distributed = DistributedCache(redis)
            for name in (KEY, EVIL_KEY, *(f"profile:player-{number:08}" for number in range(20))):
                namespace, _, key = name.partition(":")
                value = {"name": "Zoë 🙂", "note": "\x1b[31mred\x1b[0m " + "long " * 100}
                await distributed.set(namespace, key, value, ttl_seconds=3600)


@pytest.fixture
def dead_letters(contract: Contract) -> None:
    """Put odd messages into the dead-letter queue. A message that a test has redriven may return to the dead-letter
    queue after the test."""
    from mjctl.clients.boto import RegionClients

    # SQS accepts no control characters except line ends, so the third body has its control characters as JSON escapes.
    bodies = ('{"type": "match_ended", "event_id": "e-1"}', "not\nJSON \u202e", r'{"type": "\u001b[2J\u0007"}')
    url = contract.queues["persistence"].dead_letter.url
    with RegionClients(contract) as clients:
        for body in bodies:
            clients.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def test_the_table_has_every_command() -> None:
    assert sorted(LINES) == sorted(commands_of(tree()))


@pytest.mark.parametrize("looks", [FEW_LOOKS, pytest.param(LOOKS, marks=pytest.mark.slow)], ids=["few", "all"])
def test_every_command_at_every_size_with_and_without_colour(
    terminals: Terminals, dead_letters: None, backup: str, looks: Sequence[Look]
) -> None:
    # Only the first check of Redis reports "since its start", so it runs before the outputs of all widths are compared.
    assert terminals.run("health", "--only", "redis").code == ExitCode.OK
    lanes: dict[str, list[tuple[str, Line]]] = {}
    for name, lines in LINES.items():
        for number, line in enumerate(lines):
            lane = line.lane if line.lane != "any" else f"{name} {number}"
            lanes.setdefault(lane, []).append((name, line))

    def work(lane: list[tuple[str, Line]]) -> list[tuple[str, Line, list[Shown]]]:
        done = []
        for name, line in lane:
            arguments = [*name.split(), *(backup if word == "BACKUP" else word for word in line.arguments)]
            shown = [
                terminals.run(*arguments, columns=columns, lines=height, answers=line.answers, environment=colour)
                for (columns, height), colour in looks
            ]
            done.append((name, line, shown))
        return done

    # The long lanes start first, so that short lanes fill the remaining time.
    ordered = sorted(lanes.values(), key=len, reverse=True)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        results = [result for lane in pool.map(work, ordered) for result in lane]
    problems = [problem for name, line, shown in results for problem in problems_of(line, shown, looks)]
    assert problems == []
    assert {name for name, _, _ in results} == set(commands_of(tree()))


def problems_of(line: Line, runs: Sequence[Shown], looks: Sequence[Look]) -> Iterator[str]:
    widest = max(runs, key=lambda shown: shown.columns)
    known = words_of(widest.text)
    for shown, (_, colour) in zip(runs, looks, strict=True):
        where = f"`{shown.line}` at {shown.columns} columns"
        if shown.code not in line.codes:
            yield f"{where} ended with {shown.code}: {shown.stderr}"
        if "Traceback" in shown.all or "mjctl itself has failed" in shown.all:
            yield f"{where} crashed: {shown.all}"
        if colour and "\x1b" in shown.all:
            yield f"{where} wrote an escape sequence in spite of NO_COLOR: {shown.all!r}"
        if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e]|\x1b[^\[]", shown.all):
            yield f"{where} wrote a control character: {shown.all!r}"
        if line.answers and shown.code == ExitCode.REFUSED and " to confirm: " not in shown.stderr:
            yield f"{where} refused without a question"
        if line.table:
            yield from (f"{where} cut a word: {word!r}" for word in sorted(words_of(shown.text) - known))
            yield from (
                f"{where} has a line of {cell_len(text)} columns: {text!r}"
                for text in shown.text.splitlines()
                if cell_len(text) > shown.columns and len(text.split()) > 1 and max(map(len, text.split())) < 20
            )


# Words that only a narrow table has: the note that names hidden columns, and the units of an age.
_ANYWHERE = frozenset(("hidden", "for", "lack", "of", "room:", "s", "min", "h", "d", "in", "ago"))


def words_of(text: str) -> set[str]:
    """Return the words of a table with every number replaced, because numbers differ between two runs."""
    return {re.sub(r"\d+(?:\.\d+)?", "0", word.rstrip(",")) for word in text.split()} - _ANYWHERE


def test_foreign_text_is_escaped_everywhere_it_is_shown(terminals: Terminals, operator: Operator) -> None:
    for columns in (40, 80, 200):
        assert EVIL_SHOWN in terminals.run("cache", "keys", "profile:*", columns=columns).text
    assert EVIL_SHOWN in terminals.run("cache", "stats", columns=200).text
    refused = terminals.run("cache", "get", "profile:\x1b[2J\u202e\n")
    assert r"profile:\x1b[2J\u202e" in refused.stderr
    refused = terminals.run("queue", "purge", "persistence\x1b[2J", *_HERE, answers=["no"])
    assert "\x1b[2J" not in refused.all
    # Into a pipe, mjctl writes the cache key without escapes.
    document = operator.run("cache", "keys", "profile:*", "--output", "json").json()
    assert EVIL_KEY in [f"{key['namespace']}:{key['key']}" for key in document["regions"][0]["keys"]]


def test_the_answer_no_changes_nothing_and_yes_continues(terminals: Terminals) -> None:
    line = ("cache", "invalidate", *_HERE, "--pattern", "*:terminal-nosuch*")
    refused = terminals.run("cache", "flush", *_HERE, answers=["nope"])
    assert refused.code == ExitCode.REFUSED
    assert "nothing was changed" in refused.stderr
    assert terminals.run("cache", "get", KEY).code == ExitCode.OK
    assert terminals.run(*line).code == ExitCode.OK


# Environment variables of a shell, a container and a pipeline, with which the output must be readable and have no
# traceback.
ENVIRONMENTS = [
    *({"COLUMNS": columns} for columns in ("0", "-1", "abc", "5", "10000", "", "²", "9" * 5000)),
    {"LINES": "0"},
    {"NO_COLOR": "1"},
    {"TERM": "dumb"},
    {"TERM": ""},
    {"CI": "1"},
    {"CI": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "latin-1"},
    {"FORCE_COLOR": "1", "NO_COLOR": "1"},
]
# Commands that print a table, progress without a total, a value with an emoji, and an error.
SAMPLES: list[tuple[tuple[str, ...], ExitCode]] = [
    (("cache", "keys", "profile:*"), ExitCode.OK),
    (("cache", "invalidate", *_HERE, "--pattern", "profile:*", "--dry-run"), ExitCode.OK),
    (("cache", "get", KEY), ExitCode.OK),
    (("config", "validate", "--env", "nosuch"), ExitCode.NOT_FOUND),
]


def test_every_environment_gives_clean_output(terminals: Terminals) -> None:
    runs = [
        (environment, stdout, line, code)
        for environment in ENVIRONMENTS
        for line, code in SAMPLES
        for stdout in ("terminal", "pipe")
        # Into a pipe, mjctl writes only the data on stdout.
        if stdout == "terminal" or line[1] in ("keys", "get")
    ]

    def work(run: tuple[dict[str, str], str, tuple[str, ...], ExitCode]) -> Shown:
        environment, stdout, line, _ = run
        return terminals.run(*line, environment=environment, stdout=stdout)

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        shown = list(pool.map(work, runs))
    for (environment, stdout, line, code), ran in zip(runs, shown, strict=True):
        assert (ran.code, environment) == (code, environment), ran
        assert "Traceback" not in ran.all, ran
        assert "Exception ignored" not in ran.all, ran
        if {"NO_COLOR", "TERM"} & set(environment):
            assert "\x1b" not in ran.all, (environment, ran)
        if stdout == "pipe" or "CI" in environment:
            assert "\x1b[2K" not in ran.all, (environment, ran)
        expected = {"keys": KEY, "invalidate": "keys would be invalidated", "get": "Zo", "validate": "nosuch"}[line[1]]
        assert expected in ran.text + ran.stderr, (environment, ran)
        if line[1] == "get":
            assert json.loads(ran.text)["name"] == "Zoë 🙂", (environment, ran)


def test_closed_full_and_broken_streams(terminals: Terminals) -> None:
    """Check closed, broken and full output streams.

    With a closed stream, the command does its work. With a broken stream, the reader has closed its end of the pipe.

    With a full stream, the result of the command is lost, so the command must not end with OK.
    """
    runs = [
        (out, err, output, line, code)
        for out in ("terminal", "pipe", "closed", "full", "broken")
        for err in ("terminal", "closed", "full", "broken")
        for line, code in (SAMPLES[1], SAMPLES[3])
        for output in ("text", "json")
        if output == "text" or out in ("terminal", "pipe", "full")
    ]

    def work(run: tuple[str, str, str, tuple[str, ...], ExitCode]) -> Shown:
        out, err, output, line, _ = run
        return terminals.run(*line, "--output", output, stdout=out, stderr=err)

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        shown = list(pool.map(work, runs))
    for (out, err, output, _, code), ran in zip(runs, shown, strict=True):
        expected = ExitCode.PERMISSION if out == "full" and code == ExitCode.OK else code
        assert (ran.code, out, err) == (expected, out, err), ran
        assert "Traceback" not in ran.all, (out, err, ran)
        assert "Exception ignored" not in ran.all, (out, err, ran)
        if out in ("terminal", "pipe") and output == "json":
            json.loads(ran.text)
        if expected is ExitCode.PERMISSION and err == "terminal":
            assert "cannot write to stdout: No space left on device" in ran.stderr


@pytest.mark.slow
def test_a_shell_closes_and_redirects_streams(operator: Operator, contract: Contract) -> None:
    """Check redirected streams with a real shell and interpreter, which also handle streams at start and exit."""
    asyncio.run(_fill_cache(contract))
    program = f"{sys.executable} -m mjctl"
    for line, code, words in (
        ("config validate >&-", 0, ""),
        ("config validate <&- >&- 2>&-", 0, ""),
        ("config validate >/dev/full", 10, "cannot write to stdout"),
        ("config validate --env nosuch 2>/dev/full", 13, ""),
        ("config schema | head -c 1; exit ${PIPESTATUS[0]}", 0, "{"),
        ("config validate --env nosuch 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}", 13, ""),
    ):
        done = subprocess.run(
            ["bash", "-c", line.replace("config", f"{program} config", 1)],
            env=operator.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, line) == (code, line), done
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    # Python treats LC_ALL=C as UTF-8, unless PYTHONCOERCECLOCALE and PYTHONUTF8 switch UTF-8 off.
    for environment in ({"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        ran = operator.run("cache", "get", KEY, "--region", REGION, **environment)
        assert ran.code == ExitCode.OK, ran.stderr
        assert json.loads(ran.stdout)["name"] == "Zoë 🙂"


def test_health_that_watches_ends_without_an_error(terminals: Terminals) -> None:
    line = ("health", "--only", "redis", "--watch", "--interval", "0.5")
    for environment in COLOURS:
        shown = terminals.run(*line, environment=environment, interrupt_at=f"local {REGION}")
        assert shown.code == ExitCode.INTERRUPTED
        assert "error" not in shown.stderr
        assert "redis" in shown.text


def test_a_value_of_any_length_is_json_in_a_pipe(terminals: Terminals) -> None:
    for columns in ("", "40"):
        shown = terminals.run("cache", "get", KEY, stdout="pipe", environment={"COLUMNS": columns})
        assert json.loads(shown.stdout)["note"] == "\x1b[31mred\x1b[0m " + "long " * 100


def test_progress_goes_to_stderr_and_json_stays_one_document(terminals: Terminals) -> None:
    line = ("cache", "invalidate", *_HERE, "--pattern", "profile:*", "--dry-run", "--output", "json")
    shown = terminals.run(*line)
    assert "counting" in shown.stderr
    assert json.loads(shown.text)["regions"][0]["matched"] >= 20
