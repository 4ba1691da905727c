"""Runs Terraform, reads Terraform's output, forwards interrupts and interprets exit codes.

mjctl uses python-terraform only to build command lines. python-terraform's function that runs a command buffers all
output, cannot be interrupted cleanly and logs the arguments.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mjctl.clients.account import Account
from mjctl.clients.refusals import terraform_advice
from mjctl.files import append_private, explained_disk_errors
from mjctl.models.errors import Interrupted, LockedError, PermissionDeniedError, TerraformError
from mjctl.terraform.causes import cause, condensed
from mjctl.terraform.engine import Engine
from mjctl.terraform.events import ChangeSummary, Diagnostic, Event, PlainText, parse_line
from mjctl.terraform.providers import provider_variables
from mjctl.terraform.stack import Stack

# Maximum length of a line of Terraform's output. A message with all outputs of a stack can be far longer than asyncio's
# default limit of 64 KiB.
_LINE_LIMIT_BYTES = 64 * 1024 * 1024
# Prefixes of environment variables that Terraform does not receive from the shell, because such variables would change
# the meaning of mjctl's command lines.
_DROPPED = (
    "TF_CLI_ARGS",
    "TF_VAR_",
    "TF_WORKSPACE",
    "TF_DATA_DIR",
    "TF_LOG",
    "TF_INPUT",
    "TF_STATE",
    "TF_REATTACH_PROVIDERS",
)
# Prefixes of environment variables that choose the source of Terraform's providers.
_OF_PROVIDERS = ("TF_CLI_CONFIG_FILE", "TF_PLUGIN_", "TF_REGISTRY_")

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class TerraformRun:
    """Holds the result of a Terraform command.

    Attributes:
        code: Terraform's exit code.
        stdout: Terraform's output that is not part of the JSON stream.
        diagnostics: Terraform's errors and warnings.
        summaries: The counts of resources that Terraform reported, e.g. for the plan and for the apply.
        seconds: The duration of the command in seconds.
    """

    code: int
    stdout: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
    summaries: tuple[ChangeSummary, ...] = ()
    seconds: float = 0.0

    def summary(self, operation: str) -> ChangeSummary | None:
        """Return the counts of resources for `operation`, or None if Terraform sent no counts for `operation`."""
        return next((summary for summary in self.summaries if summary.operation == operation), None)


@dataclass
class Cancellation:
    """Holds the request to stop this run of mjctl, by Ctrl-C or by CI.

    Each running Terraform receives one SIGINT after the request.
    """

    event: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requested(self) -> bool:
        """Return whether Ctrl-C or CI has requested that this run of mjctl stops."""
        return self.event.is_set()


@dataclass(frozen=True)
class Runner:
    """Runs Terraform commands on stacks, each in a process with its own session.

    Attributes:
        engine: The Terraform to run.
        cancellation: The request to stop, which all running Terraform processes share.
    """

    engine: Engine
    cancellation: Cancellation

    async def run(
        self,
        stack: Stack,
        command: str,
        *arguments: str,
        options: Mapping[str, Any] | None = None,
        on_event: OnEvent | None = None,
        good_codes: Sequence[int] = (0,),
    ) -> TerraformRun:
        """Run `terraform <command>` in the stack's source folder.

        Args:
            stack: The stack on which Terraform works.
            command: The subcommand, e.g. `plan`.
            arguments: The positional arguments of the subcommand.
            options: Options in python-terraform's form: `{"out": path, "json": IsFlagged, "backend_config": {...}}`.
            on_event: Called with each message of Terraform's JSON stream; None to return the whole output in `stdout`.
            good_codes: Terraform's exit codes that count as success.

        Raises:
            LockedError: another run holds the state's lock.
            PermissionDeniedError: AWS refused Terraform's credentials.
            TerraformError: Terraform ended with a code that is not in `good_codes`.
            Interrupted: the run was cancelled, after Terraform had saved its state and released its lock.
        """
        if self.cancellation.requested:
            raise Interrupted("stopped before the start of Terraform", where=stack.where)
        argv = self.command_line(stack, command, *arguments, options=options or {})
        started = time.monotonic()
        with explained_disk_errors(str(stack.log_file)), append_private(stack.log_file) as log:
            log.write(
                f"\n--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} terraform {' '.join(argv[len(self.engine.argv) :])}\n"
            )
            log.flush()
            outcome = await self._stream(argv, stack, log, on_event, started)
        if outcome.code in good_codes:
            return outcome
        raise _failure(stack, command, outcome, self.cancellation.requested)

    def command_line(self, stack: Stack, command: str, *arguments: str, options: Mapping[str, Any]) -> list[str]:
        """Return the program and all arguments of a Terraform command. The parameters are those of the method `run`."""
        from python_terraform import Terraform

        builder = Terraform(working_dir=str(stack.source_dir), terraform_bin_path="terraform")
        built: list[str] = builder.generate_cmd_string(command, *arguments, **options)
        return [*self.engine.argv, *built[1:]]

    async def _stream(
        self, argv: list[str], stack: Stack, log: IO[str], on_event: OnEvent | None, started: float
    ) -> TerraformRun:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=stack.source_dir,
            env=child_environment(stack),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT_BYTES,
            # Start Terraform outside the foreground process group, to which Ctrl-C sends SIGINT. Terraform must receive
            # SIGINT only once, from mjctl.
            start_new_session=True,
            umask=0o077,
        )
        collected = _Collected(log, on_event)
        watcher = asyncio.create_task(self._forward_interrupt(process))
        try:
            await asyncio.gather(_drain(process.stdout, collected.stdout), _drain(process.stderr, collected.stderr))
            code = await process.wait()
        except BaseException:
            _interrupt(process)
            await process.wait()
            raise
        finally:
            watcher.cancel()
        return TerraformRun(
            code=code,
            stdout="".join(collected.lines),
            diagnostics=tuple(collected.diagnostics),
            summaries=tuple(collected.summaries),
            seconds=time.monotonic() - started,
        )

    async def _forward_interrupt(self, process: asyncio.subprocess.Process) -> None:
        await self.cancellation.event.wait()
        _interrupt(process)


def _interrupt(process: asyncio.subprocess.Process) -> None:
    """Send SIGINT, so that Terraform finishes its running operations, saves the state and releases the lock.

    A second SIGINT would make Terraform stop at once, without saving the state.
    """
    if process.returncode is None:
        process.send_signal(signal.SIGINT)


def child_environment(stack: Stack) -> dict[str, str]:
    """Return the environment of a Terraform process: the shell's, without variables that change a command's meaning.

    For a local region, Terraform does not receive the shell's settings of Terraform, AWS and proxies. For an emulated
    account, Terraform receives the shell's settings of proxies and of the source of the AWS provider.
    """
    account = stack.account
    kept = {name: value for name, value in os.environ.items() if _is_kept(name, account)}
    config = kept.get("TF_CLI_CONFIG_FILE")
    if config and not Path(config).is_file():
        del kept["TF_CLI_CONFIG_FILE"]
    if account is not None:
        kept |= provider_variables(kept, stack.folder.parents[1])
        kept |= dict(account.variables)
    return {
        **kept,
        "TF_DATA_DIR": str(stack.data_dir),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "MJCTL_PYTHON": sys.executable,
    }


def _is_kept(name: str, account: Account | None) -> bool:
    """Return whether Terraform receives the shell's variable `name`. `account` is None for a local region."""
    if account is None:
        return not (name.startswith(("AWS_", "TF_")) or name.upper().endswith("_PROXY"))
    if account.emulated:
        return not name.startswith(("AWS_", "TF_")) or name.startswith(_OF_PROVIDERS)
    return not name.startswith(_DROPPED)


