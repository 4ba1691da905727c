"""Calls the HTTP API as a player: accounts, profiles, matches and the leaderboard."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec

from gameserver.client.connection import PlayerConnection, connect
from gameserver.client.play_socket import USER_AGENT
from gameserver.protocol import MSGPACK, Codec

_MAX_ANSWER_BYTES = 1 << 20
# API Gateway answers some requests itself, as `{"message": "Unauthorized"}` without a code. The codes are those of the
# API's functions where the functions have one.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-jwt.html
_GATEWAY_CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
    504: "unavailable",
}


class ApiError(Exception):
    """Reports that the API refused a request, or that the API did not answer.

    Attributes:
        status: the HTTP status, or 0 if there was no answer.
        code: the API's name of the error, for example `unknown_mode`. The code is `unreachable` if there was no answer,
            and `bad_answer` if the answer does not have the form of this API's answers.
        message: the cause in English.
        regions: other regions where the player can play, as region -> address of the API, the best first. `regions` is
            empty unless `code` is `region_closed`.
    """

    def __init__(self, status: int, code: str, message: str, regions: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}" if status == 0 else f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.regions = dict(regions or {})


class MatchTicket(msgspec.Struct, frozen=True):
    """Describes a match and the game server that runs the match.

    Attributes:
        match_id: id of the match.
        mode: name of the mode.
        server_id: id of the game server.
        zone: availability zone of the game server.
        url: WebSocket address of the game server, `ws://` or `wss://`.
    """

    match_id: str
    mode: str
    server_id: str
    zone: str
    url: str


class GameClient:
    """Acts as one player. Use the client as an async context manager, or call `close`.

    Every method that calls the API raises ApiError if the API refuses the request or does not answer.

    Args:
        api_url: base address of the HTTP API.
        timeout_seconds: time limit in seconds for one HTTP request, and for taking a seat in a match.
        ssl_context: checks the certificates of `https` and `wss` addresses, or None to trust the system's authorities.
        headers: returns further headers for the next request to the API, or None for no further headers.
        play_headers: further headers of each handshake with a game server.

    Attributes:
        display_name: name that `join` shows to other players, from the last `sign_up` or `rename`.
    """

    def __init__(
        self,
        api_url: str,
        *,
        timeout_seconds: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        headers: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
        play_headers: Mapping[str, str] | None = None,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._timeout = timeout_seconds
        self._ssl = ssl_context
        self._headers = headers
        self._play_headers = dict(play_headers or {})
        self._session: aiohttp.ClientSession | None = None
        self._connections: list[PlayerConnection] = []
        self._access_token = ""
        self._refresh_token = ""
        self.display_name = ""

    @property
    def access_token(self) -> str:
        """Return the current access token, or "" before the first login."""
        return self._access_token

    def use_token(self, access_token: str) -> None:
        """Use an access token that another program has obtained, instead of a login."""
        self._access_token = access_token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections to game servers and to the API. A second call of `close` does nothing."""
        for connection in self._connections:
            await connection.close()
        self._connections.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def sign_up(self, email: str, password: str, display_name: str) -> str:
        """Create an account.

        Args:
            email: e-mail address, the name for the login.
            password: password that satisfies the policy of the user pool.
            display_name: 1 to 24 visible characters.

        Returns:
            The player id.
        """
        body = {"email": email, "password": password, "display_name": display_name}
        answer = await self._request("POST", "/v1/signup", body)
        self.display_name = display_name
        return str(answer["player_id"])

    async def confirm(self, email: str, code: str) -> None:
        """Confirm the address of a new account, so that the player can log in.

        Args:
            email: e-mail address of the account.
            code: code that the user pool has sent to the address.
        """
        await self._request("POST", "/v1/confirm", {"email": email, "code": code})

    async def resend_confirmation(self, email: str) -> None:
        """Ask for a new code. The API sends one only to an account that is not confirmed yet."""
        await self._request("POST", "/v1/confirm/resend", {"email": email})

    async def forgot_password(self, email: str) -> None:
        """Ask for a code that resets the password. The API sends a code only to a confirmed account."""
        await self._request("POST", "/v1/password/forgot", {"email": email})

    async def reset_password(self, email: str, code: str, password: str) -> None:
        """Choose a new password.

        Args:
            email: e-mail address of the account.
            code: code that the user pool has sent to the address.
            password: new password that satisfies the policy of the user pool.
        """
        await self._request("POST", "/v1/password/reset", {"email": email, "code": code, "password": password})

    async def log_in(self, email: str, password: str, *, code: Callable[[], str] | None = None) -> None:
        """Log in, and keep the access token and the refresh token for later calls.

        Args:
            email: e-mail address of the account.
            password: password of the account.
            code: function that returns the code of the authenticator app, for an account with a second factor. Without
                `code`, the login of such an account raises ApiError with the code `second_factor_required`.
        """
        answer = await self._request("POST", "/v1/login", {"email": email, "password": password})
        if "challenge" in answer:
            if code is None:
                message = "this account needs a code of the player's authenticator app"
                raise ApiError(200, "second_factor_required", message)
            body = {"user_id": answer["user_id"], "session": answer["session"], "code": code()}
            answer = await self._request("POST", "/v1/login/second-factor", body)
        self._keep(answer)

    async def refresh(self) -> None:
        """Replace the access token, with the help of the last refresh token."""
        self._keep(await self._request("POST", "/v1/refresh", {"refresh_token": self._refresh_token}))

    async def log_out(self, *, everywhere: bool = False) -> None:
        """Revoke the refresh token and forget the tokens. Access tokens stay valid until their expiry.

        Args:
            everywhere: True to revoke the refresh tokens of all the player's logins.
        """
        if everywhere:
            await self._request("POST", "/v1/logout/everywhere")
        else:
            await self._request("POST", "/v1/logout", {"refresh_token": self._refresh_token})
        self._access_token = self._refresh_token = ""

    async def has_second_factor(self) -> bool:
        """Return whether a login needs a code of the player's authenticator app."""
        return bool((await self._request("GET", "/v1/second-factor"))["enabled"])

    async def enrol_second_factor(self) -> str:
        """Return a new secret for the player's authenticator app, which `verify_second_factor` switches on."""
        return str((await self._request("POST", "/v1/second-factor"))["secret"])

    async def verify_second_factor(self, code: str) -> None:
        """Switch the second factor on. `code` is the code that the authenticator app shows."""
        await self._request("POST", "/v1/second-factor/verify", {"code": code})

    async def remove_second_factor(self, password: str, code: str) -> None:
        """Switch the second factor off. `code` is a code of the authenticator app that no login has used yet."""
        await self._request("POST", "/v1/second-factor/remove", {"password": password, "code": code})

    async def profile(self) -> dict[str, Any]:
        """Return the player's profile: id, display name, statistics and contact fields."""
        return await self._request("GET", "/v1/profile")

    async def rename(self, display_name: str) -> dict[str, Any]:
        """Change the display name, and return the new profile."""
        answer = await self._request("PUT", "/v1/profile", {"display_name": display_name})
        self.display_name = display_name
        return answer

    async def leaderboard(self, limit: int = 10) -> list[dict[str, Any]]:
        """Return the best `limit` players (1 to 100), the best first: rank, id, name, total score and wins."""
        answer = await self._request("GET", f"/v1/leaderboard?limit={limit}")
        return list(answer["entries"])

    async def create_match(self, mode: str, join: Literal["new", "open"] = "new") -> MatchTicket:
        """Ask the API for a match to play.

        Args:
            mode: name of the mode.
            join: `new` creates a match. `open` finds a match with a free seat, and creates a match if there is none.
        """
        return _ticket(await self._request("POST", "/v1/matches", {"mode": mode, "join": join}))

    async def match(self, match_id: str) -> dict[str, Any]:
        """Return the state of a match, its game server (None after the end) and its result (None before the end)."""
        return await self._request("GET", f"/v1/matches/{match_id}")

    async def join(
        self, match: MatchTicket | tuple[str, str], *, name: str | None = None, codec: Codec = MSGPACK
    ) -> PlayerConnection:
        """Take a seat in a match. The connection follows redirects to other game servers.

        Args:
            match: the ticket of the match, or its id and the WebSocket address of a game server.
            name: name to show to other players. None means `display_name`.
            codec: encoding of the messages.

        Raises:
            JoinRefused: a game server refused the player, and a retry cannot succeed.
            ConnectionLost: no game server gave the player a seat within `timeout_seconds`.
        """
        match_id, url = (match.match_id, match.url) if isinstance(match, MatchTicket) else match
        connection = await connect(
            match_id,
            url,
            token=lambda: self._access_token,
            locate=self._locate,
            name=self.display_name if name is None else name,
            codec=codec,
            timeout_seconds=self._timeout,
            ssl_context=self._ssl,
            headers=self._play_headers,
        )
        self._connections.append(connection)
        return connection

    def _keep(self, answer: Mapping[str, Any]) -> None:
        self._access_token = str(answer["access_token"])
        # A refresh has a new refresh token only if the user pool rotates refresh tokens.
        self._refresh_token = str(answer.get("refresh_token", self._refresh_token))

    async def _locate(self, match_id: str) -> str | None:
        """Return the address of the game server that runs the match now, or None if the API knows no server."""
        if not self._api_url:
            return None
        try:
            server = (await self.match(match_id)).get("server")
        except ApiError:
            return None
        return str(server["url"]) if server else None

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": USER_AGENT})
        headers = {"Authorization": f"Bearer {self._access_token}"} if self._access_token else {}
        if self._headers is not None:
            headers |= await self._headers()
        try:
            async with self._session.request(
                method, self._api_url + path, json=body, headers=headers, ssl=self._ssl or True
            ) as response:
                raw = await response.content.read(_MAX_ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "unreachable", f"{self._api_url}: {str(error) or type(error).__name__}") from error
        return _parse(status, raw)


def _parse(status: int, raw: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ApiError(status, "bad_answer", "the API's answer is not a JSON object") from error
    if status >= 400:
        error_part = answer.get("error")
        if not isinstance(error_part, dict):
            message = answer.get("message")
            if status in _GATEWAY_CODES and isinstance(message, str):
                raise ApiError(status, _GATEWAY_CODES[status], message)
            raise ApiError(status, "bad_answer", "the API's error has no code")
        regions = {str(region["region"]): str(region["api"]) for region in error_part.get("regions", ())}
        raise ApiError(status, str(error_part.get("code", "")), str(error_part.get("message", "")), regions)
    return answer


def _ticket(answer: dict[str, Any]) -> MatchTicket:
    try:
        server = answer["server"]
        return MatchTicket(answer["match_id"], answer["mode"], server["id"], server["zone"], server["url"])
    except (KeyError, TypeError) as error:
        raise ApiError(200, "bad_answer", f"the API's match has no {error}") from error
