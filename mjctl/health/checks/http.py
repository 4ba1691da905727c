"""One HTTP look, as every HTTP check needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mjctl.aws.clients import unreachable
from mjctl.health.model import RegionContext


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    """The decoded JSON, else the text cut to 200 characters."""


async def look(context: RegionContext, part: str, url: str) -> Answer:
    """GET `url`.

    Raises:
        UnreachableError: no connection, or the connection broke.
    """
    import aiohttp

    try:
        async with context.http.get(url) as response:
            text = await response.text()
            try:
                body: Any = await response.json(content_type=None)
            except ValueError:
                body = text[:200]
            return Answer(response.status, body)
    except aiohttp.ClientError as error:
        raise unreachable(context.contract, part, url, error) from error
