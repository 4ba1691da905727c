"""`mjctl sandbox`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import EnvOption, OutputOption, YesOption
from mjctl.cli.output.printable import printable
from mjctl.cli.output.streams import reader_is_gone
from mjctl.cli.session import OutputFormat
from mjctl.models.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mjctl.cli.session import (
        Session,
    )
    from mjctl.models.environment import Environment
    from mjctl.sandbox.daemon import EmulatorProcess, RunningSandbox, Started

EmulatorArgument = Annotated[str | None, typer.Argument(metavar="EMULATOR", help="ministack or moto; none: both.")]

_FOLLOW_SECONDS = 0.3
_TAB = "\t"

app = CommandGroup(no_args_is_help=True, help="Run the emulated AWS in which production is rehearsed.")


@app.command()
def up(env: EnvOption = "sandbox", output: OutputOption = OutputFormat.TEXT) -> None:
    """Start the emulated AWS and print how to reach it.

    It starts with what was deployed there before.

    Up already, it is left alone. Stdout is `export` lines for the AWS CLI, boto3 and Terraform, so that
    eval "$(mjctl sandbox up)" sets them.

    Example: mjctl sandbox up --env sandbox
    """
    from mjctl.sandbox.daemon import start

    session, environment, folder = _open(env, output)
    started = start(folder, account_id=environment.account.account_id)
    _tell(session, started)
    variables = _variables(environment, started.sandbox)
    lines = "\n".join(f"export {name}={value}" for name, value in variables.items())
    if session.output is OutputFormat.TEXT:
        session.out.file.write(f"{lines}\n")
        return
    session.emit(
        None,
        account_id=started.sandbox.account_id,
        started=started.began,
        state_kept=started.kept,
        emulators=[_document(emulator) for emulator in started.sandbox.emulators],
        variables=variables,
    )


@app.command()
def down(
    env: EnvOption = "sandbox",
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Also remove what was deployed, and all notes of it."),
    ] = False,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Stop the emulated AWS; --forget also removes its contents.

    Without --forget the next `up` starts with what is deployed now.

    Example: mjctl sandbox down --env sandbox
    """
    from mjctl.sandbox import bookkeeping
    from mjctl.sandbox.daemon import stop

    session, environment, folder = _open(env, output)
    units = bookkeeping.units(folder)
    if forget and units:
        session.confirm(f"Forget what is deployed in {environment.name}: {', '.join(units)}?", yes=yes)
    stopped = stop(folder)
    session.say(f"Stopped {' and '.join(stopped)}." if stopped else "The sandbox was not up.")
    if forget:
        bookkeeping.forget(folder)
        session.say("Its contents and notes are removed; the next deploy begins with `mjctl bootstrap`.")
    elif units:
        session.say("What was deployed is kept; `mjctl sandbox up` brings it back.")
    session.emit(None, stopped=stopped, forgotten=units if forget else ())


@app.command()
def status(env: EnvOption = "sandbox", output: OutputOption = OutputFormat.TEXT) -> None:
    """Show the processes, endpoints and memory of the emulated AWS.

    Example: mjctl sandbox status --env sandbox --output json
    """
    from mjctl.cli.output.tables import Column, DataTable, human_bytes, human_seconds
    from mjctl.sandbox.daemon import NAMES, alive_emulators

    session, _, folder = _open(env, output)
    alive = alive_emulators(folder)
    table = DataTable(
        Column("EMULATOR"),
        Column("STATE"),
        Column("VERSION", 3),
        Column("PID", 2, right=True),
        Column("MEMORY", 2, right=True),
        Column("UPTIME", 1, right=True),
        Column("ENDPOINT", 1),
    )
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        row: dict[str, Any] = _document(alive[name]) if name in alive else {"name": name, "state": "down"}
        rows.append(row)
        table.add_row(
            name,
            row["state"],
            row.get("version", "-"),
            str(row.get("pid", "-")),
            human_bytes(row["memory_bytes"]) if "memory_bytes" in row else "-",
            human_seconds(row.get("uptime_seconds")),
            row.get("url", "-"),
        )
    state = {0: "down", len(NAMES): "up"}.get(len(alive), "partly up")
    session.emit(table, state=state, emulators=rows)
    if state == "partly up":
        session.say("`mjctl sandbox up` starts what is missing, with the state that it has saved.")


