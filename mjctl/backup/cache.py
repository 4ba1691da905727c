"""Reads and writes cache namespaces as records: `[key, payload, expiry in ms since the epoch]` in MessagePack.

A record contains the moment at which its key expires. If it contained the key's remaining time to live, a restore would
bring back a key that has expired since the backup.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from fnmatch import fnmatchcase

import msgspec

from gameserver.cache import DistributedCache, keys, sweep
from gameserver.cache.client import RedisClient

_WRITE_BATCH = 1000


def select(namespaces: Sequence[str], globs: Sequence[str]) -> list[str]:
    """Return the cache namespaces that the patterns `globs` select.

    Args:
        globs: patterns as in a shell. A pattern that begins with `!` excludes the namespaces that match it. If several
            patterns match a namespace, the last of these patterns decides.
    """
    chosen = []
    for name in namespaces:
        matches = [glob for glob in globs if fnmatchcase(name, glob.removeprefix("!"))]
        if matches and not matches[-1].startswith("!"):
            chosen.append(name)
    return chosen


async def namespaces(redis: RedisClient, globs: Sequence[str]) -> list[str]:
    """Return the cache namespaces in Redis that the patterns `globs` select (see `select`)."""
    return select(await DistributedCache(redis).namespaces(), globs)


async def scan(redis: RedisClient, namespace: str) -> AsyncGenerator[list[bytes], None]:
    """Yield the records of all keys of the cache namespace, in batches, each key exactly once.

    Redis' SCAN may return a key more than once: https://redis.io/docs/latest/commands/scan/
    """
    generation = await redis.execute_command("GET", keys.generation_key(namespace))
    if generation is None:
        return
    prefix = f"{keys.value_prefix(namespace)}{generation.decode()}:".encode()
    seen: set[bytes] = set()
    async for batch in sweep.scan(redis, _literal(prefix.decode()) + "*"):
        fresh = [physical for physical in dict.fromkeys(batch) if physical not in seen]
        seen.update(fresh)
        pipeline = redis.pipeline(transaction=False)
        for physical in fresh:
            pipeline.execute_command("GET", physical)
            pipeline.execute_command("PEXPIRETIME", physical)
        answers = await pipeline.execute(raise_on_error=False)
        for error in answers:
            # Redis answers WRONGTYPE if a key in the namespace holds a Redis hash or list. The backup skips a key
            # with a hash or list, because another program wrote the key: the game's cache writes only strings.
            if isinstance(error, Exception) and not str(error).startswith("WRONGTYPE"):
                raise error
        yield [
            encode_record(physical.removeprefix(prefix), payload, ends)
            for physical, payload, ends in zip(fresh, answers[::2], answers[1::2], strict=True)
            if isinstance(payload, bytes)
        ]


async def count(redis: RedisClient, namespace: str) -> int:
    """Return the number of keys in the cache namespace, by reading all keys."""
    return sum([len(batch) async for batch in scan(redis, namespace)])


class NamespaceWriter:
    """Writes records into a cache namespace under a new generation, which makes all earlier values unreadable."""

    def __init__(self, redis: RedisClient, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._prefix = b""

    async def begin(self) -> None:
        """Invalidate the cache namespace, so that no server reads the namespace's earlier values any more."""
        generation = await DistributedCache(self._redis).invalidate_namespace(self._namespace)
        self._prefix = f"{keys.value_prefix(self._namespace)}{generation}:".encode()

    async def write(self, records: Sequence[bytes]) -> None:
        """Write records, except those of keys that the game has written since `begin`: the game's values are newer."""
        for start in range(0, len(records), _WRITE_BATCH):
            pipeline = self._redis.pipeline(transaction=False)
            for record in records[start : start + _WRITE_BATCH]:
                key, payload, ends = decode_record(record)
                ending = ("PXAT", ends) if ends is not None else ()
                pipeline.execute_command("SET", self._prefix + key, payload, "NX", *ending)
            await pipeline.execute()


async def forget(redis: RedisClient, namespace: str) -> int:
    """Remove a cache namespace of a scratch copy, with its values and its bookkeeping in Redis.

    Returns:
        The number of values that were removed.
    """
    cache = DistributedCache(redis)
    await cache.invalidate_namespace(namespace)
    removed = (await cache.reclaim(namespace)).removed
    own = (keys.generation_key(namespace), keys.epoch_key(namespace), keys.near_key(namespace))
    await redis.execute_command("UNLINK", *own)
    await redis.execute_command("SREM", keys.NAMESPACES_KEY, namespace)
    return removed


def encode_record(key: bytes, payload: bytes, ends: int) -> bytes:
    """Encode one key of the cache as a record of a backup.

    Args:
        ends: expiry in milliseconds since the epoch as Redis' PEXPIRETIME returns it; negative for a key that does not
            expire.
    """
    return msgspec.msgpack.encode((key, payload, None if ends < 0 else ends))


def decode_record(record: bytes) -> tuple[bytes, bytes, int | None]:
    """Return the key, the payload and the expiry of a record.

    The expiry is in milliseconds since 1970, or None if the key does not expire.
    """
    return msgspec.msgpack.decode(record, type=tuple[bytes, bytes, int | None])


def expires_at_ms(record: bytes) -> int | None:
    """Return the expiry of a record in milliseconds since 1970, or None if the key does not expire."""
    return decode_record(record)[2]


def _literal(text: str) -> str:
    """Escape the special characters of patterns of Redis' SCAN in a text, so that each character matches itself.

    Braces and colons have no special meaning in a pattern of SCAN.
    """
    return "".join(f"\\{character}" if character in "[]*?\\^" else character for character in text)
