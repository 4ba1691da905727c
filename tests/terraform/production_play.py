"""Acts as players who use every route of the API, and play a match on a game server."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from gameserver.client import ApiError, Bot, GameClient
from gameserver.client.totp import totp
from mjctl.sandbox.outbox import read_messages
from mjctl.sandbox.stage.layout import mail_file
from tests.tiny_game import eventually

PASSWORD = "Match-correct-horse-7"
_OTHER_PASSWORD = "Match-correct-horse-8"
_CODE_SECONDS = 30.0
_STORED_SECONDS = 90.0


class PlayedMatch(NamedTuple):
    """Describes a match.

    Attributes:
        match_id: id of the match.
        players: ids of the players.
        scores: the score of each player, by the player's id, as the players received it.
    """

    match_id: str
    players: tuple[str, ...]
    scores: dict[str, int]


class Players:
    """Runs the work of players.

    Args:
        url: address of the API.
        stage: folder of the stage, which has the players' mail.
        address: address and port of a game server.
    """

    def __init__(self, url: str, stage: Path, address: str) -> None:
        self._url, self._stage, self._address = url, stage, address

    def client(self) -> GameClient:
        """Return a player who is not logged in.

        A load balancer does not check the certificates of its targets, so a game server's own certificate suffices:
        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
        """
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return GameClient(self._url, timeout_seconds=60, ssl_context=context)

    async def confirmed(self, email: str) -> GameClient:
        """Sign up, confirm the address by the code from the mail, and log in."""
        player = self.client()
        await player.sign_up(email, PASSWORD, email.partition("@")[0])
        with refused("invalid_credentials"):
            await player.log_in(email, PASSWORD)
        await player.resend_confirmation(email)
        await player.confirm(email, self.code(email, 2))
        await player.log_in(email, PASSWORD)
        return player

    async def second_factor(self, player: GameClient, email: str, *, remove: bool = False) -> None:
        """Add an authenticator app to an account, and log in with a code of the app."""
        secret = await player.enrol_second_factor()
        # Cognito accepts each code once, so the enrolment uses the previous code, which Cognito still accepts.
        try:
            await player.verify_second_factor(totp(secret, time.time() - _CODE_SECONDS))
        except ApiError as error:
            # Cognito refuses the previous code if the app shows a new code while the request is on its way.
            if error.code != "invalid_code":
                raise
            await player.verify_second_factor(totp(secret, time.time() - _CODE_SECONDS))
        assert await player.has_second_factor()
        if remove:
            await player.remove_second_factor(PASSWORD, totp(secret))
            assert not await player.has_second_factor()
            return
        with refused("second_factor_required"):
            await player.log_in(email, PASSWORD)
        await player.log_in(email, PASSWORD, code=lambda: totp(secret))

    async def play(self, *players: GameClient) -> PlayedMatch:
        """Play a match of the shortest mode to its end."""
        ticket = await players[0].create_match("probe")
        # The test has no load balancer, which would lead the players to the game server.
        url = urlsplit(ticket.url)._replace(netloc=self._address).geturl()
        connections = [await player.join((ticket.match_id, url)) for player in players]
        # The game server encrypts a line of the chat with a data key of KMS.
        connections[0].say("Good luck")
        reports = await asyncio.gather(*(Bot(connection).play() for connection in connections))
        listed = reports[0].result["players"]
        scores = {str(player["player_id"]): int(player["score"]) for player in listed}
        return PlayedMatch(ticket.match_id, tuple(scores), scores)

    async def forgotten_password(self, player: GameClient, email: str) -> None:
        """Reset the password by the code from the mail, and log in with the new password."""
        await player.forgot_password(email)
        await player.reset_password(email, self.code(email, 3), _OTHER_PASSWORD)
        await player.log_in(email, _OTHER_PASSWORD)

    def code(self, email: str, number: int) -> str:
        """Return the code in the last mail to an address, after `number` mails have come."""
        messages = eventually(lambda: len(texts := self._mail(email)) >= number and texts)
        match = re.search(r"\b(\d{4} \d{4} \d{4})\b", messages[-1])
        assert match is not None, messages[-1]
        return match[1]

    def _mail(self, email: str) -> list[str]:
        return [message.text for message in read_messages(mail_file(self._stage)) if email in message.to]


async def stored(ask: Callable[[], Any], expected: Any = True) -> None:
    """Wait until `ask` returns an expected value, e.g. until the functions have stored the result of a match."""
    give_up_at = time.monotonic() + _STORED_SECONDS
    while (value := await ask()) != expected:
        assert time.monotonic() < give_up_at, f"{value} instead of {expected}"
        await asyncio.sleep(0.2)


@contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect that the API refuses the call in the block with an error code."""
    with pytest.raises(ApiError) as error:
        yield
    assert error.value.code == code, error.value