@app.command()
def logs(
    emulator: EmulatorArgument = None,
    env: EnvOption = "sandbox",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="COUNT", min=0, help="The last so many.")] = 50,
) -> None:
    """Show the last lines that the emulators have logged.

    Example: mjctl sandbox logs ministack --follow
    """
    from mjctl.sandbox.daemon import NAMES, log_file

    if emulator is not None and emulator not in NAMES:
        raise UsageError(f"no emulator `{emulator}`", hint=f"one of: {', '.join(NAMES)}")
    session, _, folder = _open(env, OutputFormat.TEXT)
    files = {name: log_file(folder, name) for name in NAMES if emulator in (None, name)}
    found = {name: file for name, file in files.items() if file.is_file()}
    if not found:
        raise NotFoundError("nothing was logged yet", where=str(folder), hint="`mjctl sandbox up`")
    positions = {name: _print_lines(session, name, file, 0, lines, emulator) for name, file in found.items()}
    while follow and not reader_is_gone(session.out.file):
        time.sleep(_FOLLOW_SECONDS)
        for name, file in found.items():
            positions[name] = _print_lines(session, name, file, positions[name], None, emulator)


def _print_lines(session: Session, name: str, file: Path, begin: int, last: int | None, emulator: str | None) -> int:
    """Print the whole lines from byte `begin` on, only the `last` of them; returns where the next look begins."""
    with file.open("rb") as stream:
        stream.seek(begin)
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    text = whole.decode(errors="replace").splitlines()
    prefix = "" if emulator else f"{name} | "
    for line in text if last is None else text[len(text) - min(last, len(text)) :]:
        # Logs hold what clients send: escaped, so that it cannot control the terminal.
        session.out.file.write(f"{printable(prefix + line, keep=_TAB)}\n")
    session.out.file.flush()
    return begin + len(whole)


def _open(env: str, output: OutputFormat) -> tuple[Session, Environment, Path]:
    from mjctl.cli.session import (
        open_environment,
        open_session,
    )

    workspace, environment = open_environment(env)
    if environment.target != "sandbox":
        raise UsageError(
            f"environment `{environment.name}` has no sandbox: its target is {environment.target}",
            where=f"configs/{environment.name}.yaml",
            hint="name one whose target is sandbox: --env sandbox",
        )
    return open_session(output), environment, workspace.environment_dir(environment.name)


def _tell(session: Session, started: Started) -> None:
    if not started.began:
        session.say("The sandbox is up already.")
    elif len(started.began) < len(started.sandbox.emulators):
        session.say(f"{started.began[0]} had ended; it runs again, with the state that it had saved.")
    else:
        session.say(f"The sandbox is up{', with what was deployed there before' if started.kept else ''}.")
    if started.unread:
        session.say(
            f"What moto {started.unread} held is not there any more: this release cannot read it. `mjctl deploy` makes "
            "it again."
        )


def _variables(environment: Environment, sandbox: RunningSandbox) -> dict[str, str]:
    from mjctl.clients.account import account_at

    account = account_at(environment, sandbox.endpoints)
    region = environment.primary_region
    # The Terraform provider reads the one, boto3 the other.
    return {**dict(account.variables), "AWS_REGION": region, "AWS_DEFAULT_REGION": region}


def _document(emulator: EmulatorProcess) -> dict[str, Any]:
    """An emulator that runs; memory includes the functions that it runs as processes."""
    import psutil

    try:
        process = psutil.Process(emulator.pid)
        memory = sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        memory = 0
    return {
        "name": emulator.name,
        "state": "up",
        "version": emulator.version,
        "pid": emulator.pid,
        "url": emulator.url,
        "memory_bytes": memory,
        "uptime_seconds": round(max(0.0, time.time() - emulator.started_at), 1),
        "log": emulator.log,
    }
