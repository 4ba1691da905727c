"""Defines the requests and responses of the functions, independent of the host: a local process or AWS Lambda."""

from __future__ import annotations

import ipaddress
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
"""Largest body of a request to the API, in bytes."""

MAX_NAME_LENGTH = 24
"""Largest length of a display name, in characters."""

MAX_USER_AGENT = 256
"""Largest length of a header `User-Agent` that `Request.user_agent` keeps, in characters."""

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+\Z")


def bearer_token(authorization: str) -> str:
    """Return the token of a header `Authorization: Bearer <token>`, or "" if the header has another form."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class HttpError(Exception):
    """Ends a request with an answer that reports an error. Neither the code nor the message contains personal data.

    Attributes:
        status: HTTP status, 400 to 599.
        code: name of the error, for programs.
        message: cause of the error in English, for people.
        retry_after_seconds: time after which the client shall retry, or None.
        regions: other regions that would accept the refused request, the best first.
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
        """Return the JSON body of the answer: {error: {code, message, regions}}."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.regions:
            error["regions"] = [{"region": other.region, "api": other.api} for other in self.regions]
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Return the answer's headers: `Retry-After` if the client shall wait, `WWW-Authenticate` for status 401."""
        headers = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


@dataclass(frozen=True)
class Request:
    """Describes a request to the API.

    Attributes:
        body: the JSON body, or b"".
        path: values of the parameters in the path, for example of `match_id`.
        query: values of the parameters in the query string.
        player_id: id of the player from the verified access token, or "" on a route without a token.
        internal: True if the token names an account of a probe or a load test.
        source: network address of the client, which only rate limits and Cognito's threat protection may use.
        access_token: the verified access token, or "" on a route without a token.
        user_agent: the header `User-Agent`, at most 256 characters.
    """

    body: bytes = b""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    player_id: str = ""
    internal: bool = False
    source: str = ""
    access_token: str = field(default="", repr=False)
    user_agent: str = ""

    @property
    def network(self) -> str:
        """Return the part of `source` that a rate limit counts: an IPv4 address, or the first 64 bits of IPv6.

        A provider gives a customer 64 bits or more of IPv6, so a client could use another IPv6 address for each call:
        https://datatracker.ietf.org/doc/html/rfc6177
        """
        try:
            known = ipaddress.ip_address(self.source)
        except ValueError:
            return self.source
        if isinstance(known, ipaddress.IPv4Address):
            return str(known)
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, 64), strict=False))

    def json(self, kind: type[T]) -> T:
        """Decode the body.

        Raises:
            HttpError: 400 if the body is no JSON or a field is not valid, 413 if the body is too large.
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
    """Describes the answer to a request.

    Attributes:
        status: HTTP status.
        body: a value that is sent as JSON.
    """

    status: int
    body: Any


def clean_display_name(raw: str) -> str:
    """Normalise a name that a player chose.

    Raises:
        HttpError: 400 if the name is empty, has more than 24 characters, or has invisible characters.
    """
    name = normalise(raw)
    # Refuse a name with invisible characters, because a game server would remove them and show another name in a match.
    if not 1 <= len(name) <= MAX_NAME_LENGTH or name != visible(raw):
        raise HttpError(400, "invalid_display_name", f"display_name must be 1 to {MAX_NAME_LENGTH} visible characters")
    return name


def clean_email(raw: str) -> str:
    """Normalise an e-mail address.

    Raises:
        HttpError: 400 if the text does not have the form of an e-mail address.
    """
    email = raw.strip().lower()
    if not _EMAIL.match(email):
        raise HttpError(400, "invalid_email", "email must be an e-mail address")
    return email
