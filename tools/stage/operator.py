"""Works as an operator on a stage with two regions, and runs the programs that check an operator's work.

`tools/stage/rehearsal.py` and `tools/stage/outages.py` are such programs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mjctl.clients.account import open_account
from mjctl.models.config_file import load_environment
from tools.stage.checks import check_parts
from tools.stage.commands import ENVIRONMENT, Commands, Ran
from tools.stage.plant import deployed_base
from tools.stage.planting import end
from tools.stage.play import PlayedMatch, played_match
from tools.stage.steps import Failure, finding_of

PRIMARY, SECOND = "us-east-1", "eu-west-1"
"""The two regions. The primary region has the database's writer. The stage's DNS leads players to the second region."""

_HEALTHY_SECONDS = 150.0
# Time within which all players of the stage see the change of a DNS record.
_DNS_SECONDS = 30.0


@dataclass(frozen=True)
class Result:
    """Describes the result of an operation.

    Attributes:
        operation: the name of the operation.
        seconds: duration of the operation in seconds, with its checks.
        passed: True if the operation has the expected result.
        report: the durations of the commands and what the checks saw, or what is wrong.
    """

    operation: str
    seconds: float
    passed: bool
    report: str

    def line(self) -> str:
        """Return the result as a line of text."""
        return f"{self.operation}: {'passed' if self.passed else 'FAILED'} in {self.seconds:.0f} s; {self.report}"


class Operator:
    """Runs commands on the two regions, and plays matches.

    Attributes:
        commands: runs the commands on the copy of the project.
    """

    def __init__(self, commands: Commands) -> None:
        """Prepare the operator with an empty report."""
        self.commands = commands
        self._report: list[str] = []

    @property
    def report(self) -> str:
        """Return the durations of the commands and the findings since the last `forget`."""
        return "; ".join(self._report)

    def forget(self) -> None:
        """Begin a new report."""
        self._report.clear()

    def note(self, text: str) -> None:
        """Add a finding to the report."""
        self._report.append(text)

    def mjctl(self, *arguments: str, code: int = 0) -> Ran:
        """Run a command, which must end with the exit code `code`.

        Raises:
            Failure: the command ended with another exit code.
        """
        ran = self.commands.run(*arguments)
        shown = " ".join(word for word in arguments if word != "--auto-approve")
        if ran.code != code:
            raise Failure(f"mjctl {shown}", f"exit code {ran.code} instead of {code}: {finding_of(ran)}")
        self.note(f"`{shown}` {ran.seconds:.0f} s" + (f" (exit code {code})" if code else ""))
        return ran

    def revisions(self) -> dict[str, str]:
        """Return the revision that each region runs."""
        rows = self.commands.run("status", "--all-regions").document["regions"]
        return {row["region"]: row["revision"] for row in rows if row["region"] in (PRIMARY, SECOND)}

    def healthy(self, *regions: str) -> None:
        """Wait until every check of `mjctl health` passes in the regions, by default in both.

        Raises:
            Failure: a check still fails after the time limit.
        """
        selected = [f"--region={region}" for region in regions or (PRIMARY, SECOND)]
        began = time.monotonic()
        while (ran := self.commands.run("health", *selected)).code != 0:
            if time.monotonic() - began > _HEALTHY_SECONDS:
                raise Failure("mjctl health", finding_of(ran))
        self.note(f"healthy after {time.monotonic() - began:.0f} s")

    def play(self, region: str) -> PlayedMatch:
        """Play a match in a certain region, and check the other parts of the region.

        Raises:
            Failure: a part of the match or another check failed.
        """
        match = played_match(self.commands, region, by_region_name=True)
        check_parts(self.commands, match)
        self.note(f"match in {region} stored")
        return match

    def players_reach(self, region: str) -> None:
        """Play matches by the name that all regions share, until DNS leads the players to `region`.

        Raises:
            Failure: DNS leads the players to another region after the time limit, or a part of a match failed.
        """
        began = time.monotonic()
        while True:
            match = played_match(self.commands, region)
            if match.url.startswith(f"wss://play-{region}."):
                break
            if time.monotonic() - began > _DNS_SECONDS:
                raise Failure("the players' region", f"players reach {match.url} instead of {region}")
        self.note(f"players reach {region}, and their match is stored")

    @contextmanager
    def changed(self, file: str, change: Callable[[str], str]) -> Iterator[None]:
        """Change a file of the copy of the project until the end of the block."""
        path = self.commands.project / file
        old = path.read_text(encoding="utf-8")
        path.write_text(change(old), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(old, encoding="utf-8")

    def client(self, service: str, region: str) -> Any:
        """Return a client of AWS's API with the rights of the account's administrator."""
        workspace = self.commands.workspace
        return open_account(workspace, load_environment(workspace, ENVIRONMENT)).client(service, region)

    def outputs(self, region: str) -> dict[str, Any]:
        """Return the contract of a region."""
        outputs: dict[str, Any] = self.commands.run("outputs", "--region", region).document["regions"][0]["outputs"]
        return outputs


def expect(holds: bool, finding: str) -> None:
    """Check a result.

    Raises:
        Failure: `holds` is false. The error has the text `finding`.
    """
    if not holds:
        raise Failure("the result", finding)


def result_of(operator: Operator, name: str, work: Callable[[Operator], None]) -> Result:
    """Do one operation, and return its result."""
    operator.forget()
    began = time.monotonic()
    try:
        work(operator)
    except Failure as failure:
        report = "; ".join(part for part in (operator.report, str(failure)) if part)
        return Result(name, round(time.monotonic() - began, 1), False, report)
    return Result(name, round(time.monotonic() - began, 1), True, operator.report)


def run_program(module: str, summary: str, operations: Mapping[str, Callable[[Operator], None]]) -> int:
    """Deploy a base of two regions, do the operations that the command line names, and print their results.

    Args:
        module: the name of the program's module, for its help.
        summary: the first line of the program's help.
        operations: the operations by name, in their order.

    Returns:
        The exit code of the program: 0 if all operations passed, 1 if an operation did not, 2 if the base cannot be
        deployed, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=summary)
    parser.add_argument("operation", nargs="*", help=f"by default all: {', '.join(operations)}")
    parser.add_argument("--base", type=Path, help="a folder that keeps the deployed base for later runs")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    if unknown := [name for name in options.operation if name not in operations]:
        parser.error(f"no operation is named {', '.join(unknown)}: choose from {', '.join(operations)}")
    results: list[Result] = []
    try:
        with ExitStack() as stack:
            base = stack.enter_context(deployed_base(options.base, (PRIMARY, SECOND)))
            commands = base.restore()
            stack.callback(base.remove_copy)
            stack.callback(end, commands, keep=False)
            operator = Operator(commands)
            operator.mjctl("sandbox", "up")
            operator.healthy()
            for name in options.operation or operations:
                results.append(result_of(operator, name, operations[name]))
                print(results[-1].line(), file=sys.stderr, flush=True)
    except Failure as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the copy is removed", file=sys.stderr)
        return 130
    if options.output == "json":
        print(json.dumps({"operations": [asdict(result) for result in results]}))
    else:
        print("\n".join(result.line() for result in results))
    return 0 if all(result.passed for result in results) else 1
