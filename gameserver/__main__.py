"""`gameserver`: one process of the game. Configured by environment variables only (gameserver/runtime/settings.py)."""

from __future__ import annotations

import argparse
import importlib
import sys

from gameserver.runtime.settings import Settings, SettingsError

# structlog imports rich for coloured tracebacks, which JSON logs have no use for: 0.06 s of CPU in every process.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

# EX_CONFIG of sysexits.h: a supervisor must not take it for a crash that a restart may heal.
_EXIT_CONFIG = 78

_COMMANDS = {
    "serve": ("gameserver.server", "run matches: WebSocket for players, operations port for health and metrics"),
    "api": ("gameserver.api", "host the HTTP API's functions"),
    "worker": ("gameserver.worker", "host the persistence function: from the queue into both databases"),
    "migrate": ("gameserver.persistence.migrate", "bring the relational database's schema up to date, and end"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code; 78 when the environment does not fit."""
    parser = argparse.ArgumentParser(prog="gameserver", description=__doc__)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (_, summary) in _COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary)
    arguments = parser.parse_args(argv)
    if arguments.version:
        from importlib.metadata import PackageNotFoundError, version

        try:
            known = version("mjctl")
        except PackageNotFoundError:
            # Run from its source, as in the image: there the tag says what it is.
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
