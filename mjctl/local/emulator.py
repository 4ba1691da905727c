"""The emulated AWS of a local region: runs ministack in this process and saves its state about every second.

ministack saves its state only at an orderly end, but a region must keep its players and tables after SIGKILL. The
environment variables that `programs.py` defines must be set before ministack is imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from mjctl.local.credentials import AwsKey, ensure_aws_key
from mjctl.local.guard import AsgiGuard

if TYPE_CHECKING:
    from hypercorn.config import Config

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAVE_SECONDS = 1.0
# The event loop copies the state of all services except DynamoDB, and may spend 5 % of its time on the copies.
_SAVE_SHARE = 0.05
# A child process copies and saves DynamoDB's tables, and may use 25 % of a core.
_CHILD_SHARE = 0.25
_LARGE = "dynamodb"
_LARGE_TARGET = b"DynamoDB_"
_READING = (
    b"BatchGet",
    b"Decrypt",
    b"Describe",
    b"Encrypt",
    b"GenerateDataKey",
    b"Get",
    b"List",
    b"Query",
    b"ReceiveMessage",
    b"Scan",
)

logger = logging.getLogger("mjctl.local.emulator")


class TlsListener(Protocol):
    """Describes further addresses at which an emulated AWS answers, with TLS.

    Attributes:
        secure: The addresses with TLS, `ADDRESS:PORT`.
        insecure: The addresses without TLS.
    """

    secure: list[str]
    insecure: list[str]

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings of the secure addresses."""

    def wrap(self, guarded: Application, application: Application) -> Application:
        """Return an application that admits the requests to the listener's addresses.

        Args:
            guarded: The application for requests to 127.0.0.1.
            application: The emulated AWS without access control.
        """


class ChangeTracker:
    """Wraps an ASGI application and records which state its requests can have changed.

    Attributes:
        tables_changed: True if a request since the last save can have changed the tables of DynamoDB.
        others_changed: True if a request since the last save can have changed the state of a service other than
            DynamoDB.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self.tables_changed = False
        self.others_changed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)
        if scope["type"] == "http" and scope["method"] != "GET":
            self._note(dict(scope["headers"]).get(b"x-amz-target", b""))

    def _note(self, target: bytes) -> None:
        service, _, action = target.partition(b".")
        if action.startswith(_READING):
            return
        if service.startswith(_LARGE_TARGET):
            self.tables_changed = True
        else:
            self.others_changed = True


async def save_changes(tracker: ChangeTracker) -> None:
    """Save the state of the changed services about every second, until the task is cancelled.

    A cancelled task leaves no child process.
    """
    from ministack.app import _build_persistence_save_dict
    from ministack.core.persistence import save_state

    pause = _SAVE_SECONDS
    while True:
        await asyncio.sleep(pause)
        tables, others = tracker.tables_changed, tracker.others_changed
        tracker.tables_changed = tracker.others_changed = False
        began = time.monotonic()
        getters = _build_persistence_save_dict()
        states, missed = _copies({name: getter for name, getter in getters.items() if others and name != _LARGE})
        tracker.others_changed |= bool(missed)
        pause = max(_SAVE_SECONDS, (time.monotonic() - began) / _SAVE_SHARE)
        for name, state in states.items():
            await asyncio.to_thread(save_state, name, state)
        if tables:
            began = time.monotonic()
            await in_snapshot(partial(_save, _LARGE, getters[_LARGE]))
            pause = max(pause, (time.monotonic() - began) / _CHILD_SHARE)


def _save(name: str, get_state: Callable[[], Any]) -> None:
    from ministack.core.persistence import save_state

    save_state(name, get_state())


async def in_snapshot(work: Callable[[], None]) -> None:
    """Run `work` in a forked child process, with a snapshot of this process's memory.

    Copying 100,000 items of DynamoDB takes seconds. A copy in the emulator's own process would delay all requests until
    the copy is complete. A cancelled call of `in_snapshot` kills the child process.

    Raises:
        RuntimeError: the child process failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork in a process with threads, whose locks may stay locked in the child. The forked
        # child takes none of the locks of other threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _run_as_child(work, parent)
    waiting = asyncio.create_task(asyncio.to_thread(os.waitpid, child, 0))
    try:
        _, status = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        # Kill the child that saves the tables, because it could replace the newer state that ministack saves when it
        # ends.
        os.kill(child, signal.SIGKILL)
        await waiting
        raise
    if status != 0:
        raise RuntimeError(
            f"the child process that saves the tables ended with exit code {os.waitstatus_to_exitcode(status)}"
        )


