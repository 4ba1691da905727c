"""What the functions work with, opened once per process and shared by all calls."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from gameserver.cache import DistributedCache
from gameserver.functions.admission import Admission
from gameserver.functions.rate_limit import RateLimit
from gameserver.persistence.database import Database
from gameserver.persistence.results import Results
from gameserver.persistence.tables import Tables
from gameserver.runtime.auth import TokenVerifier
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import Sealer
from gameserver.runtime.redis_connection import open_redis
from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import verifying_context

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from gameserver.cluster.directory import Directory

PROFILE_NAMESPACE = "profile"
LEADERBOARD_NAMESPACE = "leaderboard"
LEADERBOARD_KEY = "top"


class Services:
    """Each is made when it is first asked for, and nothing connects before it is used, so a process starts whatever is
    away and needs the variables only of what it uses. Every property may raise SettingsError.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.aws = AwsClients(settings.region, settings.aws_endpoint_url)
        self.login_by_source = RateLimit(per_second=50, burst=500)
        self.login_by_account = RateLimit(per_second=0.5, burst=10)
        self.matches_by_player = RateLimit(per_second=1, burst=20)
        # About a quarter of a second's work: whoever waits longer is better told so.
        self.match_requests = Admission(at_once=8, waiting=56)
        self._opening: dict[str, asyncio.Lock] = {}

    def opening_match(self, mode: str) -> asyncio.Lock:
        """The lock under which this process opens a match of `mode` for players who take any match."""
        return self._opening.setdefault(mode, asyncio.Lock())

    @cached_property
    def redis(self) -> Redis:
        return open_redis(self.settings, self.aws)

    @cached_property
    def cache(self) -> DistributedCache:
        # The one key that every player asks for; a profile is asked for by its owner alone (docs/decisions/0004).
        return DistributedCache(self.redis, near_namespaces=[LEADERBOARD_NAMESPACE])

    @cached_property
    def database(self) -> Database:
        return Database(self.settings, self.aws)

    @cached_property
    def results(self) -> Results:
        return Results(self.database)

    @cached_property
    def tables(self) -> Tables:
        return Tables(self.settings, self.aws)

    @cached_property
    def verifier(self) -> TokenVerifier:
        settings = self.settings
        if not (settings.issuer and settings.client_id and settings.jwks_url):
            raise SettingsError("GAMESERVER_ISSUER, _CLIENT_ID and _JWKS_URL must be set")
        return TokenVerifier(settings.issuer, settings.client_id, settings.jwks_url, verifying_context(settings))

    @cached_property
    def sealer(self) -> Sealer:
        return Sealer(self.settings, self.aws)

    @cached_property
    def directory(self) -> Directory:
        from gameserver.cluster.directory import Directory

        return Directory(self.redis)

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        opened = vars(self)
        if "database" in opened:
            await self.database.close()
        if "redis" in opened:
            await self.redis.aclose()
        self.aws.close()
