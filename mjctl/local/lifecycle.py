"""Starts, replaces and removes a supervised process of a local region."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from mjctl.files import file_lock, read_json, write_private
from mjctl.local import drains, leftovers
from mjctl.local.credentials import redis_password
from mjctl.local.daemon import living
from mjctl.local.layout import Layout
from mjctl.local.probe import probe
from mjctl.local.programs import prepare
from mjctl.local.spec import ProcessSpec, recorded
from mjctl.local.supervisor import SupervisorClient
from mjctl.local.supervisord_config import program_config, write_config
from mjctl.models.errors import ConflictError, MjctlError, UnreachableError

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 1.0
_PORT_SECONDS = 2.0
# A process that has ended twice before it was ready will not become ready, so the start fails without further waiting.
_EARLY_ENDS = 2
_SHOWN_LOG_LINES = 15
_SHOWN_LOG_BYTES = 16_384


def start(spec: ProcessSpec) -> str:
    """Make the supervisor run the process `spec`, and wait until the process is ready.

    A process of the same name with another owner or definition is stopped first, because two processes cannot share a
    port. Terraform destroys the old resource of a process only after it has created the new resource.

    Returns:
        A line for people that says what was done, e.g. `redis: ready on 127.0.0.1:20001 after 0.3 s`.

    Raises:
        UnreachableError: the supervisor does not run, or the process did not become ready and was removed again.
        ConflictError: another program has the port, or an earlier replacement of the same rolling update failed.
    """
    layout, begun = spec.layout, time.monotonic()
    client = living(layout)
    if client is None:
        raise UnreachableError(
            f"{spec.name} cannot start: the region's supervisor is not running",
            where=str(layout.region_dir),
            hint=f"`mjctl deploy {_scope(spec)}` starts the supervisor again",
        )
    with ExitStack() as held:
        held.enter_context(file_lock(layout.run / "locks" / spec.name))
        if spec.rolling and client.process(spec.name) is not None:
            held.enter_context(file_lock(layout.run / "locks" / ".roll"))
            _refuse_after_failed_roll(spec)
        log_start = _size(layout.log(spec.name))
        try:
            if client.process(spec.name) is None or recorded(layout, spec.name) != spec:
                _replace(client, spec)
            drains.clear(layout.run, spec.name)
            _await_ready(client, spec, log_start)
        except MjctlError:
            client.remove(spec.name)
            if spec.rolling:
                write_private(_roll_record(layout), f'{{"run": {os.getppid()}, "process": "{spec.name}"}}')
            raise
    return f"{spec.name}: ready on 127.0.0.1:{spec.port} after {time.monotonic() - begun:.1f} s"


def remove(layout: Layout, name: str, owner: str) -> str:
    """Stop the process `name` and remove its definition. Do nothing if the process belongs to another owner.

    Args:
        layout: The folders of the region.
        name: The program's name.
        owner: The id of the Terraform resource that is destroyed.

    Returns:
        A line for people that says what was done, e.g. `redis: stopped`.
    """
    with file_lock(layout.run / "locks" / name):
        spec = recorded(layout, name)
        if spec is None:
            return f"{name}: does not exist"
        if spec.owner != owner:
            return f"{name}: kept, it belongs to its replacement"
        client = living(layout)
        if client is not None:
            client.remove(name)
        else:
            leftovers.end(layout.region_dir, name)
        for path in (layout.program_configs / f"{name}.conf", layout.programs / f"{name}.json"):
            path.unlink(missing_ok=True)
        drains.clear(layout.run, name)
    return f"{name}: stopped"


def _replace(client: SupervisorClient, spec: ProcessSpec) -> None:
    layout = spec.layout
    client.remove(spec.name)
    _refuse_taken_port(spec)
    program = prepare(spec)
    text = program_config(
        layout,
        spec.name,
        program.command,
        program.environment,
        stop_signal=program.stop_signal,
        stop_seconds=spec.stop_seconds,
    )
    write_private(layout.program_configs / f"{spec.name}.conf", text)
    write_config(layout)
    spec.record()
    client.add(spec.name)


def _await_ready(client: SupervisorClient, spec: ProcessSpec, log_start: int) -> None:
    deadline = time.monotonic() + spec.start_seconds
    ends: set[str] = set()
    next_check = time.monotonic() + 0.5
    reason = _ask(spec)
    while reason is not None:
        if time.monotonic() >= next_check:
            next_check += 0.5
            info = client.process(spec.name)
            if info is None or info.state in {"FATAL", "STOPPED"}:
                raise _not_ready(spec, log_start, "another program stopped it while it started")
            if info.state == "BACKOFF":
                ends.add(f"{info.exit_status} {info.ended_at}")
            if len(ends) >= _EARLY_ENDS:
                raise _not_ready(spec, log_start, f"it ends immediately after each start: {info.detail}")
        if time.monotonic() >= deadline:
            raise _not_ready(spec, log_start, f"not ready after {spec.start_seconds:g} s: {reason}")
        time.sleep(_POLL_SECONDS)
        reason = _ask(spec)


def _ask(spec: ProcessSpec) -> str | None:
    """Return the reason why the process is not ready, or None if it is ready."""
    authority, password = spec.layout.tls_authority, redis_password(spec.layout)
    return probe(spec.ready, _PROBE_SECONDS, authority, redis_password=password)


def _not_ready(spec: ProcessSpec, log_start: int, reason: str) -> UnreachableError:
    log = spec.layout.log(spec.name)
    lines = _log_since(log, log_start)
    shown = "".join(f"\n  | {line}" for line in lines) or "\n  (its log is empty)"
    return UnreachableError(
        f"{spec.name} did not start: {reason}; the last lines of its log:{shown}",
        where=str(log),
        hint=f"fix the cause, then run `mjctl deploy {_scope(spec)}` again",
    )


def _scope(spec: ProcessSpec) -> str:
    return Layout(spec.region_dir).scope


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _log_since(log: Path, offset: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log file that is shorter than `offset` was rotated since the start of the process, and is read from its
            # beginning.
            file.seek(max(offset if offset <= size else 0, size - _SHOWN_LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-_SHOWN_LOG_LINES:]
    except OSError:
        return []


def _refuse_taken_port(spec: ProcessSpec) -> None:
    from mjctl.local.ports import describe_holder, is_free

    # The TLS terminator of a server releases the server's port a moment after the server has ended.
    deadline = time.monotonic() + _PORT_SECONDS
    while not is_free(spec.port) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if not is_free(spec.port):
        raise ConflictError(
            f"{spec.name} cannot use port {spec.port}: {describe_holder(spec.port)} uses it",
            where=str(spec.region_dir),
            hint="stop the program that uses the port, or remove the port from local.ports; then run "
            f"`mjctl deploy {_scope(spec)}` again",
        )


def _roll_record(layout: Layout) -> Path:
    return layout.run / "locks" / ".roll-failed.json"


def _refuse_after_failed_roll(spec: ProcessSpec) -> None:
    """Raise an error if an earlier replacement of this Terraform run failed, so that other servers keep running.

    All provisioners of a Terraform run have the same parent process. The record of a failed replacement names the
    parent process of its provisioner, so the record does not stop replacements of a later Terraform run.
    """
    failed = read_json(_roll_record(spec.layout))
    if failed.get("run") == os.getppid():
        raise ConflictError(
            f"{spec.name} was not replaced and keeps running: the replacement of {failed.get('process')} did not start",
            where=str(spec.region_dir),
            hint=f"fix the cause of the failed replacement, then run `mjctl deploy {_scope(spec)}` again",
        )
