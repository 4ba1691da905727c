"""The distributed cache for asyncio. The docstring of `gameserver.cache` describes what the cache guarantees."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gameserver.cache import hot, keys, scripts, sweep
from gameserver.cache.client import RedisClient
from gameserver.cache.hot import HotKeys
from gameserver.cache.keys import MISS, CacheKey, ForeignValue, InvalidName, Pattern, PatternResult, SweepProgress
from gameserver.cache.near import OUTLIVE_SECONDS, NearCache, clock
from gameserver.cache.stats import CacheCounters, CacheStats, collect

Loader = Callable[[], Awaitable[Any]]
"""A function that gets a value from the source of truth."""

OnProgress = Callable[[SweepProgress], None]
"""A function that receives the progress after each step of a sweep."""

_NEAR_BYTES = 16 * 1024 * 1024
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.005, 0.05


class DistributedCache:
    """Stores values by namespace and key in Redis, for all servers. A value is anything that msgpack can hold.

    The name of a namespace has 1 to 32 characters of a-z, 0-9, `_` and `-`. A key has 1 to 512 bytes of UTF-8. The
    methods of the cache raise these errors:

    * `InvalidName`: the name of a namespace or a key has a wrong length or a character that is not allowed.
    * `ForeignValue`: another program has written to a key of the cache in Redis.
    * `redis.exceptions.RedisError`: Redis does not answer.

    Args:
        redis: client that answers with bytes (`decode_responses=False`), and that the caller closes.
        default_ttl_seconds: time to live of a value for which the caller gives none. Every value has a time to live, so
            that unused values disappear.
        jitter: largest share, from 0 to below 1, by which a time to live is shortened at random. Because of the jitter,
            keys that were written together do not expire together.
        lease_seconds: time after which another server also loads a value whose load has not finished.
        near_namespaces: namespaces that this process reads through its near-cache. A read from the near-cache is about
            a hundred times faster than a read from Redis. A change of a namespace takes 60 ms longer if any near-cache
            may hold a lease for the namespace.
        near_bytes: memory for the values of each namespace in `near_namespaces`, in bytes.

    Raises:
        ValueError: a number is out of range, or `redis` decodes responses.

    Attributes:
        counters: numbers of hits, misses and loads of this process.
    """

    def __init__(
        self,
        redis: RedisClient,
        *,
        default_ttl_seconds: float = 300,
        jitter: float = 0.1,
        lease_seconds: float = 5.0,
        near_namespaces: Collection[str] = (),
        near_bytes: int = _NEAR_BYTES,
    ) -> None:
        if default_ttl_seconds <= 0 or not 0 <= jitter < 1 or lease_seconds <= 0:
            raise ValueError("default_ttl_seconds and lease_seconds must be positive, jitter at least 0 and below 1")
        if redis.get_encoder().decode_responses:
            raise ValueError("the cache needs a Redis client with decode_responses=False: values are binary")
        self._redis = redis
        self._default_ttl_seconds = default_ttl_seconds
        self._jitter = jitter
        self._lease_seconds = lease_seconds
        self._registered: set[str] = set()
        self._loading: dict[bytes, asyncio.Task[Any]] = {}
        self._near = NearCache([keys.check_namespace(name) for name in near_namespaces], near_bytes)
        self._get = redis.register_script(scripts.GET)
        self._get_near = redis.register_script(scripts.GET_NEAR)
        self._break_near = redis.register_script(scripts.BREAK_NEAR)
        self._set = redis.register_script(scripts.SET)
        self._get_or_lease = redis.register_script(scripts.GET_OR_LEASE)
        self._store = redis.register_script(scripts.STORE)
        self._release = redis.register_script(scripts.RELEASE)
        self._invalidate = redis.register_script(scripts.INVALIDATE)
        self._expire = redis.register_script(scripts.EXPIRE)
        self._ttl = redis.register_script(scripts.TTL)
        self._next_generation = redis.register_script(scripts.NEXT_GENERATION)
        self.counters = CacheCounters()

    async def set(self, namespace: str, key: str, value: Any, ttl_seconds: float | None = None) -> None:
        """Store a value. A load of the same key that started before this call cannot overwrite the value.

        Args:
            namespace: namespace of the key.
            key: name of the value in the namespace.
            value: anything that msgpack can hold.
            ttl_seconds: time to live, more than 0 and less than 10^9. None means the cache's default time to live.

        Raises:
            InvalidName: the namespace, the key or `ttl_seconds` is not valid.
            TypeError: msgpack cannot hold the value.
        """
        ttl_ms = self._ttl_ms(ttl_seconds)
        payload = msgspec.msgpack.encode(value)
        await self._register(namespace)
        created, wait = await self._call(self._set, namespace, key, payload, ttl_ms, _token())
        await self._register(namespace, again=bool(created))
        await _outlive_near(wait)

    async def get(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return the value, or `default` if the key is absent.

        `default=MISS` distinguishes an absent key from a stored None.
        """
        payload = await self._read(namespace, key)
        if payload is None:
            self.counters.misses += 1
            return default
        self.counters.hits += 1
        return msgspec.msgpack.decode(payload)

    async def get_or_load(self, namespace: str, key: str, loader: Loader, ttl_seconds: float | None = None) -> Any:
        """Return the value, and load it if the key is absent.

        Concurrent callers on all servers share one load. If the key is invalidated during the load, the callers still
        get the loaded value, but the cache does not store it. While Redis does not answer, each caller calls its own
        `loader`.

        Args:
            namespace: namespace of the key.
            key: name of the value in the namespace.
            loader: gets the value from the source of truth. The value is anything that msgpack can hold.
            ttl_seconds: time to live of a loaded value, more than 0 and less than 10^9. None means the cache's default
                time to live.

        Raises:
            InvalidName: the namespace, the key or `ttl_seconds` is not valid.
            Exception: the error that `loader` raised.
        """
        ttl_ms = self._ttl_ms(ttl_seconds)
        try:
            await self._register(namespace)
            return await self._read_through(namespace, key, loader, ttl_ms)
        except (RedisConnectionError, RedisTimeoutError):
            self.counters.bypassed += 1
            return await loader()

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a key. Once `invalidate` has returned, no server answers a new read with the removed value.

        Returns:
            True if the key existed.
        """
        removed, wait = await self._call(self._invalidate, namespace, key, _token())
        await _outlive_near(wait)
        return bool(removed)

    async def invalidate_many(self, names: Iterable[tuple[str, str]]) -> int:
        """Remove keys, each given as (namespace, key), with the guarantee of `invalidate`.

        Returns:
            The number of keys that existed.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for namespace, key in set(names):
            await self._call(self._invalidate, namespace, key, _token(), client=pipeline)
        answers = await pipeline.execute()
        await _outlive_near(any(wait for _, wait in answers))
        return sum(removed for removed, _ in answers)

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool:
        """Set the time to live of a key in seconds, without jitter. Returns True if the key exists."""
        exists, wait = await self._call(self._expire, namespace, key, _milliseconds(ttl_seconds), _token())
        await _outlive_near(wait)
        return bool(exists)

    async def ttl(self, namespace: str, key: str) -> float | None:
        """Return the seconds until a key expires, or None if the key does not exist.

        Raises:
            ForeignValue: the key never expires, so the cache did not write it.
        """
        left: int = await self._call(self._ttl, namespace, key)
        if left == -1:
            raise ForeignValue(f"{namespace}:{key}", "a value without a time to live")
        return left / 1000 if left >= 0 else None

    async def invalidate_namespace(self, namespace: str) -> int:
        """Make every key of a namespace unreadable at once, for any number of keys.

        The values of the earlier generation use memory until their time to live ends, or until `reclaim` removes them.

        Returns:
            The new generation of the namespace.
        """
        keys.check_namespace(namespace)
        generation: int
        with_new = self._next_generation(keys=self._control_keys(namespace), args=[_token()])
        generation, wait = await self._checked(with_new, namespace)
        await self._register(namespace, again=True)
        await _outlive_near(wait)
        return generation

    async def invalidate_pattern(
        self,
        pattern: str,
        *,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
        stop_after_seconds: float | None = None,
    ) -> PatternResult:
        """Remove every key that matches a glob, without slowing down the game's other Redis commands.

        After a cancellation of the sweep, the removed keys stay removed, and the `resume_token` of the last
        `SweepProgress` continues the sweep.

        Args:
            pattern: glob over `<namespace>:<key>`, e.g. `profile:*`. A pattern without a colon matches namespaces.
            dry_run: count the keys, and remove nothing.
            on_progress: receives the progress after each step.
            max_keys_per_second: most keys to remove per second; None limits the sweep only by Redis' latency.
            resume_token: token that an earlier sweep reported, to continue that sweep.
            stop_after_seconds: time after which the sweep stops with a `resume_token` in the result.

        Raises:
            InvalidName: the pattern or the resume token is not valid.
            ForeignValue: another program has overwritten a control key of a namespace.
        """
        parsed = Pattern.parse(pattern)
        walks = []
        namespaces, foreign = await self._namespaces()
        selected = parsed.select(namespaces)
        for namespace in selected:
            generation = await self._generation(namespace)
            if generation is not None:
                walks.append((namespace, parsed.physical(namespace, generation)))
            if not dry_run:
                # End all load leases of the namespace before the sweep, so that a load in progress cannot store an old
                # value after the sweep.
                await self._checked(self._redis.execute_command("INCR", keys.epoch_key(namespace)), namespace)
        waits: list[int] = []
        try:
            result = await sweep.walk(
                self._redis,
                pattern,
                walks,
                remove=not dry_run,
                on_progress=on_progress,
                max_keys_per_second=max_keys_per_second,
                resume_token=resume_token,
                stop_after_seconds=stop_after_seconds,
            )
        finally:
            # End the leases of the near-caches after the sweep has removed the last key. Before the last removal, a
            # near-cache could get a new lease and keep a key that the sweep then removes. A cancelled sweep has removed
            # keys too, so the leases are ended in `finally`.
            for namespace in () if dry_run else selected:
                waits.append(await self._break_near(keys=self._control_keys(namespace), args=[_token()]))
        await _outlive_near(any(waits))
        return replace(result, foreign_namespaces=foreign)

    async def reclaim(
        self,
        pattern: str = "*",
        *,
        on_progress: OnProgress | None = None,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
        stop_after_seconds: float | None = None,
    ) -> PatternResult:
        """Free the memory of values that no read can reach: the values of earlier generations.

        Args:
            pattern: glob over the names of namespaces.
            on_progress: receives the progress after each step.
            max_keys_per_second: most keys to remove per second; None limits the sweep only by Redis' latency.
            resume_token: token that an earlier sweep reported, to continue that sweep.
            stop_after_seconds: time after which the sweep stops with a `resume_token` in the result.

        Raises:
            InvalidName: the pattern or the resume token is not valid.
        """
        walks = [
            (name, f"{keys.value_prefix(name)}*") for name in Pattern.parse(pattern).select(await self.namespaces())
        ]
        return await sweep.walk(
            self._redis,
            pattern,
            walks,
            before=self._current_generation,
            on_progress=on_progress,
            max_keys_per_second=max_keys_per_second,
            resume_token=resume_token,
            stop_after_seconds=stop_after_seconds,
        )

    async def scan(self, pattern: str, *, sizes: bool = False) -> AsyncIterator[CacheKey]:
        """Yield the keys that match a glob, in no order. A key can appear twice while Redis resizes its table.

        Args:
            pattern: glob over `<namespace>:<key>`, e.g. `profile:*`.
            sizes: also measure the memory of each key in Redis, in bytes.

        Raises:
            InvalidName: the pattern is not valid.
        """
        parsed = Pattern.parse(pattern)
        for namespace in parsed.select(await self.namespaces()):
            generation = await self._generation(namespace)
            if generation is None:
                continue
            async for batch in sweep.scan(self._redis, parsed.physical(namespace, generation)):
                for entry in await sweep.describe(self._redis, batch, sizes):
                    yield entry

    async def flush(self, *, on_progress: OnProgress | None = None) -> int:
        """Empty all namespaces of the cache. Keys in Redis that do not belong to the cache stay.

        Returns:
            The number of removed keys.
        """
        for namespace in await self.namespaces():
            await self.invalidate_namespace(namespace)
        return (await self.reclaim(on_progress=on_progress)).removed

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        await self._redis.execute_command("PING")

    async def namespaces(self) -> list[str]:
        """Return the names of all namespaces that were ever used, sorted. Entries of the set in Redis that are no valid
        names are skipped."""
        return (await self._namespaces())[0]

    async def foreign_namespaces(self) -> int:
        """Count the entries in the set of namespaces that are no valid names, and that `namespaces` therefore skips."""
        return (await self._namespaces())[1]

    async def _namespaces(self) -> tuple[list[str], int]:
        members = await self._checked(self._redis.execute_command("SMEMBERS", keys.NAMESPACES_KEY))
        return keys.split_namespaces(members)

    async def _generation(self, namespace: str) -> str | None:
        """Return the generation of a namespace, or None if the namespace has no generation and therefore no values."""
        value = await self._checked(self._redis.execute_command("GET", keys.generation_key(namespace)), namespace)
        if value is None:
            return None
        if not value.isdigit():
            raise ForeignValue(keys.generation_key(namespace), "text")
        return str(value.decode())

    async def stats(self) -> CacheStats:
        """Measure the size, the hit ratio and the memory of the cache.

        The figures of each namespace are exact if Redis has at most 20,000 keys, and estimates from a sample if Redis
        has more keys.
        """
        return await collect(self._redis, *await self._namespaces())

    async def hot_keys(self, *, seconds: int = 5, limit: int = 20) -> HotKeys:
        """Return the keys that servers read most. Reads that a near-cache answered do not count.

        Args:
            seconds: how long to observe Redis.
            limit: largest number of keys to return.
        """
        return await hot.measure(self._redis, seconds=seconds, limit=limit)

    async def _read(self, namespace: str, key: str) -> bytes | None:
        """Return the encoded value, or None if the key is absent. The near-cache answers while its lease lasts."""
        payload: bytes | None
        if namespace not in self._near.namespaces:
            payload = await self._call(self._get, namespace, key)
            return payload
        if (payload := self._near.get(namespace, key)) is not None:
            self.counters.near_hits += 1
            return payload
        asked_at = clock()
        payload, ttl_ms, token = await self._call(self._get_near, namespace, key, _token())
        self._near.keep(namespace, key, payload, ttl_ms=ttl_ms, token=token, asked_at=asked_at)
        return payload

    async def _read_through(self, namespace: str, key: str, loader: Loader, ttl_ms: int) -> Any:
        if namespace in self._near.namespaces and (payload := await self._read(namespace, key)) is not None:
            self.counters.hits += 1
            return msgspec.msgpack.decode(payload)
        token = _token()
        wait = _FIRST_WAIT_SECONDS
        give_up_at = time.monotonic() + 2 * self._lease_seconds
        while True:
            payload, holder, created = await self._call(
                self._get_or_lease, namespace, key, token, _milliseconds(self._lease_seconds)
            )
            await self._register(namespace, again=bool(created))
            if payload is not None:
                self.counters.hits += 1
                return msgspec.msgpack.decode(payload)
            if holder == token:
                self.counters.misses += 1
                task = asyncio.create_task(self._load(namespace, key, loader, ttl_ms, token))
                self._loading[token] = task
                task.add_done_callback(lambda done: self._loaded(token, done))
                # If this caller is cancelled, the shield keeps the load running for the other callers.
                return await asyncio.shield(task)
            if (under_way := self._loading.get(holder)) is not None:
                self.counters.hits += 1
                return await asyncio.shield(under_way)
            if time.monotonic() > give_up_at:
                return await loader()
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT_SECONDS, wait * 2)

    async def _load(self, namespace: str, key: str, loader: Loader, ttl_ms: int, token: bytes) -> Any:
        self.counters.loads += 1
        try:
            value = await loader()
            payload = msgspec.msgpack.encode(value)
        except BaseException:
            with contextlib.suppress(RedisConnectionError, RedisTimeoutError):
                await self._call(self._release, namespace, key, token)
            raise
        try:
            stored = await self._call(self._store, namespace, key, token, payload, ttl_ms)
        except (RedisConnectionError, RedisTimeoutError):
            stored = 0
        self.counters.not_stored += not stored
        return value

    def _loaded(self, token: bytes, task: asyncio.Task[Any]) -> None:
        del self._loading[token]
        if not task.cancelled():
            # If all callers were cancelled, no other code reads the exception of the load, and asyncio would log it as
            # an error.
            task.exception()

    async def _current_generation(self, namespace: str) -> int:
        """Return the current generation of a namespace, a number that only grows; 0 if the namespace has no
        generation."""
        return int(await self._redis.execute_command("GET", keys.generation_key(namespace)) or 0)

    async def _register(self, namespace: str, *, again: bool = False) -> None:
        """Add a namespace to the set of namespaces in Redis, once for each process.

        `again` is True after Redis has lost the namespace's generation, because Redis may have lost the set of
        namespaces too.
        """
        if again or namespace not in self._registered:
            keys.check_namespace(namespace)
            await self._redis.execute_command("SADD", keys.NAMESPACES_KEY, namespace)
            self._registered.add(namespace)

    async def _call(self, script: Any, namespace: str, key: str, *arguments: Any, client: Any = None) -> Any:
        names = self._control_keys(keys.check_namespace(namespace))
        prefixes = keys.value_prefix(namespace), keys.lease_prefix(namespace)
        call = script(keys=names, args=[*prefixes, keys.check_key(key), *arguments], client=client)
        return await (call if client is not None else self._checked(call, namespace, key))

    async def _checked(self, call: Awaitable[Any], namespace: str | None = None, key: str | None = None) -> Any:
        """Await a Redis command. If another program wrote a value that the command used, the error names the value's
        key.

        Raises:
            ForeignValue: a key of the command has the wrong type, or a control key does not hold a number.
        """
        try:
            return await call
        except ResponseError as error:
            foreign = None
            # If the Redis user of this connection may not call TYPE, the error of the command is raised.
            with contextlib.suppress(ResponseError):
                foreign = await self._find_foreign(namespace, key)
            if foreign is None:
                raise
            raise foreign from error

    async def _find_foreign(self, namespace: str | None, key: str | None) -> ForeignValue | None:
        expected = {keys.NAMESPACES_KEY: "set"}
        numbers: list[str] = []
        if namespace is not None:
            numbers = [keys.generation_key(namespace), keys.epoch_key(namespace)]
            expected |= {**dict.fromkeys(numbers, "string"), keys.near_key(namespace): "hash"}
        for name, kind in expected.items():
            stored_type = (await self._redis.execute_command("TYPE", name)).decode()
            if stored_type not in (kind, "none"):
                return ForeignValue(name, f"a {stored_type}")
        for name in numbers:
            value = await self._redis.execute_command("GET", name)
            if value is not None and not value.isdigit():
                return ForeignValue(name, "text")
        generation = await self._redis.execute_command("GET", numbers[0]) if numbers and key is not None else None
        if namespace is not None and generation is not None:
            physical = f"{keys.value_prefix(namespace)}{generation.decode()}:{key}"
            stored_type = (await self._redis.execute_command("TYPE", physical)).decode()
            if stored_type not in ("string", "none"):
                return ForeignValue(f"{namespace}:{key}", f"a {stored_type}")
        return None

    @staticmethod
    def _control_keys(namespace: str) -> list[str]:
        return [keys.generation_key(namespace), keys.epoch_key(namespace), keys.near_key(namespace)]

    def _ttl_ms(self, ttl_seconds: float | None) -> int:
        seconds = self._default_ttl_seconds if ttl_seconds is None else ttl_seconds
        return _milliseconds(seconds * (1 - self._jitter * random.random()))


def _token() -> bytes:
    """Return random bytes that no other call on any server returns."""
    return secrets.token_bytes(12)


async def _outlive_near(wait: object) -> None:
    """Wait until the leases of all near-caches have expired, if `wait` is true.

    `wait` is false if no near-cache can hold a lease.
    """
    if wait:
        await asyncio.sleep(OUTLIVE_SECONDS)


def _milliseconds(seconds: float) -> int:
    if not 0 < seconds < 10**9:
        raise InvalidName("a time to live must be more than 0 and less than 1,000,000,000 seconds (31 years)")
    return max(1, int(seconds * 1000))


__all__ = ["MISS", "CacheCounters", "DistributedCache"]
