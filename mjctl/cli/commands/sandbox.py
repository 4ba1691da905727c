"""`mjctl sandbox`: starts, stops and shows the emulated AWS of an environment."""

from __future__ import annotations

import time
from datetime import UTC, datetime
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

EmulatorArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="EMULATOR",
        help="ministack or moto. Without EMULATOR, the command shows the logs of ministack and moto.",
    ),
]

_FOLLOW_SECONDS = 0.3
_TAB = "\t"

app = CommandGroup(no_args_is_help=True, help="Run an emulated AWS, in which you can rehearse production.")


@app.command()
def up(env: EnvOption = "sandbox", output: OutputOption = OutputFormat.TEXT) -> None:
    """Start the emulated AWS and print environment variables for it.

    The emulated AWS starts with everything that was deployed to it before. An emulated AWS that runs already is left
    unchanged. On Linux, real game servers, Redis and PostgreSQL run behind the emulated resources. If they cannot run,
    the command says why.

    The command prints `export` lines with variables for the AWS CLI, boto3 and Terraform. In a shell,
    eval "$(mjctl sandbox up)" sets the variables.

    Example: mjctl sandbox up --env sandbox
    """
    from mjctl.sandbox.daemon import start

    session, environment, folder = _open(env, output)
    started = start(folder, account_id=environment.account.account_id)
    _report_start(session, started)
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
        stage=started.sandbox.stage_folder is not None,
        emulators=[_document(emulator) for emulator in started.sandbox.emulators],
        variables=variables,
    )


@app.command()
def down(
    env: EnvOption = "sandbox",
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Also delete all deployed resources and Terraform's states, but not the history of runs.",
        ),
    ] = False,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Stop the emulated AWS; --forget also deletes its contents.

    Without --forget, the next `mjctl sandbox up` starts with everything that is deployed now. With --forget, the
    command asks for confirmation if anything is deployed.

    Example: mjctl sandbox down --env sandbox
    """
    from mjctl.sandbox import bookkeeping
    from mjctl.sandbox.daemon import stop

    session, environment, folder = _open(env, output)
    units = bookkeeping.units(folder)
    if forget and units:
        session.confirm(f"Delete everything that is deployed in {environment.name}: {', '.join(units)}?", yes=yes)
    stopped = stop(folder)
    session.say(f"Stopped {' and '.join(stopped)}." if stopped else "The sandbox was not running.")
    if forget:
        bookkeeping.forget(folder)
        session.say(
            "The sandbox's resources and Terraform states are deleted. Run `mjctl bootstrap` before the next deploy."
        )
    elif units:
        session.say("All deployed resources are saved. `mjctl sandbox up` starts with the saved resources.")
    session.emit(None, stopped=stopped, forgotten=units if forget else ())


@app.command()
def status(env: EnvOption = "sandbox", output: OutputOption = OutputFormat.TEXT) -> None:
    """Show the processes, endpoints and memory of the emulated AWS.

    The command changes nothing. The exit code is 0 also if the emulated AWS does not run.

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
        session.say(
            "`mjctl sandbox up` starts the emulator that is down, with the resources that the emulator has saved."
        )


@app.command()
def logs(
    emulator: EmulatorArgument = None,
    env: EnvOption = "sandbox",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new lines as they are logged, until Ctrl-C.")
    ] = False,
    lines: Annotated[
        int,
        typer.Option("--lines", "-n", metavar="COUNT", min=0, help="Number of lines to show from the end of each log."),
    ] = 50,
) -> None:
    """Show the last lines of the emulators' logs.

    Example: mjctl sandbox logs ministack --follow
    """
    from mjctl.sandbox.daemon import NAMES, log_file

    if emulator is not None and emulator not in NAMES:
        raise UsageError(f"there is no emulator `{emulator}`", hint=f"the emulators are {' and '.join(NAMES)}")
    session, _, folder = _open(env, OutputFormat.TEXT)
    files = {name: log_file(folder, name) for name in NAMES if emulator in (None, name)}
    logs_by_name = {name: file for name, file in files.items() if file.is_file()}
    if not logs_by_name:
        raise NotFoundError(
            "the sandbox has no log yet, because it was never started",
            where=str(folder),
            hint=f"`mjctl sandbox up --env {env}` starts the sandbox",
        )
    positions = {name: _print_lines(session, name, file, 0, lines, emulator) for name, file in logs_by_name.items()}
    while follow and not reader_is_gone(session.out.file):
        time.sleep(_FOLLOW_SECONDS)
        for name, file in logs_by_name.items():
            positions[name] = _print_lines(session, name, file, positions[name], None, emulator)


