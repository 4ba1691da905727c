"""The entry point of the command `mjctl`, and the only place that converts errors into messages and exit codes."""

from __future__ import annotations

import os
import re
import signal
import sys
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING

from mjctl.cli.output.streams import protect_standard_streams
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from typer import TyperException

    from mjctl.models.errors import MjctlError


def main() -> None:
    """Run the console script `mjctl` and exit with the command's exit code."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    streams = protect_standard_streams()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C came after the command had ended, or before it began, for example while Python imported modules.
        print("error: interrupted", file=sys.stderr)  # noqa: T201
        code = ExitCode.INTERRUPTED
    failure = streams.finish()
    if failure is not None:
        # The result of the command could not be written to stdout, so the exit code must not be 0.
        print(f"error: cannot write to stdout: {failure.strerror}", file=sys.stderr)  # noqa: T201
        code = code or ExitCode.PERMISSION
    sys.exit(code)


def _as_ctrl_c(*_: object) -> None:
    """Handle SIGTERM, which a CI pipeline sends to stop a job, like Ctrl-C.

    A shell script starts its background jobs with SIGINT ignored. If SIGINT is ignored, first install Python's default
    handler, which raises KeyboardInterrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def run(argv: list[str]) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: The words of the command line after `mjctl`.
    """
    from typer import Abort, TyperException

    from mjctl.cli.app import tree
    from mjctl.cli.commands.completion import COMPLETE_VARIABLE
    from mjctl.cli.invocation import begin
    from mjctl.cli.output.global_options import conclude, hoist
    from mjctl.cli.output.json_document import forget_json
    from mjctl.cli.session import Exit
    from mjctl.models.errors import Interrupted, MjctlError

    if COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    forget_json()
    begin()
    code: int = ExitCode.OK
    try:
        # Typer catches a KeyboardInterrupt and returns 130 for it, so raise a KeyboardInterrupt again.
        if tree()(hoist(argv), prog_name="mjctl", standalone_mode=False) == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    except Exit as ended:
        code = ended.code
    except MjctlError as error:
        code = _report(argv, error)
    except TyperException as error:
        code = _refuse(argv, error)
    except (KeyboardInterrupt, Abort):
        code = _report(argv, Interrupted("interrupted"))
    except Exception as error:
        code = _internal(argv, error)
    finally:
        conclude(code)
    return code


def _report(argv: list[str], error: MjctlError) -> int:
    from mjctl.cli.output.run_view import print_error

    print_error(error, as_json=_wants_json(argv))
    return error.exit_code


def _refuse(argv: list[str], error: TyperException) -> int:
    """Report an error of the command line's parser in the same form as all other errors.

    For a group without a command, such as `mjctl cache`, print the help of the group.
    """
    from mjctl.models.errors import UsageError

    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mjctl"
    message = getattr(error, "format_message", error.__str__)()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)  # noqa: T201
        if not _wants_json(argv):
            return ExitCode.USAGE
        message = "no command was given"
    hint = f"`{command} --help` shows the arguments and options"
    return _report(argv, UsageError(message.strip().rstrip("."), hint=hint))


def _internal(argv: list[str], error: Exception) -> int:
    """Report a fault of mjctl: the traceback goes to a private file, and the operator sees a short error."""
    import tempfile
    import traceback

    from mjctl.models.errors import MjctlError

    where = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mjctl-crash-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as log:
            log.write("".join(traceback.format_exception(error)))
            where = log.name
    except OSError as failure:
        where = f"the traceback could not be written to a temporary file: {failure.strerror}"
    what = f"mjctl itself has failed: {type(error).__name__}"
    return _report(
        argv, MjctlError(what, where=where, hint="report this error to the developers of mjctl, with the traceback")
    )


def _wants_json(argv: list[str]) -> bool:
    """Return whether --output requests JSON, or, if --output is absent, whether MJCTL_OUTPUT does.

    This function reads `argv` itself, because the parser may have rejected the command line.
    """
    chosen = os.environ.get("MJCTL_OUTPUT", "text")
    words = list(takewhile(lambda word: word != "--", argv))
    for word, following in zip_longest(words, words[1:]):
        if word == "--output" or re.fullmatch("-[a-zA-Z]*o", word):
            chosen = following or chosen
        elif match := re.fullmatch("--output=(.*)|-[a-np-zA-Z]*o(.+)", word):
            chosen = match[1] or match[2] or chosen
    return chosen == "json"


if __name__ == "__main__":
    main()