class _Collected:
    """Collects the output of a Terraform process, and copies each line to the log at once."""

    def __init__(self, log: IO[str], on_event: OnEvent | None) -> None:
        self._log = log
        self._on_event = on_event
        self.lines: list[str] = []
        self.diagnostics: list[Diagnostic] = []
        self.summaries: list[ChangeSummary] = []

    def stdout(self, line: str) -> None:
        """Process a line of Terraform's standard output."""
        if self._on_event is None:
            self.lines.append(line)
            return
        self._log.write(line)
        event = parse_line(line)
        if event is not None:
            self._take(event)

    def stderr(self, line: str) -> None:
        """Process a line of Terraform's standard error."""
        self._log.write(line)
        if line.strip():
            self._take(PlainText(line.rstrip()))

    def _take(self, event: Event) -> None:
        if isinstance(event, Diagnostic):
            self.diagnostics.append(event)
        elif isinstance(event, ChangeSummary):
            self.summaries.append(event)
        elif isinstance(event, PlainText):
            self.lines.append(event.text + "\n")
        if self._on_event is not None:
            self._on_event(event)


async def _drain(stream: asyncio.StreamReader | None, take: Callable[[str], None]) -> None:
    assert stream is not None  # noqa: S101 - stdout and stderr are pipes
    while line := await stream.readline():
        take(line.decode(errors="replace"))


def _failure(
    stack: Stack, command: str, outcome: TerraformRun, cancelled: bool
) -> Interrupted | LockedError | PermissionDeniedError | TerraformError:
    errors = [diagnostic for diagnostic in outcome.diagnostics if diagnostic.severity == "error"]
    text = condensed("\n".join(map(str, errors))) or outcome.stdout.strip()[-4000:]
    if "Error acquiring the state lock" in text:
        return LockedError(
            f"another run holds the lock of the state\n{_lock_holder(text)}",
            where=stack.where,
            hint=f"wait until the other run ends; if the other run has died, run `mjctl unlock --region {stack.unit}`",
        )
    if cancelled:
        return Interrupted(f"terraform {command} was stopped, and the state is saved", where=stack.where)
    if outcome.code < 0:
        name = signal.Signals(-outcome.code).name
        text = f"terraform was killed by {name}: the state may lack its last changes\n{text}"
    reason = cause(errors)
    failed = f"terraform {command} failed: {reason}" if reason else f"terraform {command} failed"
    advice = terraform_advice(text) if stack.account is not None and not stack.account.emulated else None
    if advice is not None:
        return PermissionDeniedError(
            f"{failed}\n{text}".rstrip(),
            where=stack.where,
            hint=f"{advice}; Terraform's whole log: {stack.log_file}",
        )
    return TerraformError(
        f"{failed}\n{text}".rstrip(),
        where=stack.where,
        hint=f"Terraform's whole log: {stack.log_file}",
    )


def _lock_holder(text: str) -> str:
    """Return the lines of Terraform's error that describe the holder of the state's lock (`Lock Info`)."""
    wanted = ("ID:", "Who:", "Operation:", "Created:")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip().startswith(wanted)]
    return "\n".join(f"  {line}" for line in lines)
