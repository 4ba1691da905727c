"""Runs one process of the game. Environment variables configure the process (gameserver/runtime/settings.py)."""

from __future__ import annotations

import argparse
import importlib
import sys

from gameserver.runtime.settings import Settings, SettingsError

# Prevent structlog's import of rich, which takes 0.06 s of CPU in every process. rich only colours tracebacks, and the
# logs of this process are JSON.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

# Exit code for wrong settings, EX_CONFIG in sysexits.h. A supervisor can restart a process that crashed, but a restart
# does not cure wrong settings.
_EXIT_CONFIG = 78

_COMMANDS = {
    "serve": ("gameserver.server", "run matches, with WebSocket for players and a port for health and metrics"),
    "api": ("gameserver.api", "serve the HTTP API"),
    "worker": ("gameserver.worker", "write the events of the queue to DynamoDB and PostgreSQL"),
    "migrate": ("gameserver.persistence.migrate", "update the schema of PostgreSQL, and exit"),
    "program": ("gameserver.program", "run the program that `mjctl backup` sends to its task"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand, and return its exit code: 64 without a subcommand, 78 if a setting is missing or wrong."""
    parser = argparse.ArgumentParser(prog="gameserver", description=__doc__)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (_, summary) in _COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary)
    arguments = parser.parse_args(argv)
    if arguments.version:
        from importlib.metadata import PackageNotFoundError, version

        try:
            known = version("mjctl")
        except PackageNotFoundError:
            # The Python package `mjctl` is not installed if the game server runs from its source code, as in the image.
            # An operator learns from the tag of the image, not from `--version`, which code the image runs.
            known = "(not installed)"
        sys.stdout.write(f"gameserver {known}\n")
        return 0
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 64
    try:
        settings = Settings.from_env()
        code: int = importlib.import_module(_COMMANDS[arguments.command][0]).run(settings)
    except SettingsError as error:
        sys.stderr.write(f"gameserver {arguments.command}: {error}\n")
        return _EXIT_CONFIG
    return code


if __name__ == "__main__":
    sys.exit(main())
