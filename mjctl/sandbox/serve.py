"""Runs an emulator with its corrections: `python -m mjctl.sandbox.serve ministack|moto PORT`.

This module sets an emulator's settings before it imports the emulator, because the emulator reads its settings during
the import.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mjctl.local.credentials import AwsKey, ensure_aws_key
from mjctl.local.guard import WsgiGuard
from mjctl.sandbox.emulators import ACCOUNT_ID

if TYPE_CHECKING:
    from mjctl.sandbox.stage.stage import Stage

_SAVE_SECONDS = 2.0


def _serve_ministack(
    port: int,
    account_id: str,
    state: Path | None,
    key: AwsKey,
    *,
    corrected: bool,
    wrap: Callable[[Any], Any],
    stage: Stage | None = None,
) -> None:
    os.environ.update(
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        IOT_MTLS_ENABLED="0",
        MINISTACK_ACCOUNT_ID=account_id,
        MINISTACK_HOST="127.0.0.1",
        SFTP_ENABLED="0",
    )
    if state is not None:
        os.environ.update(
            # Deny ministack access to Docker. With access, ministack might mistake containers of the user for its own
            # containers, and remove the user's containers.
            DOCKER_HOST=f"unix://{state / 'no-docker.sock'}",
            PERSIST_STATE="1",
            S3_DATA_DIR=str(state / "s3"),
            S3_PERSIST="1",
            STATE_DIR=str(state / "state"),
        )
    from ministack import app

    from mjctl.sandbox.answer_once import AnswerOnce

    if corrected:
        from mjctl.sandbox import (
            ministack_account_rules,
            ministack_cluster_mode,
            ministack_cognito,
            ministack_corrections,
            ministack_deletions,
            ministack_strictness,
        )

        corrections = [
            *ministack_corrections.CORRECTIONS,
            *ministack_account_rules.CORRECTIONS,
            *ministack_cluster_mode.CORRECTIONS,
            *ministack_deletions.CORRECTIONS,
            *ministack_cognito.CORRECTIONS,
            *ministack_strictness.CORRECTIONS,
        ]
        if stage is not None:
            from mjctl.sandbox.stage import cognito_rules, edge_functions, permissions, service_calls

            corrections += [*permissions.CORRECTIONS, *service_calls.CORRECTIONS, *cognito_rules.CORRECTIONS]
            corrections += edge_functions.CORRECTIONS
            edge_functions.use_node()
        for correction in corrections:
            correction.apply()
        app.app = AnswerOnce(app.app)
    if stage is not None:
        stage.install()
        app.app = stage.gateway.route(stage.wrap(app.app))
    app.app = wrap(app.app)
    from mjctl.local import emulator

    # At level INFO, ministack's logger `persistence` writes a line for each save of the state, which means each second.
    logging.getLogger("persistence").setLevel(logging.WARNING)
    listener = stage.gateway if stage is not None else None
    before_stop = stage.end_tasks if stage is not None else None
    persistent = state is not None
    asyncio.run(emulator.serve(port, key, app.app, persistent=persistent, listener=listener, before_stop=before_stop))


def _serve_moto(
    port: int, account_id: str, state: Path | None, key: AwsKey, *, corrected: bool, wrap: Callable[[Any], Any]
) -> None:
    os.environ.update(MOTO_ACCOUNT_ID=account_id, MOTO_IAM_LOAD_MANAGED_POLICIES="true")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    from mjctl.sandbox.moto_state import MotoState, forget_old_values

    if corrected:
        from mjctl.sandbox.moto_corrections import CORRECTIONS

        for correction in CORRECTIONS:
            correction.apply()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    kept = MotoState(state) if state is not None else None
    if kept is not None:
        kept.load()
    application = WsgiGuard(wrap(DomainDispatcherApplication(create_backend_app)), key.access_key_id)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    while not stop.wait(_SAVE_SECONDS if kept else None):
        forget_old_values()
        if kept is not None:
            kept.save_if_changed()
    server.shutdown()
    thread.join()
    if kept is not None:
        kept.save()


def _wrapper(module: str | None, function: str, chosen: argparse.Namespace) -> Callable[[Any], Any]:
    """Return a function that wraps an emulator's application, or that returns the application without a `module`.

    `function` of `module` gets the application, the emulator's name and the access key's folder.
    """
    if not module:
        return lambda application: application
    wrap = getattr(importlib.import_module(module), function)
    return lambda application: wrap(application, chosen.emulator, chosen.key.parent)


def _detach(log: Path) -> None:
    """Continue this program as a daemon, whose output goes to `log`.

    The original process prints the process id of the daemon and ends.

    The command that started this program need not wait for the daemon, and Ctrl-C in that command does not reach the
    daemon.
    """
    pid = os.fork()
    if pid:
        print(pid, flush=True)  # noqa: T201 - mjctl.sandbox.daemon reads the pid
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def main(arguments: list[str]) -> None:
    """Run the emulator that `arguments` names until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m mjctl.sandbox.serve")
    parser.add_argument("emulator", choices=("ministack", "moto"))
    parser.add_argument("port", type=int)
    parser.add_argument("--account", default=ACCOUNT_ID, help="the AWS account, twelve digits")
    parser.add_argument("--detach", type=Path, metavar="LOG", help="run as a daemon that writes to this file")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the access key that callers must use")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="keep the state in this folder")
    parser.add_argument("--stage", type=Path, metavar="FOLDER", help="run a stage with its files in this folder")
    parser.add_argument("--releases", type=Path, metavar="FOLDER", help="the game code of each release, for the stage")
    parser.add_argument("--moto", metavar="URL", help="the address of moto, which the stage calls")
    parser.add_argument(
        "--uncorrected", action="store_true", help="run without corrections, for tests of the corrections"
    )
    parser.add_argument("--wrapper", metavar="MODULE", help="wrap the emulator's application by this module, for tests")
    chosen = parser.parse_args(arguments)
    if chosen.detach:
        _detach(chosen.detach)
    key = ensure_aws_key(chosen.key)
    corrected = not chosen.uncorrected
    if chosen.emulator == "moto":
        wrap = _wrapper(chosen.wrapper, "wrap_wsgi", chosen)
        _serve_moto(chosen.port, chosen.account, chosen.state, key, corrected=corrected, wrap=wrap)
        return
    stage = None
    if chosen.stage:
        # Import the stage only here, because moto and a sandbox without a stage do not need its modules.
        from mjctl.sandbox.stage.stage import Stage, prepare

        prepare(chosen.stage, key)
        stage = Stage(chosen.stage, chosen.account, chosen.port, key.access_key_id, chosen.releases, chosen.moto)
    wrap = _wrapper(chosen.wrapper, "wrap_asgi", chosen)
    _serve_ministack(chosen.port, chosen.account, chosen.state, key, corrected=corrected, wrap=wrap, stage=stage)


if __name__ == "__main__":
    main(sys.argv[1:])
