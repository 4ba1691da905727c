"""Run one emulator in this process, corrected: `python -m mjctl.sandbox.serve ministack|moto PORT`.

Settings are set before the emulator is imported, which is when it reads them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

ACCOUNT_ID = "123456789012"


def _serve_ministack(port: int, *, corrected: bool) -> None:
    os.environ.update(
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        IOT_MTLS_ENABLED="0",
        MINISTACK_ACCOUNT_ID=ACCOUNT_ID,
        MINISTACK_HOST="127.0.0.1",
    )
    from ministack import app

    from mjctl.sandbox.answer_once import AnswerOnce

    if corrected:
        from mjctl.sandbox.ministack_corrections import CORRECTIONS

        for correction in CORRECTIONS:
            correction.apply()
        app.app = AnswerOnce(app.app)
    sys.argv = ["ministack"]
    app.main()


def _serve_moto(port: int, *, corrected: bool) -> None:
    os.environ.update(MOTO_ACCOUNT_ID=ACCOUNT_ID, MOTO_IAM_LOAD_MANAGED_POLICIES="true")
    from moto.server import ThreadedMotoServer

    if corrected:
        from mjctl.sandbox.moto_corrections import CORRECTIONS

        for correction in CORRECTIONS:
            correction.apply()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    stop.wait()
    server.stop()


def main(arguments: list[str]) -> None:
    """`--uncorrected` as a third argument leaves the emulator as released; the tests compare the two."""
    emulator, port, *rest = arguments
    serve = {"ministack": _serve_ministack, "moto": _serve_moto}[emulator]
    serve(int(port), corrected=rest != ["--uncorrected"])


if __name__ == "__main__":
    main(sys.argv[1:])
