"""Sends the HTTP requests of health checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.clients.boto import unreachable
from mjctl.health.model import RegionContext


@dataclass(frozen=True)
class Answer:
    """Holds the answer to an HTTP request of a health check.

    Attributes:
        status: the HTTP status of the answer.
        body: the decoded JSON, or the first 200 characters of a body that is not JSON.
    """

    status: int
    body: Any


async def look(context: RegionContext, part: str, url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a GET request and return the answer with any status.

    Args:
        context: the region's context.
        part: name of the checked part, for the text of an error.
        url: address of the request.
        headers: further headers of the request.

    Raises:
        UnreachableError: no connection could be made, or the connection broke.
    """
    import aiohttp

    try:
        async with context.http.get(url, headers=headers) as response:
            text = await response.text()
            try:
                body: Any = await response.json(content_type=None)
            except ValueError:
                body = text[:200]
            return Answer(response.status, body)
    except aiohttp.ClientConnectorError as error:
        # Show only the operating system's error, because the text of aiohttp's error repeats the address and mentions
        # TLS even for a connection without TLS.
        raise unreachable(context.contract, part, url, error.os_error) from error
    except aiohttp.ClientError as error:
        raise unreachable(context.contract, part, url, error) from error


def why_not_ready(answer: Answer) -> str:
    """Return why a `/readyz` reports that a process is not ready, for example `redis: timed out`.

    If the answer of /readyz lists no failed dependency, return its field `status` or the HTTP status.
    """
    body = answer.body if isinstance(answer.body, dict) else {}
    missing = [f"{name}: {state}" for name, state in body.get("dependencies", {}).items() if state != "ok"]
    return "; ".join(missing) or str(body.get("status") or f"HTTP {answer.status}")
