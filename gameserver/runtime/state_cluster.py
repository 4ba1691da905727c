"""The client of a state store in cluster mode, and the choice of hash tags that spread matches over its shards."""

from __future__ import annotations

import random
from typing import Any

from redis.asyncio.cluster import ClusterPipeline, RedisCluster
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

_TAGS = 4096
"""Number of hash tags. With 4,096 tags, each of 100 shards has about 40 of them."""


class StateCluster(RedisCluster):
    """Sends each command to the shard that owns the slot of the command's keys.

    redis-py follows the redirections MOVED and ASK, and reads the slots of all shards again after a lost connection. An
    error of redis-py's own that is no `RedisError`, for example because no node answers, becomes a
    redis.exceptions.ConnectionError, which the game server repeats.
    """

    async def initialize(self, *args: Any, **kwargs: Any) -> Any:
        """Connect to a node, and read the slots of all shards.

        redis-py asks only the nodes that it has found before. A client that knows the primary only could then never
        find the replica that replaces the primary. This client may ask the address of the state store too.
        """
        for node in self.startup_nodes:
            self.nodes_manager.startup_nodes.setdefault(node.name, node)
        try:
            return await super().initialize(*args, **kwargs)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command, and return its answer."""
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    async def _determine_slot(self, command: str, *args: Any) -> int:
        """Return the slot of a command's keys. Of a script's keys only the first is hashed, because redis-py would hash
        the hundreds of keys of a commit. Redis refuses a script whose keys are in several slots."""
        if command == "EVALSHA" and args[1]:
            return int(self.keyslot(args[2]))
        return int(await super()._determine_slot(command, *args))

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """Return a pipeline that sends the commands of each shard in one round trip."""
        del transaction, shard_hint
        return _StatePipeline(self)  # type: ignore[abstract]  # redis-py's own pipeline has the same class

    async def tag_for(self, server_id: str) -> str:
        """Return a hash tag for a new match of a server, in a shard that is chosen at random.

        The matches of one server in one shard have the same hash tag, so that the server stores these matches by one
        call of a script.
        """
        await self.initialize()
        owners = {slot: nodes[0].name for slot, nodes in self.nodes_manager.slots_cache.items() if nodes}
        wanted = set(owners.values())
        tags: dict[str, str] = {}
        start = key_slot(server_id.encode()) % _TAGS
        for number in range(_TAGS):
            tag = f"{(start + number) % _TAGS:03x}"
            owner = owners.get(slot_of(tag))
            if owner is not None:
                tags.setdefault(owner, tag)
            if len(tags) == len(wanted):
                break
        if not tags:
            raise RedisConnectionError("no shard of the state store has slots")
        return random.choice(list(tags.values()))


class _StatePipeline(ClusterPipeline):
    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().execute(*args, **kwargs)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error


def cluster_of(redis: object) -> StateCluster | None:
    """Return the client of a state store if the state store runs in cluster mode, or else None."""
    return redis if isinstance(redis, StateCluster) else None


def slot_of(tag: str) -> int:
    """Return the slot of all matches whose keys have the hash tag `tag`."""
    return key_slot(f"m:{tag}".encode())
