"""Holds the connections and limits that the functions use. All calls of a process share the same connections."""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from typing import TYPE_CHECKING

from gameserver.cache import DistributedCache
from gameserver.functions.account_codes import AccountCodes
from gameserver.functions.account_mail import Mailer
from gameserver.functions.admission import Admission
from gameserver.functions.direct_calls import DirectCalls
from gameserver.functions.password_policy import PasswordPolicy
from gameserver.functions.rate_limit import RateLimit
from gameserver.persistence.call_counts import CallCounts, open_call_counts
from gameserver.persistence.database import Database
from gameserver.persistence.results import Results
from gameserver.persistence.tables import Tables
from gameserver.runtime.auth import TokenVerifier
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import Sealer
from gameserver.runtime.redis_connection import open_cache, open_state
from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import verifying_context

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from gameserver.cluster.directory import Directory

PROFILE_NAMESPACE = "profile"
"""Namespace of the cache for profiles. The key is the player id."""

LEADERBOARD_NAMESPACE = "leaderboard"
"""Namespace of the cache for the leaderboard."""

LEADERBOARD_KEY = "top"
"""The only key in the leaderboard's namespace."""


class Services:
    """Holds the connections and limits of a process.

    A property creates its object when a process first reads the property, and the object connects when it is first
    used. A process can start while a database or Redis does not answer, because no object connects before its first
    use. A process needs only the settings of the properties that it reads, and a property raises SettingsError if one
    of its settings is missing.

    Args:
        settings: settings of the process.

    Attributes:
        settings: settings of the process.
        aws: clients of AWS.
        login_by_source: limit of the calls of the function `auth` for each network address.
        login_by_pair: limit of logins for each pair of a network address and an account.
        confirmation_by_pair: limit of the codes that are tried for each pair of a network address and an account.
        mail_by_pair: limit of the codes that are sent for each pair of a network address and an account.
        mail_by_account: limit of the mails to each e-mail address.
        second_factor_by_session: limit of the second factor's codes that are tried for each login.
        second_factor_by_account: limit of the calls that change the second factor of each account.
        mail_answer_seconds: shortest time of an answer after which a player may get a mail, in seconds.
        password_policy: rules for new passwords, or None before the first use.
        direct_calls: refuses requests that came neither through CloudFront nor with an operator's pass.
        matches_by_player: limit of `POST /v1/matches` requests of each player.
        match_requests: limit of `POST /v1/matches` requests that run or wait in this process at the same time.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.aws = AwsClients(settings.region, settings.aws_endpoint_url, identity_region=settings.identity_region)
        limit = partial(RateLimit, shared=lambda: self.call_counts)
        self.login_by_source = limit("login_by_source", per_second=50, burst=500)
        # A limit for an account alone would let a stranger lock the player out. Cognito itself slows down guesses of an
        # account's password and codes from many addresses.
        # https://docs.aws.amazon.com/cognito/latest/developerguide/authentication.html
        self.login_by_pair = limit("login_by_pair", per_second=0.5, burst=10)
        # These limits differ from the limit of logins, so that a stranger's tries of a code do not stop a login.
        self.confirmation_by_pair = limit("confirmation_by_pair", per_second=0.1, burst=10)
        self.mail_by_pair = limit("mail_by_pair", per_second=1 / 60, burst=3)
        # Strangers at many addresses must not fill a player's mailbox. A mail that this limit suppresses would have the
        # code of an earlier mail, so the limit does not lock the player out (docs/decisions/0020).
        self.mail_by_account = limit("mail_by_account", per_second=1 / 600, burst=6)
        # Cognito's session for a second factor is valid for 3 minutes, so a login allows at most 8 codes.
        self.second_factor_by_session = limit("second_factor_by_session", per_second=1 / 60, burst=5)
        self.second_factor_by_account = limit("second_factor_by_account", per_second=0.1, burst=10)
        # A sign-up with a mail calls five services of AWS one after another, which takes less than a second together.
        self.mail_answer_seconds = 1.0
        # The policy of the user pool, which `accounts.password_policy` reads at the first sign-up.
        self.password_policy: PasswordPolicy | None = None
        self.direct_calls = DirectCalls(settings, self.aws)
        self.matches_by_player = limit("matches_by_player", per_second=1, burst=20)
        # At most 64 `POST /v1/matches` requests run or wait in a process, because 64 requests are about a quarter of a
        # second of work. A further `POST /v1/matches` request gets the error 503 at once.
        self.match_requests = Admission(at_once=8, waiting=56)
        self._opening: dict[str, asyncio.Lock] = {}

    def opening_match(self, mode: str) -> asyncio.Lock:
        """Return the lock that a call must hold while it creates a match of `mode` for the list of open matches."""
        return self._opening.setdefault(mode, asyncio.Lock())

    @cached_property
    def state(self) -> Redis:
        """Return the client of the region's state store, which keeps the matches and the list of game servers."""
        return open_state(self.settings, self.aws)

    @cached_property
    def cache_redis(self) -> Redis:
        """Return the client of the Redis that keeps the cache."""
        return open_cache(self.settings, self.aws)

    @cached_property
    def cache(self) -> DistributedCache:
        """Return the distributed cache."""
        # The near-cache holds only the leaderboard, because every player reads the key of the leaderboard, but a
        # profile is read by one player only (docs/decisions/0004).
        return DistributedCache(self.cache_redis, near_namespaces=[LEADERBOARD_NAMESPACE])

    @cached_property
    def database(self) -> Database:
        """Return the connections to PostgreSQL."""
        return Database(self.settings, self.aws)

    @cached_property
    def results(self) -> Results:
        """Return the access to matches, results and statistics in PostgreSQL."""
        return Results(self.database)

    @cached_property
    def tables(self) -> Tables:
        """Return the access to matches and players in DynamoDB."""
        return Tables(self.settings, self.aws)

    @cached_property
    def call_counts(self) -> CallCounts | None:
        """Return the counts of calls that all processes share, or None if the settings name no table for the counts."""
        table = self.settings.tables.get("rate_limits")
        return open_call_counts(table, self.settings.region, self.settings.aws_endpoint_url) if table else None

    @cached_property
    def verifier(self) -> TokenVerifier:
        """Return the verifier of access tokens."""
        settings = self.settings
        if not (settings.issuer and settings.client_id and settings.jwks_url):
            raise SettingsError("GAMESERVER_ISSUER, GAMESERVER_CLIENT_ID and GAMESERVER_JWKS_URL must be set")
        return TokenVerifier(settings.issuer, settings.client_id, settings.jwks_url, verifying_context(settings))

    @cached_property
    def sealer(self) -> Sealer:
        """Return the encryption of contact fields."""
        return Sealer(self.settings, self.aws)

    @cached_property
    def codes(self) -> AccountCodes:
        """Return the codes by which players prove that they read the mail to an address."""
        return AccountCodes(self.settings, self.aws)

    @cached_property
    def mailer(self) -> Mailer:
        """Return the sender of mail to players."""
        return Mailer(self.settings, self.aws)

    @cached_property
    def directory(self) -> Directory:
        """Return the list of game servers and open matches in the state store."""
        from gameserver.cluster.directory import Directory

        return Directory(self.state)

    async def close(self) -> None:
        """Close every connection. A second call of `close` does nothing."""
        opened = vars(self)
        if "database" in opened:
            await self.database.close()
        if "state" in opened:
            await self.state.aclose()
        if "cache_redis" in opened:
            await self.cache_redis.aclose()
        if opened.get("call_counts") is not None:
            opened["call_counts"].close()
        self.aws.close()
