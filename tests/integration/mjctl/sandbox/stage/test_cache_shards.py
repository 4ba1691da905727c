"""Tests that a replication group in cluster mode keeps its keys over failovers and changes of its shards."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from redis import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from mjctl.sandbox.stage.names import published
from tests.integration.mjctl.sandbox.stage.cache_client import (
    ACCOUNT,
    REGION,
    Cache,
    create_group,
    described,
    started_cache,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    with started_cache(tmp_path_factory.mktemp("cache")) as cache:
        yield cache


class ClusterWriter:
    """Writes keys to a group in cluster mode in a background thread, and remembers the keys that the group accepted."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._stopping = threading.Event()
        self.written: list[str] = []
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> ClusterWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _write(self) -> None:
        number = 0
        while not self._stopping.wait(0.002):
            with suppress(RedisError, RedisClusterException, OSError):
                self._client.set(f"key:{number}", number)
                self.written.append(f"key:{number}")
            number += 1

    def wait_for_more(self) -> None:
        """Return when the group has accepted further keys."""
        before = len(self.written)
        wait_for(lambda: len(self.written) > before + 50)


@pytest.fixture
def resolved(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process resolve the names of the stage, as the stage's own processes do."""
    original = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return original(published(cache.hosts).get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def open_cluster(cache: Cache, endpoint: str, group: str) -> Any:
    """Connect as the game server does: the certificate must cover every name that the nodes announce."""
    return RedisCluster(
        host=endpoint,
        port=6379,
        username="game",
        password=cache.token("game", group=group),
        ssl=True,
        ssl_ca_certs=str(cache.authority),
        socket_timeout=5,
        socket_connect_timeout=1,
        require_full_coverage=False,
        decode_responses=True,
    )


@pytest.fixture
def shards(cache: Cache) -> Iterator[str]:
    """Create a group in cluster mode with one shard, as the stack `region` does. Yields: the configuration endpoint."""
    elasticache = cache.emulators.client("elasticache", REGION)
    elasticache.create_cache_parameter_group(
        CacheParameterGroupFamily="redis7", CacheParameterGroupName="shards", Description="test"
    )
    values = {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"}
    elasticache.modify_cache_parameter_group(
        CacheParameterGroupName="shards",
        ParameterNameValues=[{"ParameterName": name, "ParameterValue": value} for name, value in values.items()],
    )
    prefix = f"arn:aws:elasticache:{REGION}:{ACCOUNT}"
    cache.allow("game", [f"{prefix}:replicationgroup:shards", f"{prefix}:user:game"])
    group = create_group(
        cache.emulators, "shards", CacheParameterGroupName="shards", NumNodeGroups=1, ReplicasPerNodeGroup=1
    )
    assert group["ClusterEnabled"]
    assert not any("CurrentRole" in node for node in group["NodeGroups"][0]["NodeGroupMembers"])
    endpoint: str = group["ConfigurationEndpoint"]["Address"]
    wait_for(lambda: published(cache.hosts).get(endpoint))
    yield endpoint
    elasticache.delete_replication_group(ReplicationGroupId="shards")


@pytest.mark.usefixtures("resolved")
def test_a_group_in_cluster_mode_keeps_its_keys_over_failovers_and_changes_of_shards(cache: Cache, shards: str) -> None:
    elasticache = cache.emulators.client("elasticache", REGION)
    change = {"ReplicationGroupId": "shards", "ApplyImmediately": True}
    client = open_cluster(cache, shards, "shards")
    domain = shards.removeprefix("clustercfg.")
    assert sorted(node.host for node in client.get_nodes()) == [f"shards-0001-00{n}.{domain}" for n in (1, 2)]
    assert client.info("memory", target_nodes=client.get_primaries()[0])["maxmemory_policy"] == "noeviction"
    with ClusterWriter(client) as writer:
        writer.wait_for_more()
        primary = client.get_primaries()[0]
        os.kill(client.info("server", target_nodes=primary)["process_id"], signal.SIGKILL)
        wait_for(
            lambda: primary.name not in {node.name for node in open_cluster(cache, shards, "shards").get_primaries()}
        )
        writer.wait_for_more()
        described(cache.emulators, "shards")

        elasticache.modify_replication_group_shard_configuration(NodeGroupCount=2, **change)
        group = described(cache.emulators, "shards", seconds=120)
        assert group["MemberClusters"] == [
            f"shards-{shard}-{node}" for shard in ("0001", "0002") for node in ("001", "002")
        ]
        writer.wait_for_more()
        primaries = wait_for(lambda: open_cluster(cache, shards, "shards")).get_primaries()
        counts = [client.dbsize(target_nodes=node) for node in primaries]
        assert len(counts) == 2
        assert min(counts) > len(writer.written) // 3

        elasticache.modify_replication_group_shard_configuration(
            NodeGroupCount=1, NodeGroupsToRemove=["0001"], **change
        )
        group = described(cache.emulators, "shards", seconds=120)
        assert group["MemberClusters"] == ["shards-0002-001", "shards-0002-002"]
        writer.wait_for_more()
    client = wait_for(lambda: open_cluster(cache, shards, "shards"))
    assert {node.host.partition(".")[0] for node in client.get_nodes()} == {"shards-0002-001", "shards-0002-002"}
    lost = [key for key in writer.written if client.get(key) is None]
    # Redis copies writes to replicas later, so the newest writes before a failover can be lost.
    assert len(lost) <= 5
    wait_for(lambda: f"shards-0001-001.{domain}" not in published(cache.hosts))
