"""One HTTP look, as every HTTP check needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mjctl.clients.boto import unreachable
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
    except aiohttp.ClientConnectorError as error:
        # Its own text repeats the address, which `unreachable` names, and speaks of TLS where there is none.
        raise unreachable(context.contract, part, url, error.os_error) from error
    except aiohttp.ClientError as error:
        raise unreachable(context.contract, part, url, error) from error


def why_not_ready(answer: Answer) -> str:
    """What a `/readyz` says is missing: `redis: timed out`, else its status, else the HTTP status."""
    body = answer.body if isinstance(answer.body, dict) else {}
    missing = [f"{name}: {state}" for name, state in body.get("dependencies", {}).items() if state != "ok"]
    return "; ".join(missing) or str(body.get("status") or f"HTTP {answer.status}")