@app.command()
def mail(
    env: EnvOption = "sandbox",
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ADDRESS", help="Show only messages to this e-mail address or phone number."),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the mail that players and operators would get.

    The list also has text messages, and the newest message is last. The messages contain the codes that confirm a
    player's account. The emulated AWS sends no real message.

    Example: mjctl sandbox mail --to player@example.com
    """
    from mjctl.cli.output.tables import Column, DataTable, human_age
    from mjctl.sandbox.daemon import stage_folder
    from mjctl.sandbox.outbox import read_messages
    from mjctl.sandbox.stage.layout import mail_file

    session, _, folder = _open(env, output)
    messages = read_messages(mail_file(stage_folder(folder)), to)
    table = DataTable(Column("SENT", 1), Column("TO"), Column("SUBJECT", 2), Column("TEXT", folds=True))
    for message in messages:
        sent = human_age(datetime.fromtimestamp(message.sent_at, UTC))
        table.add_row(sent, ", ".join(message.to), message.subject, message.text.strip())
    session.emit(table if messages else None, messages=messages)
    if not messages:
        session.say(f"No message was sent{f' to {to}' if to else ''}.")


@app.command()
def calls(
    env: EnvOption = "sandbox",
    refused: Annotated[bool, typer.Option("--refused", help="Show only calls that IAM refused.")] = False,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="Show only calls of this role: its name or its ARN."),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show IAM's decisions on the calls of roles and services.

    Each combination of a caller, an action, a resource and a decision is shown once, the oldest first. The operator's
    own calls are left out, because the operator is the root user of the emulated account.

    Example: mjctl sandbox calls --refused
    """
    from mjctl.cli.output.tables import Column, DataTable
    from mjctl.sandbox.call_log import read_calls
    from mjctl.sandbox.daemon import stage_folder
    from mjctl.sandbox.stage.layout import calls_file

    session, _, folder = _open(env, output)
    recorded = [
        call
        for call in read_calls(calls_file(stage_folder(folder)))
        if not (refused and call.allowed) and (role is None or role in (call.caller, call.caller.rsplit("/", 1)[-1]))
    ]
    table = DataTable(Column("CALLER"), Column("ACTION"), Column("DECISION"), Column("RESOURCE", folds=True))
    for call in recorded:
        decision = "allowed" if call.allowed else "refused"
        reason = f" ({call.reason})" if call.reason else ""
        table.add_row(call.caller.rsplit("/", 1)[-1], call.action, decision, f"{call.resource}{reason}")
    session.emit(table if recorded else None, calls=recorded)
    if not recorded:
        session.say(f"No {'refused ' if refused else ''}call was recorded{f' of the role {role}' if role else ''}.")


def _print_lines(session: Session, name: str, file: Path, begin: int, last: int | None, emulator: str | None) -> int:
    """Print the complete lines of a log from byte `begin` on, or only the `last` lines of the log.

    Args:
        last: number of lines to print from the end of the log, or None to print all lines.

    Returns:
        The byte of the log from which the next call must read.
    """
    with file.open("rb") as stream:
        stream.seek(begin)
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    text = whole.decode(errors="replace").splitlines()
    prefix = "" if emulator else f"{name} | "
    for line in text if last is None else text[len(text) - min(last, len(text)) :]:
        # An emulator's log contains text that clients sent. Unsafe characters are escaped, so that a log cannot control
        # the terminal.
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
            hint="use an environment whose target is sandbox: --env sandbox",
        )
    return open_session(output), environment, workspace.environment_dir(environment.name)


def _report_start(session: Session, started: Started) -> None:
    if not started.began:
        session.say("The sandbox is running already.")
    elif len(started.began) < len(started.sandbox.emulators):
        session.say(f"{started.began[0]} was not running, and has started with the resources that it had saved.")
    else:
        session.say(f"The sandbox is running{', with everything that was deployed before' if started.kept else ''}.")
    if started.obstacle:
        session.say(f"The sandbox runs no game servers, Redis or PostgreSQL: {started.obstacle}.")
    if started.unread:
        session.say(
            f"The resources in moto are lost: this release of moto cannot read the state that moto {started.unread} "
            "saved. `mjctl deploy` creates the resources again."
        )


def _variables(environment: Environment, sandbox: RunningSandbox) -> dict[str, str]:
    from mjctl.clients.account import account_at

    account = account_at(environment, sandbox.endpoints)
    region = environment.primary_region
    # Terraform's AWS provider reads the region from AWS_REGION, and boto3 reads it from AWS_DEFAULT_REGION.
    return {**dict(account.variables), "AWS_REGION": region, "AWS_DEFAULT_REGION": region}


def _document(emulator: EmulatorProcess) -> dict[str, Any]:
    """Return the JSON entry of a running emulator.

    `memory_bytes` includes the processes that the emulator starts: Lambda functions and the stage.
    """
    import psutil

    try:
        process = psutil.Process(emulator.pid)
        memory = sum(member.memory_info().rss for member in (process, *process.children(recursive=True)))
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
