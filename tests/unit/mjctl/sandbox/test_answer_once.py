"""Tests that a repeated request is executed only once."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from mjctl.sandbox.answer_once import AnswerOnce


class Counter:
    """Counts requests. The object is an ASGI application that answers each request with the count."""

    def __init__(self, status: int = 200) -> None:
        self.calls = 0
        self.status = status

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": str(self.calls).encode(), "more_body": False})


async def ask(app: AnswerOnce, invocation: bytes | None, method: str = "POST") -> bytes:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"amz-sdk-invocation-id", invocation)] if invocation else []
    await app({"type": "http", "method": method, "headers": headers}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


async def test_a_repeated_request_receives_the_first_answer() -> None:
    inner = Counter()
    app = AnswerOnce(inner)
    assert [await ask(app, b"a"), await ask(app, b"a"), await ask(app, b"b")] == [b"1", b"1", b"2"]


async def test_a_failed_request_is_executed_again() -> None:
    inner = Counter(status=503)
    app = AnswerOnce(inner)
    assert [await ask(app, b"a"), await ask(app, b"a")] == [b"1", b"2"]


@pytest.mark.parametrize(("invocation", "method"), [(None, "POST"), (b"a", "GET"), (b"a", "HEAD")])
async def test_a_request_that_only_reads_or_has_no_id_is_always_executed(invocation: bytes | None, method: str) -> None:
    inner = Counter()
    app = AnswerOnce(inner)
    await ask(app, invocation, method)
    await ask(app, invocation, method)
    assert inner.calls == 2


async def test_messages_of_other_protocols_are_forwarded() -> None:
    seen: list[str] = []

    async def inner(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    await AnswerOnce(inner)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def test_the_oldest_answers_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.sandbox.answer_once._KEPT_ANSWERS", 1)
    inner = Counter()
    app = AnswerOnce(inner)
    assert [await ask(app, b"a"), await ask(app, b"b"), await ask(app, b"a")] == [b"1", b"2", b"3"]