def _run_as_child(work: Callable[[], None], parent: int) -> NoReturn:
    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        # Close the parent's sockets: while the child process held them open, a restarted emulator could not bind its
        # port.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        threading.Thread(target=end_with_parent, daemon=True).start()
        work()
        code = 0
    finally:
        os._exit(code)


def _copies(wanted: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], set[str]]:
    """Return copies of the services' states, and the names of the services whose state could not be copied.

    The copy of a state fails with `dictionary changed size during iteration` if a worker thread of ministack changes
    the state during the copy.
    """
    states, missed = {}, set()
    for name, get_state in wanted.items():
        try:
            state = get_state()
        except RuntimeError:
            missed.add(name)
            continue
        if state is not None:
            states[name] = state
    return states, missed


def use_for_functions(key: AwsKey) -> None:
    """Give `key` to the Lambda functions of the emulator ministack, so that they sign their requests with the key.

    ministack itself gives a function the account id as its access key id.
    """
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    def credentials(_: object) -> dict[str, str]:
        return {**key.variables, "AWS_SESSION_TOKEN": ""}

    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = credentials


async def serve(
    port: int,
    key: AwsKey,
    application: Application | None = None,
    *,
    persistent: bool = True,
    listener: TlsListener | None = None,
    before_stop: Callable[[], None] | None = None,
) -> None:
    """Serve the emulated AWS on 127.0.0.1 until SIGTERM or SIGINT.

    Args:
        port: The TCP port.
        key: The access key that callers must use.
        application: An ASGI application that wraps ministack's application; None for ministack's application itself.
        persistent: Whether to save the state of the emulated AWS about every second.
        listener: Further addresses. Without them, Lambda functions use `key`.
        before_stop: Called in a thread after SIGTERM or SIGINT, while the emulated AWS still answers.
    """
    from hypercorn.asyncio import serve as hypercorn_serve
    from ministack.app import app

    config = _server_config(port, listener)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if listener is None:
        use_for_functions(key)
    tracker = ChangeTracker(application or app)
    saving = asyncio.create_task(save_changes(tracker) if persistent else asyncio.sleep(0))
    saving.add_done_callback(lambda task: _report(task, stopping))

    async def until_stopped() -> None:
        await stopping.wait()
        if before_stop is not None:
            await asyncio.to_thread(before_stop)
        # Before the server shuts down, stop the task that saves changes, because ministack saves its whole state at the
        # shutdown.
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)

    guarded: Application = AsgiGuard(tracker, key.access_key_id)
    if listener is not None:
        guarded = listener.wrap(guarded, tracker)
    await hypercorn_serve(guarded, config, shutdown_trigger=until_stopped)  # type: ignore[arg-type]


def _server_config(port: int, listener: TlsListener | None) -> Config:
    from hypercorn.config import Config

    class ListenerConfig(Config):
        """Adds the addresses of a `TlsListener`, whose certificates are not in files that hypercorn knows."""

        @property
        def ssl_enabled(self) -> bool:
            return True

        def create_ssl_context(self) -> ssl.SSLContext | None:
            return listener.tls_context() if listener else None

    config = ListenerConfig() if listener else Config()
    config.bind = [f"127.0.0.1:{port}"]
    if listener is not None:
        config.bind, config.insecure_bind = listener.secure, [f"127.0.0.1:{port}", *listener.insecure]
        # CloudFront and API Gateway decide on the header `Server`.
        config.include_server_header = False
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    config.certfile, config.keyfile = os.environ.get("MJCTL_CERTIFICATE_FILE"), os.environ.get("MJCTL_KEY_FILE")
    return config


def _report(task: asyncio.Task[None], stopping: asyncio.Event) -> None:
    """Stop the emulator if the task that saves its state has failed, so that the supervisor restarts the emulator.

    An emulator that does not save its state would lose data at a crash.
    """
    if not task.cancelled() and task.exception() is not None:
        logger.error("saving the state failed", exc_info=task.exception())
        stopping.set()


def main() -> int:
    """Run the emulated AWS with the port and the key file that the environment variables name."""
    key = ensure_aws_key(Path(os.environ["MJCTL_AWS_KEY_FILE"]))
    asyncio.run(serve(int(os.environ["GATEWAY_PORT"]), key))
    return 0


if __name__ == "__main__":
    sys.exit(main())
