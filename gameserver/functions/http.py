"""Requests and responses as the functions see them, whoever hosts them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from gameserver.cluster.closure import Alternative
from gameserver.protocol import UNDECODABLE
from gameserver.visible_text import normalise, visible

T = TypeVar("T")

MAX_BODY_BYTES = 16 * 1024
MAX_NAME_LENGTH = 24
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+\Z")


class HttpError(Exception):
    """An answer other than success. `code` is for programs, `message` for people; neither holds personal data.

    `regions`: where the same request would be served, the best first.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_seconds: int | None = None,
        regions: Sequence[Alternative] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.regions = tuple(regions)

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.regions:
            error["regions"] = [{"region": one.region, "api": one.api} for one in self.regions]
        return {"error": error}

    def headers(self) -> dict[str, str]:
        headers = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


@dataclass(frozen=True)
class Request:
    """One call.

    Attributes:
        path: parameters taken from the address.
        player_id: set by the host from a verified token, on routes that ask for one.
        internal: a probe or load-test account, by the same token.
        source: the caller's network address. Only limits may use it.
    """

    body: bytes = b""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    player_id: str = ""
    internal: bool = False
    source: str = ""

    def json(self, kind: type[T]) -> T:
        """Decode the body.

        Raises:
            ApiError: 400, naming the field.
        """
        if len(self.body) > MAX_BODY_BYTES:
            raise HttpError(413, "body_too_large", f"the body must be at most {MAX_BODY_BYTES} bytes")
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise HttpError(400, "invalid_request", str(error)) from None
        except UNDECODABLE:
            raise HttpError(400, "invalid_request", "the body is not valid JSON") from None


@dataclass(frozen=True)
class Response:
    status: int
    body: Any


def clean_display_name(raw: str) -> str:
    """Normalise a name that a player chose.

    Raises:
        ApiError: 400; empty, longer than 24 characters, or with characters that cannot be seen.
    """
    name = normalise(raw)
    # The same rule as for the name that a client sends to a game server, which drops what this refuses.
    if not 1 <= len(name) <= MAX_NAME_LENGTH or name != visible(raw):
        raise HttpError(400, "invalid_display_name", f"display_name must be 1 to {MAX_NAME_LENGTH} visible characters")
    return name


def clean_email(raw: str) -> str:
    """Normalise an e-mail address.

    Raises:
        ApiError: 400; it has not the form of one.
    """
    email = raw.strip().lower()
    if not _EMAIL.match(email):
        raise HttpError(400, "invalid_email", "email must be an e-mail address")
    return email
