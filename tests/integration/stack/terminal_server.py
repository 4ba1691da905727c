"""Run mjctl on pseudo-terminals, many times in a second.

Starting Python and importing mjctl takes longer than most commands. The terminal server imports mjctl once and forks a
child process for each request. The child gets what a shell would give it: a session, a controlling terminal,
descriptors 0 to 2 and an environment; then it calls mjctl's entry point.

Requests and answers are lines of JSON on stdin and stdout. test_terminal.py starts this file as a program.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback
from typing import Any

QUESTION = b" to confirm: "
_MOST_SECONDS = 300.0


def import_everything() -> None:
    """Import all of mjctl and build its tree of commands, so that no child process must import mjctl."""
    import mjctl

    for module in pkgutil.walk_packages(mjctl.__path__, "mjctl."):
        # The other modules of the package are programs, which run when they are imported.
        if not module.name.endswith("__main__") and "serve" not in module.name:
            importlib.import_module(module.name)
    importlib.import_module("mjctl.__main__")
    importlib.import_module("mjctl.cli.app").tree()
    # A garbage collection in a child process would copy all memory that the child shares with its parent.
    gc.freeze()


class Stream:
    """Holds one output stream of the child and the bytes that it has written."""

    def __init__(self, kind: str, columns: int, lines: int) -> None:
        self.kind = kind
        self.received = b""
        self.reader: int | None = None
        self.child: int | None = None
        if kind == "terminal":
            self.reader, self.child = pty.openpty()
            fcntl.ioctl(self.child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        elif kind in ("pipe", "broken"):
            self.reader, self.child = os.pipe()
            if kind == "broken":
                os.close(self.reader)
                self.reader = None
        elif kind == "full":
            self.child = os.open("/dev/full", os.O_WRONLY)
        elif kind != "closed":
            raise ValueError(kind)

    def read(self) -> bool:
        """Read the available bytes. Returns: whether the stream is still open."""
        assert self.reader is not None
        try:
            chunk = os.read(self.reader, 65_536)
        except OSError:
            chunk = b""
        self.received += chunk
        return bool(chunk)


def run(request: dict[str, Any]) -> dict[str, Any]:
    columns, lines = request["columns"], request["lines"]
    out = Stream(request.get("stdout", "terminal"), columns, lines)
    err = Stream(request.get("stderr", "terminal"), columns, lines)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        become_command(request, out, err)
    for stream in (out, err):
        if stream.child is not None:
            os.close(stream.child)
    status, usage = follow(child, request, out, err, started + _MOST_SECONDS)
    for stream in (out, err):
        if stream.reader is not None:
            os.close(stream.reader)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "stdout": out.received.decode("utf-8", "surrogateescape"),
        "stderr": err.received.decode("utf-8", "surrogateescape"),
        "seconds": time.monotonic() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def follow(child: int, request: dict[str, Any], out: Stream, err: Stream, deadline: float) -> tuple[int, Any]:
    """Read until the child has ended, answer its questions, and press Ctrl-C where the request says so."""
    open_streams = [stream for stream in (out, err) if stream.reader is not None]
    answers = list(request.get("answers", ()))
    interrupt = request.get("interrupt_at")
    status: int | None = None
    usage: Any = None
    while True:
        readable, _, _ = select.select(
            [stream.reader for stream in open_streams], [], [], 0.02 if status is None else 0
        )
        if status is not None and not readable:
            return status, usage
        open_streams = [stream for stream in open_streams if stream.reader not in readable or stream.read()]
        if answers and err.received.count(QUESTION) > len(request["answers"]) - len(answers):
            os.write(err.reader or 0, answers.pop(0).encode() + b"\n")
        if interrupt is not None and interrupt.encode() in out.received + err.received:
            os.write(err.reader or 0, b"\x03")
            interrupt = None
        if status is None:
            # The CPU time includes the programs that the command has run and awaited.
            ended, code, usage = os.wait4(child, os.WNOHANG)
            status = code if ended else None
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline += _MOST_SECONDS


def become_command(request: dict[str, Any], out: Stream, err: Stream) -> None:
    """Prepare the child as a shell does, then run the command. Never returns."""
    code = 99
    try:
        os.setsid()
        terminal = next((stream.child for stream in (err, out) if stream.kind == "terminal"), None)
        if terminal is not None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        stdin = terminal if terminal is not None else os.open(os.devnull, os.O_RDONLY)
        copies = [None if stream is None else os.dup(stream) for stream in (stdin, out.child, err.child)]
        for number, copy in enumerate(copies):
            if copy is None:
                os.close(number)
            else:
                os.dup2(copy, number)
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(request["environment"])
        encoding = request["environment"].get("PYTHONIOENCODING", "utf-8")
        sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stdout = _as_python_opens(1, out, encoding)
        sys.stderr = _as_python_opens(2, err, encoding)
        sys.argv = ["mjctl", *request["arguments"]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from mjctl.__main__ import main

        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(int(code))


def _as_python_opens(descriptor: int, stream: Stream, encoding: str) -> Any:
    if stream.kind == "closed":
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace" if descriptor == 2 else "strict",
        line_buffering=stream.kind == "terminal",
    )


def main() -> None:
    import_everything()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
