"""Plays one match in a deployed region as two players, who have no access to the deployment.

The players use only the names of the environment, and the codes from their mails. The first player also adds a second
factor, and the second player resets the password. The calls of the players go through API Gateway, Cognito, the
firewall, the load balancer and the game servers.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gameserver.client import ApiError, Bot, ConnectionLost, GameClient, JoinRefused, MatchReport
from gameserver.client.totp import totp
from mjctl.clients.boto import RegionClients
from mjctl.clients.operator_pass import OperatorPass
from mjctl.clients.records import read_matches
from mjctl.clients.tls import private_context
from mjctl.models.contract import Contract
from tools.stage.commands import Commands
from tools.stage.steps import Failure

SERVER_ERROR = 500
"""Lowest HTTP status of an error of the server."""

_CALL_SECONDS = 20.0
_MAIL_SECONDS = 20.0
# An authenticator app shows a new code every 30 s.
_CODE_SECONDS = 30.0
# A function that fails at first, e.g. because its process starts slowly, gets the message again after 60 s.
_STORED_SECONDS = 90.0


@dataclass(frozen=True)
class PlayedMatch:
    """Describes a match that two players have played, and the data that the region has stored about the match.

    Attributes:
        match_id: the id of the match.
        server: the id of the game server.
        url: the address of the game server for players.
        reports: the report of each player about the match.
        profile_matches: the number of matches in the first player's profile.
        item: the match's item in DynamoDB.
        seconds: the duration of each part of the match in seconds, by the name of the part.
        web: the address of the web client.
        contract: the contract of the region.
    """

    match_id: str
    server: str
    url: str
    reports: tuple[MatchReport, ...]
    profile_matches: int
    item: Mapping[str, Any]
    seconds: Mapping[str, float]
    web: str
    contract: Contract

    def lines(self) -> list[str]:
        """Return a summary of the match as lines of text."""
        latency = sorted(sample for report in self.reports for sample in report.latency_ms)
        parts = ", ".join(f"{name} {value:.2f} s" for name, value in self.seconds.items())
        return [
            f"match {self.match_id} on {self.server}: {sum(report.frames for report in self.reports)} frames, "
            f"latency p50 {latency[len(latency) // 2]:.0f} ms"
            if latency
            else f"match {self.match_id} on {self.server}",
            f"  {parts}",
            f"  DynamoDB: {json.dumps(self.item, default=str)[:300]}",
            f"  profile: {self.profile_matches} match",
            f"web client: {self.web}",
        ]


def played_match(commands: Commands, region: str, *, by_region_name: bool = False) -> PlayedMatch:
    """Sign two players up, confirm them by their mail, and play a match that ends and is stored.

    Args:
        commands: runs the commands of the operator, who reads the players' mail.
        region: the region whose tables must contain the match. If the environment has several regions, DNS chooses the
            region in which the match is played.
        by_region_name: True to call the API by the name that leads to `region` only. By default, the players call the
            API by the name of the web client, as all players do.

    Raises:
        Failure: a step of a player failed. The error names the step.
    """
    ran = commands.run("outputs", "--region", region)
    if ran.code != 0:
        raise Failure("mjctl outputs", str(ran.document))
    contract = Contract.parse(ran.document["regions"][0]["outputs"])
    by_players = f"https://{contract.managed.web_domain}" if contract.managed else contract.endpoints.api
    api = contract.endpoints.api if by_region_name else by_players
    return asyncio.run(_Play(commands, contract, api).run())


class _Play:
    def __init__(self, commands: Commands, contract: Contract, api: str) -> None:
        self._commands = commands
        self._contract = contract
        self._api = api
        self._seconds: dict[str, float] = {}
        self._part = ""
        self._since = 0.0

    async def run(self) -> PlayedMatch:
        clients = RegionClients(self._contract)
        # The API answers players only through CloudFront, and other callers only with an operator's pass.
        by_name = self._api == self._contract.endpoints.api
        headers = OperatorPass(self._contract, clients).headers if by_name else None
        tls = private_context(self._contract)
        players = [
            GameClient(self._api, timeout_seconds=_CALL_SECONDS, ssl_context=tls, headers=headers) for _ in range(2)
        ]
        try:
            return await self._played(players)
        except ApiError as error:
            temporary = error.status == 0 or error.status >= SERVER_ERROR
            raise Failure(f"a player's {self._part}", str(error), temporary=temporary) from error
        except (ConnectionLost, JoinRefused) as error:
            raise Failure(f"a player's {self._part}", str(error)) from error
        finally:
            for player in players:
                await player.close()
            clients.close()

    async def _played(self, players: list[GameClient]) -> PlayedMatch:
        accounts = [(f"{secrets.token_hex(6)}@example.com", f"Match-{secrets.token_urlsafe(12)}-9") for _ in players]
        self._begin("sign-up")
        for number, (player, (email, password)) in enumerate(zip(players, accounts, strict=True), 1):
            await player.sign_up(email, password, f"Player {number}")
        self._begin("confirmation")
        await self._confirm(players, accounts)
        self._begin("log-in")
        for player, (email, password) in zip(players, accounts, strict=True):
            await player.log_in(email, password)
        self._begin("second factor")
        await self._add_second_factor(players[0], *accounts[0])
        self._begin("password reset")
        await self._reset_password(players[1], *accounts[1])
        self._begin("match creation")
        ticket = await players[0].create_match("probe", "new")
        self._begin("join")
        connections = [await player.join(ticket) for player in players]
        self._begin("match")
        reports = await asyncio.gather(*(Bot(connection).play() for connection in connections))
        self._begin("stored result")
        item = await self._stored(ticket.match_id)
        profile = await self._counted(players[0])
        self._begin("")
        web = self._contract.managed.web_domain if self._contract.managed else ""
        return PlayedMatch(
            ticket.match_id,
            ticket.server_id,
            ticket.url,
            tuple(reports),
            profile,
            item,
            self._seconds,
            f"https://{web}",
            self._contract,
        )

    async def _confirm(self, players: list[GameClient], accounts: list[tuple[str, str]]) -> None:
        for player, (email, password) in zip(players, accounts, strict=True):
            try:
                await player.log_in(email, password)
            except ApiError:
                pass
            else:
                raise Failure("a player's log-in", "an unconfirmed account could log in")
            await player.confirm(email, await self._code(email))

    async def _add_second_factor(self, player: GameClient, email: str, password: str) -> None:
        """Add an authenticator app to the account, and log in with a code of the app."""
        secret = await player.enrol_second_factor()
        # Cognito accepts each code once, so the enrolment uses the previous code, which Cognito still accepts.
        await player.verify_second_factor(totp(secret, time.time() - _CODE_SECONDS))
        try:
            await player.log_in(email, password)
        except ApiError as error:
            if error.code != "second_factor_required":
                raise
        else:
            raise Failure("a player's second factor", "the password alone was enough for the log-in")
        await player.log_in(email, password, code=lambda: totp(secret))

    async def _reset_password(self, player: GameClient, email: str, password: str) -> None:
        """Choose a new password with the code of a mail, and log in with it."""
        new_password = f"{password}-new"
        await player.forgot_password(email)
        await player.reset_password(email, await self._code(email), new_password)
        try:
            await player.log_in(email, password)
        except ApiError:
            pass
        else:
            raise Failure("a player's password reset", "the old password is still valid")
        await player.log_in(email, new_password)

    async def _code(self, email: str) -> str:
        give_up_at = time.monotonic() + _MAIL_SECONDS
        while True:
            ran = await asyncio.to_thread(self._commands.run, "sandbox", "mail", "--to", email)
            codes = [
                match[1]
                for message in ran.document.get("messages", ())
                if (match := re.search(r"\b(\d{4} \d{4} \d{4})\b", message["text"]))
            ]
            if codes:
                return codes[-1]
            if time.monotonic() > give_up_at:
                raise Failure("a player's confirmation", f"no mail with a code came for {email}")
            await asyncio.sleep(0.5)

    async def _stored(self, match_id: str) -> Mapping[str, Any]:
        give_up_at = time.monotonic() + _STORED_SECONDS
        with RegionClients(self._contract) as clients:
            while True:
                record = (await read_matches(self._contract, clients, [match_id], database=False))[match_id]
                if record.ended_in_all(database=False):
                    return {"state": record.table_state, "scores": dict(record.table_scores)}
                if time.monotonic() > give_up_at:
                    raise Failure(
                        "the stored result",
                        f"after {_STORED_SECONDS:.0f} s the match is {record.table_state} in DynamoDB",
                    )
                await asyncio.sleep(0.2)

    async def _counted(self, player: GameClient) -> int:
        give_up_at = time.monotonic() + _STORED_SECONDS
        while not (matches := int((await player.profile())["matches"])):
            if time.monotonic() > give_up_at:
                raise Failure("the stored result", "the player's profile does not count the match (PostgreSQL)")
            await asyncio.sleep(0.2)
        return matches

    def _begin(self, part: str) -> None:
        now = time.monotonic()
        if self._part:
            self._seconds[self._part] = now - self._since
        self._part, self._since = part, now
