"""Maps the requests of the API to functions. The local API process and AWS Lambda both use the table `ROUTES`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from gameserver.functions import auth, leaderboard, matches, profile, second_factor, sessions
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.services import Services
from gameserver.persistence.database import DatabaseUnavailable
from gameserver.persistence.tables import TablesUnavailable
from gameserver.runtime.crypto import KeyUnavailable, Undecipherable

Function: TypeAlias = Callable[[Request, Services], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """Maps a request to a function.

    Attributes:
        method: HTTP method.
        path: path with parameters in braces.
        function: the function that answers the request.
        player: True if the host must verify an access token first and set `Request.player_id`.
    """

    method: str
    path: str
    function: Function
    player: bool


ROUTES = (
    Route("POST", "/v1/signup", auth.sign_up, player=False),
    Route("POST", "/v1/confirm", auth.confirm, player=False),
    Route("POST", "/v1/confirm/resend", auth.resend_code, player=False),
    Route("POST", "/v1/password/forgot", auth.forgot_password, player=False),
    Route("POST", "/v1/password/reset", auth.reset_password, player=False),
    Route("POST", "/v1/login", sessions.log_in, player=False),
    Route("POST", "/v1/login/second-factor", sessions.answer_second_factor, player=False),
    Route("POST", "/v1/refresh", sessions.refresh, player=False),
    Route("POST", "/v1/logout", sessions.log_out, player=False),
    Route("POST", "/v1/logout/everywhere", sessions.log_out_everywhere, player=True),
    Route("GET", "/v1/second-factor", second_factor.get_state, player=True),
    Route("POST", "/v1/second-factor", second_factor.enrol, player=True),
    Route("POST", "/v1/second-factor/verify", second_factor.verify, player=True),
    Route("POST", "/v1/second-factor/remove", second_factor.remove, player=True),
    Route("GET", "/v1/profile", profile.get_profile, player=True),
    Route("PUT", "/v1/profile", profile.put_profile, player=True),
    Route("GET", "/v1/leaderboard", leaderboard.get_leaderboard, player=False),
    Route("POST", "/v1/matches", matches.create_match, player=True),
    Route("GET", "/v1/matches/{match_id}", matches.get_match, player=True),
)


async def answer(route: Route, request: Request, services: Services) -> Response:
    """Call the function of a route, and convert an error of a database, Redis or KMS to an HttpError.

    Raises:
        HttpError: the answer to a request that fails. The status of the answer is 503 if a database, Redis or KMS does
            not answer, and 500 if a stored value cannot be decrypted.
    """
    from redis.exceptions import RedisError

    try:
        return await route.function(request, services)
    except (DatabaseUnavailable, TablesUnavailable, KeyUnavailable, RedisError) as error:
        message = "a service that the request needs does not answer, try again shortly"
        raise HttpError(503, "unavailable", message, retry_after_seconds=2) from error
    except Undecipherable as error:
        raise HttpError(500, "undecipherable", "a stored value cannot be decrypted") from error
