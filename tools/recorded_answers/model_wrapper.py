"""Wraps an emulator, so that each request and each answer is checked against botocore's service models.

`Emulators(folder, wrapper="tools.recorded_answers.model_wrapper")` starts wrapped emulators. The wrapper writes one
line for each request to `<folder>/<emulator>.exchanges`, and `violations(folder)` reads the lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from mjctl.local.guard import AsgiApplication, Message, Receive, Scope, Send, WsgiApplication
from tools.recorded_answers.operations import RawRequest, operation_of
from tools.recorded_answers.service_models import RawAnswer, check_answer, check_request

_SUFFIX = ".exchanges"


def violations(folder: Path) -> tuple[int, dict[str, list[str]]]:
    """Return the number of checked requests and answers, and the violations by operation."""
    number = 0
    by_operation: dict[str, set[str]] = {}
    for file in sorted(folder.glob(f"*{_SUFFIX}")):
        for line in file.read_text(encoding="utf-8").splitlines():
            exchange = json.loads(line)
            number += 2
            by_operation.setdefault(exchange["operation"], set()).update(exchange["violations"])
    return number, {operation: sorted(texts) for operation, texts in sorted(by_operation.items()) if texts}


def wrap_asgi(application: AsgiApplication, emulator: str, folder: Path) -> AsgiApplication:
    """Return an ASGI application that checks the requests to `application` and its answers."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        request_body, answer_body = bytearray(), bytearray()
        start: Message = {}

        async def receive_and_keep() -> Message:
            message = await receive()
            request_body.extend(message.get("body", b""))
            return message

        async def send_and_keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            answer_body.extend(message.get("body", b""))
            await send(message)

        await application(scope, receive_and_keep, send_and_keep)
        headers = _lower((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        query = scope.get("query_string", b"").decode("latin-1")
        request = RawRequest(scope["method"], scope["path"], query, headers, bytes(request_body))
        fields = _lower((_text(name), _text(value)) for name, value in start.get("headers", []))
        _write(folder / f"{emulator}{_SUFFIX}", request, RawAnswer(start.get("status", 0), fields, bytes(answer_body)))

    return checked


def wrap_wsgi(application: WsgiApplication, emulator: str, folder: Path) -> WsgiApplication:
    """Return a WSGI application that checks the requests to `application` and its answers."""

    def checked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        request_body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = BytesIO(request_body)
        started: list[Any] = []

        def start_and_keep(status: str, fields: list[tuple[str, str]], *rest: Any) -> Any:
            started[:] = [int(status.split(maxsplit=1)[0]), _lower(fields)]
            return start_response(status, fields, *rest)

        answer_body = b"".join(application(environ, start_and_keep))
        headers = _lower(
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        )
        path, query = environ.get("PATH_INFO", "/"), environ.get("QUERY_STRING", "")
        request = RawRequest(environ["REQUEST_METHOD"], path, query, headers, request_body)
        _write(folder / f"{emulator}{_SUFFIX}", request, RawAnswer(started[0], started[1], answer_body))
        return [answer_body]

    return checked


def _write(file: Path, request: RawRequest, answer: RawAnswer) -> None:
    operation = operation_of(request)
    if operation is None:
        return
    model, protocol = operation
    # Check only accepted requests, because an emulator must refuse a wrong request.
    accepted = answer.status < 300
    texts = [f"request {text}" for text in check_request(model, protocol, request.body)] if accepted else []
    if request.method != "HEAD":
        texts += check_answer(model, protocol, answer)
    name = f"{model.service_model.service_name}.{model.name}"
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"operation": name, "violations": texts}) + "\n")


def _lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
