"""`DistributedCache`: the asyncio cache. Its promises stand at the package."""

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
OnProgress = Callable[[SweepProgress], None]

_NEAR_BYTES = 16 * 1024 * 1024
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.005, 0.05


class DistributedCache:
    """Values by namespace and key, shared by all servers. Values are what msgpack can hold.

    Args:
        redis: client that answers with bytes (`decode_responses=False`); closing it stays with the caller.
        default_ttl_seconds: time to live where none is given. There is always one, so that what is left behind goes.
        jitter: a time to live is shortened by up to this share, so that keys written together do not end together.
        lease_seconds: how long a load may take before another server starts its own.
        near_namespaces: read through the memory of this process. Reads of a key that is hot cost a hundredth; every
            change of such a namespace, on any server, takes 60 ms longer while it is being read.
        near_bytes: memory for the values of each of them.
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
        """Store `value`. A load of this key that is under way will not overwrite it.

        Raises:
            InvalidName: namespace, key or `ttl_seconds` out of range. TypeError: msgpack cannot hold the value.
        """
        ttl_ms = self._ttl_ms(ttl_seconds)
        payload = msgspec.msgpack.encode(value)
        await self._register(namespace)
        created, wait = await self._call(self._set, namespace, key, payload, ttl_ms, _token())
        await self._register(namespace, again=bool(created))
        await _outlive_near(wait)

    async def get(self, namespace: str, key: str, default: Any = None) -> Any:
        """The value, or `default`. Pass `default=MISS` to tell an absent key from a stored None."""
        payload = await self._read(namespace, key)
        if payload is None:
            self.counters.misses += 1
            return default
        self.counters.hits += 1
        return msgspec.msgpack.decode(payload)

    async def get_or_load(self, namespace: str, key: str, loader: Loader, ttl_seconds: float | None = None) -> Any:
        """The value; if absent, what `loader` returns, loaded once for all who ask at the same time on any server.

        A load during which the key was invalidated is returned but not stored. While Redis is away every caller loads.

        Raises:
            whatever `loader` raises.
        """
        ttl_ms = self._ttl_ms(ttl_seconds)
        try:
            await self._register(namespace)
            return await self._read_through(namespace, key, loader, ttl_ms)
        except (RedisConnectionError, RedisTimeoutError):
            self.counters.bypassed += 1
            return await loader()

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove one key; True when it was there. On return no server answers with the old value."""
        removed, wait = await self._call(self._invalidate, namespace, key, _token())
        await _outlive_near(wait)
        return bool(removed)

    async def invalidate_many(self, names: Iterable[tuple[str, str]]) -> int:
        """Remove keys, each given as namespace and key, as `invalidate` does; return how many were there."""
        pipeline = self._redis.pipeline(transaction=False)
        for namespace, key in set(names):
            await self._call(self._invalidate, namespace, key, _token(), client=pipeline)
        answers = await pipeline.execute()
        await _outlive_near(any(wait for _, wait in answers))
        return sum(removed for removed, _ in answers)

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool:
        """Set the time to live of a key, exactly; True when it was there."""
        found, wait = await self._call(self._expire, namespace, key, _milliseconds(ttl_seconds), _token())
        await _outlive_near(wait)
        return bool(found)

    async def ttl(self, namespace: str, key: str) -> float | None:
        """Seconds that the key has left, or None when it is not there.

        Raises:
            ForeignValue: the key never ends. Every value of the cache does.
        """
        left: int = await self._call(self._ttl, namespace, key)
        if left == -1:
            raise ForeignValue(f"{namespace}:{key}", "a value without a time to live")
        return left / 1000 if left >= 0 else None

    async def invalidate_namespace(self, namespace: str) -> int:
        """Make every key of the namespace unreadable at once, whatever their number; return the new generation.

        The memory comes back as the old keys' time to live ends, or sooner by `reclaim`.
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
        """Remove every key that matches a glob over logical keys, e.g. `profile:*`, without stalling live clients.

        Cancel the task to stop; what was removed stays removed, and the last progress' `resume_token` continues.
        With `stop_after_seconds` it stops by itself about then; the result says how to go on. With `dry_run` nothing
        changes and the matches are counted.

        Raises:
            InvalidName: malformed pattern or token.
            ForeignValue: a control key of a namespace was overwritten.
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
                # Ends all loads under way first: one that read the old truth must not store it behind the sweep.
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
            # After the last key, or a near-cache could take one over again; also for a sweep that is cancelled.
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
        """Free the memory of earlier generations of the namespaces that match; no readable key is touched."""
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
        """Yield the keys that match, in no order; with `sizes`, also the bytes that each takes in Redis."""
        parsed = Pattern.parse(pattern)
        for namespace in parsed.select(await self.namespaces()):
            generation = await self._generation(namespace)
            if generation is None:
                continue
            async for batch in sweep.scan(self._redis, parsed.physical(namespace, generation)):
                for entry in await sweep.describe(self._redis, batch, sizes):
                    yield entry

    async def flush(self, *, on_progress: OnProgress | None = None) -> int:
        """Empty every namespace of the cache, never the game's other keys; return how many keys were removed."""
        for namespace in await self.namespaces():
            await self.invalidate_namespace(namespace)
        return (await self.reclaim(on_progress=on_progress)).removed

    async def ping(self) -> None:
        """Raises redis.exceptions.RedisError unless Redis answers."""
        await self._redis.execute_command("PING")

    async def namespaces(self) -> list[str]:
        """The namespaces in use, sorted. Members of the set that are no namespaces are skipped."""
        return (await self._namespaces())[0]

    async def foreign_namespaces(self) -> int:
        """Count the entries in the set of namespaces that are not valid names. `namespaces` skips them."""
        return (await self._namespaces())[1]

    async def _namespaces(self) -> tuple[list[str], int]:
        members = await self._checked(self._redis.execute_command("SMEMBERS", keys.NAMESPACES_KEY))
        return keys.split_namespaces(members)

    async def _generation(self, namespace: str) -> str | None:
        """The namespace's generation; None when it has none, and so no values."""
        value = await self._checked(self._redis.execute_command("GET", keys.generation_key(namespace)), namespace)
        if value is None:
            return None
        if not value.isdigit():
            raise ForeignValue(keys.generation_key(namespace), "text")
        return str(value.decode())

    async def stats(self) -> CacheStats:
        """Size, hit ratio and memory; per namespace exact below some 20,000 keys and estimated from a sample above."""
        return await collect(self._redis, *await self._namespaces())

    async def hot_keys(self, *, seconds: int = 5, limit: int = 20) -> HotKeys:
        """The keys that are read most, watched for `seconds`; what near-caches answer never reaches Redis."""
        return await hot.measure(self._redis, seconds=seconds, limit=limit)

    async def _read(self, namespace: str, key: str) -> bytes | None:
        """The encoded value, from this process' memory where that is allowed."""
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
                # Shielded: when this caller gives up, the others still get the value.
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
            # Read, because nobody else may be left to do so, and asyncio would complain of it.
            task.exception()

    async def _current_generation(self, namespace: str) -> int:
        """The one that holds now; those before it never come back."""
        return int(await self._redis.execute_command("GET", keys.generation_key(namespace)) or 0)

    async def _register(self, namespace: str, *, again: bool = False) -> None:
        """Name the namespace in the set of all; `again` when Redis has shown that it may have forgotten."""
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
        """Await a command of Redis; if it fails because of a value that the cache did not write, say which one.

        Raises:
            ForeignValue: a key that the command used has another type, or holds no number where one belongs.
        """
        try:
            return await call
        except ResponseError as error:
            foreign = None
            # The user of this connection may not be allowed to ask for types: then the error stays as it is.
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
            found = (await self._redis.execute_command("TYPE", name)).decode()
            if found not in (kind, "none"):
                return ForeignValue(name, f"a {found}")
        for name in numbers:
            value = await self._redis.execute_command("GET", name)
            if value is not None and not value.isdigit():
                return ForeignValue(name, "text")
        generation = await self._redis.execute_command("GET", numbers[0]) if numbers and key is not None else None
        if namespace is not None and generation is not None:
            physical = f"{keys.value_prefix(namespace)}{generation.decode()}:{key}"
            found = (await self._redis.execute_command("TYPE", physical)).decode()
            if found not in ("string", "none"):
                return ForeignValue(f"{namespace}:{key}", f"a {found}")
        return None

    @staticmethod
    def _control_keys(namespace: str) -> list[str]:
        return [keys.generation_key(namespace), keys.epoch_key(namespace), keys.near_key(namespace)]

    def _ttl_ms(self, ttl_seconds: float | None) -> int:
        seconds = self._default_ttl_seconds if ttl_seconds is None else ttl_seconds
        return _milliseconds(seconds * (1 - self._jitter * random.random()))


def _token() -> bytes:
    """Bytes that no other call, on any server, returns."""
    return secrets.token_bytes(12)


async def _outlive_near(wait: object) -> None:
    """Let the leases of near-caches run out when `wait` says that there may be any."""
    if wait:
        await asyncio.sleep(OUTLIVE_SECONDS)


def _milliseconds(seconds: float) -> int:
    if not 0 < seconds < 10**9:
        raise InvalidName("a time to live must be more than 0 and less than 1,000,000,000 seconds (31 years)")
    return max(1, int(seconds * 1000))


__all__ = ["MISS", "CacheCounters", "DistributedCache"]
