"""Writes supervisord's configuration files."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mjctl.files import file_lock, write_private
from mjctl.local.layout import Layout
from mjctl.local.supervisor import WATCHDOG
from mjctl.models.errors import ConfigError

_LOG_BYTES = "10MB"
# supervisord retries a process that cannot start, after growing pauses, so 100000 retries never end in practice.
_START_RETRIES = 100_000


def supervisor_config(layout: Layout, socket: Path, open_files: int) -> str:
    """Return the base configuration of the region's supervisor, which contains no program except the watchdog.

    Args:
        layout: The folders of the region.
        socket: The path of the supervisor's socket.
        open_files: The limit of open files that every program inherits.
    """
    watchdog = shlex.join([sys.executable, "-m", "mjctl.local.watchdog", str(layout.region_dir), str(socket)])
    sections = {
        "unix_http_server": {"file": str(socket), "chmod": "0700"},
        "supervisord": {
            "logfile": str(layout.log("supervisord")),
            "logfile_maxbytes": _LOG_BYTES,
            "logfile_backups": "2",
            "pidfile": str(layout.run / "supervisord.pid"),
            "childlogdir": str(layout.logs),
            "directory": str(layout.region_dir),
            "umask": "077",
            "minfds": str(open_files),
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
        },
        f"eventlistener:{WATCHDOG}": {
            "command": watchdog,
            "events": "PROCESS_STATE",
            "buffer_size": "1000",
            "autorestart": "true",
            "startretries": str(_START_RETRIES),
            "stdout_logfile": "NONE",
            "stderr_logfile": str(layout.log(WATCHDOG)),
            "stderr_logfile_maxbytes": _LOG_BYTES,
            "stderr_logfile_backups": "1",
        },
    }
    return "\n".join(_section(name, values) for name, values in sections.items())


def write_config(layout: Layout) -> None:
    """Write `supervisord.conf`: the supervisor's base configuration, followed by every program's file in `conf.d`.

    `supervisord.conf` does not include the folder `conf.d`, because supervisord splits an included path at spaces and
    reads `[` in a path as a pattern.
    """
    if not layout.supervisor_base_config.exists():
        # The base configuration is missing if an earlier version of mjctl started the supervisor. Keep the
        # `supervisord.conf` of the earlier version, which includes the folder `conf.d`.
        return
    with file_lock(layout.run / "locks" / ".config"):
        texts = [layout.supervisor_base_config.read_text()]
        for path in sorted(layout.program_configs.glob("[!.]*.conf")):
            # Another process may remove a program's file after the files were listed.
            with suppress(FileNotFoundError):
                texts.append(path.read_text())
        write_private(layout.supervisor_config, "\n".join(texts))


def program_config(
    layout: Layout,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    stop_signal: str,
    stop_seconds: float,
) -> str:
    """Return the content of `conf.d/<name>.conf`.

    The supervisor restarts the program whenever it ends, and stops the whole process group of the program.

    Args:
        layout: The folders of the region.
        name: The program's name.
        command: The program and its arguments.
        environment: The environment variables of the program.
        stop_signal: The signal that stops the program, without `SIG`.
        stop_seconds: The seconds after which the supervisor kills a program that does not stop.

    Raises:
        ConfigError: supervisord's format cannot represent a value.
    """
    return _section(
        f"program:{name}",
        {
            "command": shlex.join(command),
            "environment": ",".join(f"{key}={_quoted(key, value)}" for key, value in sorted(environment.items())),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": str(_START_RETRIES),
            "stopsignal": stop_signal,
            "stopwaitsecs": f"{stop_seconds:.0f}",
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(layout.log(name)),
            "stdout_logfile_maxbytes": _LOG_BYTES,
            "stdout_logfile_backups": "2",
        },
    )


def _section(name: str, values: Mapping[str, str]) -> str:
    lines = [f"{key} = {_literal(key, value)}" for key, value in values.items() if value]
    return "\n".join([f"[{name}]", *lines, ""])


def _literal(key: str, value: str) -> str:
    """Escape `%`, which supervisord would expand, and reject a value that supervisord's format cannot represent."""
    if "\n" in value or "\r" in value or re.search(r"\s[;#]", value):
        raise ConfigError(f"supervisord's `{key}` cannot contain line breaks or a space before `;` or `#`: {value!r}")
    return value.replace("%", "%%")


def _quoted(key: str, value: str) -> str:
    """Quote the value of a variable, and reject a value with quotes that supervisord cannot read.

    supervisord has no escapes inside quotes, and removes single and double quotes from both ends.
    """
    if "'" in value or value.strip("\"'") != value:
        raise ConfigError(f"the variable {key} cannot contain single quotes, or begin or end with a quote: {value!r}")
    return f"'{value}'"
