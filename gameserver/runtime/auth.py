"""Verifies access tokens: RS256 JWTs of the user pool, checked against the public keys of the pool."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog

log = structlog.get_logger()

# Shortest time between two downloads of the user pool's public keys, so that tokens with invented key ids cause few
# downloads.
_REFETCH_SECONDS = 30.0
# Time after a failed download of the user pool's public keys in which tokens with an unknown key are refused at once.
# Without an immediate refusal, each request would wait for a timeout while the user pool is unavailable.
_RETRY_SECONDS = 1.0
_FETCH_TIMEOUT_SECONDS = 3.0
# Largest tolerated difference between the clocks of the user pool and of this machine.
_LEEWAY_SECONDS = 5.0
_MAX_TOKEN_LENGTH = 8192
# Hosts that are called without the proxy in HTTP_PROXY or HTTPS_PROXY, because a proxy cannot reach this machine's
# loopback.
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})

INTERNAL_GROUP = "internal"
"""Group of the user pool that contains the accounts of probes and load tests. Cognito lists a user's groups in the
access token. Only AdminAddUserToGroup adds a user to a group, so a player can neither join the group nor write the
claim `cognito:groups`.
https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html"""


class InvalidToken(Exception):
    """Reports that a token is not accepted. The message can be shown to the client."""


class KeysUnavailable(InvalidToken):
    """Reports that a token cannot be checked, because the keys of the user pool are unavailable at the moment."""


@dataclass(frozen=True)
class Player:
    """Identifies the account that a token was issued for.

    Attributes:
        id: the account's `sub` in the user pool.
        name: a name that other players may see, never the e-mail address.
        expires_at: end of the token's validity, in seconds since 1970.
        internal: True for an account of a probe or a load test.
    """

    id: str
    name: str
    expires_at: float
    internal: bool = False


def is_internal(groups: object) -> bool:
    """Return whether the claim `cognito:groups` of a verified token contains the group of internal accounts.

    Args:
        groups: a list, as in the token, or text such as `[internal players]`, as API Gateway passes a list on.
    """
    if isinstance(groups, str):
        groups = re.split(r"[\s,]+", groups.strip("[]"))
    return isinstance(groups, list) and INTERNAL_GROUP in groups


def default_name(player_id: str) -> str:
    """Return the name of a player who has not chosen a name."""
    return f"player-{player_id[:6]}"


class TokenVerifier:
    """Checks the access tokens of one app client of a user pool.

    Args:
        issuer: expected claim `iss`.
        client_id: expected claim `client_id`.
        jwks_url: address of the pool's JSON Web Key Set. The downloaded keys are kept in memory, and are downloaded
            again when a token names an unknown key, at most every 30 s.
        ssl_context: verifies the server of `jwks_url`; None for the certificates that the system trusts.

    Raises:
        ValueError: `jwks_url` is no http or https address.
    """

    def __init__(self, issuer: str, client_id: str, jwks_url: str, ssl_context: ssl.SSLContext | None = None) -> None:
        if not jwks_url.startswith(("https://", "http://")):
            raise ValueError("jwks_url must be an http(s) address")
        self._issuer = issuer
        self._client_id = client_id
        self._jwks_url = jwks_url
        self._ssl_context = ssl_context
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetch_again_at = float("-inf")
        self._unavailable = False
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> Player:
        """Return the player of a valid, unexpired access token.

        Raises:
            InvalidToken: the token is malformed, expired, signed by another key, or issued for another client.
            KeysUnavailable: the token's key is unknown, and the user pool does not answer.
        """
        if len(token) > _MAX_TOKEN_LENGTH:
            raise InvalidToken("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, RecursionError):
            # A token's header of 3 KB of opening brackets makes the JSON decoder raise RecursionError.
            raise InvalidToken("the token is malformed") from None
        if header.get("alg") != "RS256":
            raise InvalidToken("the token is not signed with RS256")
        key = await self._key(str(header.get("kid", "")))
        return self._player(self._claims(token, key))

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            # Cognito's access tokens have no claim `aud`, so `_player` checks their claim `client_id`.
            return jwt.decode(
                token,
                key.key,
                algorithms=["RS256"],
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the token has expired") from None
        except jwt.InvalidTokenError:
            raise InvalidToken("the token is not valid") from None

    def _player(self, claims: dict[str, Any]) -> Player:
        if claims.get("token_use") != "access" or claims.get("client_id") != self._client_id:
            raise InvalidToken("the token is not an access token of this game")
        player_id = str(claims["sub"])
        return Player(
            id=player_id,
            name=default_name(player_id),
            expires_at=float(claims["exp"]),
            internal=is_internal(claims.get("cognito:groups")),
        )

    async def _key(self, key_id: str) -> jwt.PyJWK:
        if key_id not in self._keys:
            await self._fetch_unless_recent(key_id)
        try:
            return self._keys[key_id]
        except KeyError:
            raise InvalidToken("the token is signed by an unknown key") from None

    async def _fetch_unless_recent(self, key_id: str) -> None:
        async with self._fetching:
            if key_id in self._keys:
                return
            if time.monotonic() >= self._fetch_again_at:
                await self._fetch()
            if self._unavailable:
                raise KeysUnavailable("sign-in cannot be checked at the moment")

    async def _fetch(self) -> None:
        try:
            document = await asyncio.to_thread(self._download)
            fetched = jwt.PyJWKSet.from_json(document)
        except (OSError, ValueError, jwt.PyJWKSetError) as error:
            log.warning("signing_keys_unavailable", error=type(error).__name__)
            self._unavailable = True
            self._fetch_again_at = time.monotonic() + _RETRY_SECONDS
        else:
            self._keys = {key.key_id: key for key in fetched.keys if key.key_id}
            self._unavailable = False
            self._fetch_again_at = time.monotonic() + _REFETCH_SECONDS

    def _download(self) -> str:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=self._ssl_context)]
        if urlsplit(self._jwks_url).hostname in _THIS_MACHINE:
            handlers.append(urllib.request.ProxyHandler({}))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(self._jwks_url, timeout=_FETCH_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(1 << 20)
            return body.decode()
