"""The text of supervisord's configuration files."""

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
# A process that cannot start is tried again with a growing pause, for as long as the region exists.
_START_RETRIES = 100_000


def supervisor_config(layout: Layout, socket: Path, open_files: int) -> str:
    """Return what every `supervisord.conf` of the region begins with: no program but the watchdog.

    `open_files`: the limit that every program inherits.
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
    """Write `supervisord.conf`: the beginning that the supervisor was started with, then every program of `conf.d`.

    supervisord could include the folder, but it splits the folder's path at blanks and reads `[` as a glob pattern.
    """
    if not layout.supervisor_base_config.exists():
        # A supervisor that an earlier version started does include the folder.
        return
    with file_lock(layout.run / "locks" / ".config"):
        texts = [layout.supervisor_base_config.read_text()]
        for path in sorted(layout.program_configs.glob("[!.]*.conf")):
            # A program that is removed at this moment takes its file with it.
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
    """`conf.d/<name>.conf`: always brought back when it ends, its whole process group stopped with it."""
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
    """Keep supervisord from reading `%` as an expansion; refuse what its format cannot hold."""
    if "\n" in value or "\r" in value or re.search(r"\s[;#]", value):
        raise ConfigError(f"supervisord's `{key}` cannot hold line breaks or a blank before `;` or `#`: {value!r}")
    return value.replace("%", "%%")


def _quoted(key: str, value: str) -> str:
    """supervisord knows no escapes inside quotes and strips quotes of both kinds from the ends."""
    if "'" in value or value.strip("\"'") != value:
        raise ConfigError(f"the variable {key} cannot hold single quotes, nor begin or end with a quote: {value!r}")
    return f"'{value}'"
