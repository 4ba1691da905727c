"""Answers a repeated request with the answer to the first request, instead of executing the request twice.

An AWS SDK that receives no response sends the request again, with an equal header `amz-sdk-invocation-id`. An emulator
would create or delete the resource a second time, and answer with an error ("already exists", "not found").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_KEPT_ANSWERS = 4096
_FIRST_ERROR_STATUS = 400


class AnswerOnce:
    """Wraps the ASGI application of an emulator, and keeps its last 4096 successful answers for repeated requests."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._answers: OrderedDict[bytes, list[Message]] = OrderedDict()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        invocation = dict(scope.get("headers", ())).get(b"amz-sdk-invocation-id") if scope["type"] == "http" else None
        if invocation is None or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        if invocation in self._answers:
            for message in self._answers[invocation]:
                await send(message)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            if finished and answer[0].get("status", _FIRST_ERROR_STATUS) < _FIRST_ERROR_STATUS:
                self._answers[invocation] = answer
                if len(self._answers) > _KEPT_ANSWERS:
                    self._answers.popitem(last=False)
            await send(message)

        await self._app(scope, receive, keep)
