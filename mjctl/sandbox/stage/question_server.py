"""Lets a process of the stage ask another process, e.g. the door of a cache asks ministack's process."""

from __future__ import annotations

import asyncio
import json
import logging
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_LONGEST_QUESTION = 1 << 16
_ANSWER_SECONDS = 10.0

logger = logging.getLogger("mjctl.sandbox.stage")


class QuestionServer:
    """Listens on a Unix socket. A question and its answer are lines of JSON."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Listen until `close`.

        Args:
            path: The path of the Unix socket.
            answer: Returns the answer to a question. Several threads call the function at the same time.
        """
        self._path = path
        path.unlink(missing_ok=True)

        class Handler(socketserver.StreamRequestHandler):
            timeout = 5.0

            def handle(self) -> None:
                question = json.loads(self.rfile.readline(_LONGEST_QUESTION))
                self.wfile.write(json.dumps(answer(question)).encode() + b"\n")

        self._server = _ThreadingServer(str(path), Handler)
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name=path.stem)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)


async def ask(path: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of the `QuestionServer` that listens at the Unix socket `path`.

    Raises:
        OSError: no process listens at the socket.
        ValueError: the process could not answer the question.
        TimeoutError: the answer took longer than 10 s.
    """
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()


class _ThreadingServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of socketserver
        logger.exception("a question to the stage failed")
