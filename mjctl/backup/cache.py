"""Cache namespaces as records: `[key, payload, expiry in ms since the epoch]` in MessagePack.

A key keeps the moment at which it ends, not the time it had left: what would have expired meanwhile stays gone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from fnmatch import fnmatchcase

import msgspec

from gameserver.cache import DistributedCache, keys, sweep
from gameserver.cache.client import RedisClient

_WRITE_BATCH = 1000


def select(namespaces: Sequence[str], globs: Sequence[str]) -> list[str]:
    """Namespaces that the globs choose; one that begins with `!` takes away again, the last that fits decides."""
    chosen = []
    for name in namespaces:
        fits = [glob for glob in globs if fnmatchcase(name, glob.removeprefix("!"))]
        if fits and not fits[-1].startswith("!"):
            chosen.append(name)
    return chosen


async def namespaces(redis: RedisClient, globs: Sequence[str]) -> list[str]:
    return select(await DistributedCache(redis).namespaces(), globs)


async def scan(redis: RedisClient, namespace: str) -> AsyncGenerator[list[bytes], None]:
    """Records of every key of the namespace, in batches. SCAN names a key at least once; here it comes once."""
    generation = await redis.execute_command("GET", keys.generation_key(namespace))
    if generation is None:
        return
    prefix = f"{keys.value_prefix(namespace)}{generation.decode()}:".encode()
    seen: set[bytes] = set()
    async for found in sweep.scan(redis, _literal(prefix.decode()) + "*"):
        fresh = [physical for physical in dict.fromkeys(found) if physical not in seen]
        seen.update(fresh)
        pipeline = redis.pipeline(transaction=False)
        for physical in fresh:
            pipeline.execute_command("GET", physical)
            pipeline.execute_command("PEXPIRETIME", physical)
        answers = await pipeline.execute(raise_on_error=False)
        for error in answers:
            # WRONGTYPE: a hash or a list under a value's name. The cache did not write it, and cannot read it.
            if isinstance(error, Exception) and not str(error).startswith("WRONGTYPE"):
                raise error
        yield [
            encode_record(physical.removeprefix(prefix), payload, ends)
            for physical, payload, ends in zip(fresh, answers[::2], answers[1::2], strict=True)
            if isinstance(payload, bytes)
        ]


async def count(redis: RedisClient, namespace: str) -> int:
    return sum([len(batch) async for batch in scan(redis, namespace)])


class NamespaceWriter:
    """Puts records into a namespace under a new generation: what was there before is unreadable from the start."""

    def __init__(self, redis: RedisClient, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._prefix = b""

    async def begin(self) -> None:
        generation = await DistributedCache(self._redis).invalidate_namespace(self._namespace)
        self._prefix = f"{keys.value_prefix(self._namespace)}{generation}:".encode()

    async def write(self, records: Sequence[bytes]) -> None:
        """A key that the game has written meanwhile is newer, and stays."""
        for start in range(0, len(records), _WRITE_BATCH):
            pipeline = self._redis.pipeline(transaction=False)
            for record in records[start : start + _WRITE_BATCH]:
                key, payload, ends = decode_record(record)
                ending = ("PXAT", ends) if ends is not None else ()
                pipeline.execute_command("SET", self._prefix + key, payload, "NX", *ending)
            await pipeline.execute()


async def forget(redis: RedisClient, namespace: str) -> int:
    """Remove a scratch namespace with all that belongs to it; how many values it had."""
    cache = DistributedCache(redis)
    await cache.invalidate_namespace(namespace)
    removed = (await cache.reclaim(namespace)).removed
    own = (keys.generation_key(namespace), keys.epoch_key(namespace), keys.near_key(namespace))
    await redis.execute_command("UNLINK", *own)
    await redis.execute_command("SREM", keys.NAMESPACES_KEY, namespace)
    return removed


def encode_record(key: bytes, payload: bytes, ends: int) -> bytes:
    """`ends` as PEXPIRETIME tells it: -1 for a key without an end."""
    return msgspec.msgpack.encode((key, payload, None if ends < 0 else ends))


def decode_record(record: bytes) -> tuple[bytes, bytes, int | None]:
    return msgspec.msgpack.decode(record, type=tuple[bytes, bytes, int | None])


def expires_at_ms(record: bytes) -> int | None:
    return decode_record(record)[2]


def _literal(text: str) -> str:
    """Redis reads `[`, `*`, `?` and `\\` as wildcards; braces and colons are plain."""
    return "".join(f"\\{letter}" if letter in "[]*?\\^" else letter for letter in text)
