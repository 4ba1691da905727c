"""Tests that ElastiCache behaves in cluster mode as on AWS, and that each correction of ministack is still needed.

A probe returns True if the emulator behaves as AWS does. The probe must return False for ministack without corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(120)]

REGION = "us-east-1"
CONFLICT = "InvalidParameterCombination"
probe = Probes[Any]()


def create(cache: Any, name: str, **options: Any) -> None:
    """Create a replication group with two nodes in each shard."""
    common = {"ReplicationGroupDescription": "a", "AutomaticFailoverEnabled": True, "Engine": "redis"}
    cache.create_replication_group(**{**common, "ReplicationGroupId": name, **options})


def described(cache: Any, name: str) -> dict[str, Any]:
    group: dict[str, Any] = cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    return group


def parameter_group(cache: Any, name: str, **values: str) -> str:
    """Create a parameter group. Returns: its name."""
    cache.create_cache_parameter_group(
        CacheParameterGroupFamily="redis7", CacheParameterGroupName=name, Description="a"
    )
    cache.modify_cache_parameter_group(
        CacheParameterGroupName=name,
        ParameterNameValues=[{"ParameterName": key, "ParameterValue": value} for key, value in values.items()],
    )
    return name


@probe("cache-cluster-mode")
def _cluster_mode(cache: Any) -> bool:
    parameters = parameter_group(cache, "on", **{"cluster-enabled": "yes"})
    create(cache, "one", CacheParameterGroupName=parameters, NumNodeGroups=1, ReplicasPerNodeGroup=1)
    group = described(cache, "one")
    (shard,) = group["NodeGroups"]
    silent = not any("CurrentRole" in member or "ReadEndpoint" in member for member in shard["NodeGroupMembers"])
    return silent and group["ClusterEnabled"] and "ConfigurationEndpoint" in group and "PrimaryEndpoint" not in shard


@probe("cache-shard-count")
def _shard_count(cache: Any) -> bool:
    create(cache, "more", NumNodeGroups=3, ReplicasPerNodeGroup=1)
    change = {"ReplicationGroupId": "more", "ApplyImmediately": True}
    call = cache.modify_replication_group_shard_configuration
    return not error_code(call, NodeGroupCount=4, **change) and len(described(cache, "more")["NodeGroups"]) == 4


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    names = ["ministack", "moto"] if request.param else ["ministack"]
    with Emulators(tmp_path_factory.mktemp("cluster-mode"), names=names, corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, running.client("elasticache", REGION), corrected=corrected)


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.ministack_cluster_mode") == set(probe)


@pytest.fixture(scope="module")
def cache(emulators: tuple[bool, Emulators]) -> Any:
    corrected, running = emulators
    if not corrected:
        pytest.skip("ministack has no cluster mode without the corrections")
    return running.client("elasticache", REGION)


def test_the_number_of_shards_changes_as_terraform_asks(cache: Any) -> None:
    create(cache, "two", NumNodeGroups=2, ReplicasPerNodeGroup=1)
    assert described(cache, "two")["MemberClusters"] == [
        f"two-{shard}-{node}" for shard in ("0001", "0002") for node in ("001", "002")
    ]
    change = {"ReplicationGroupId": "two", "ApplyImmediately": True}
    changed = cache.modify_replication_group_shard_configuration(
        NodeGroupCount=1, NodeGroupsToRemove=["0001"], **change
    )["ReplicationGroup"]
    assert changed["MemberClusters"] == described(cache, "two")["MemberClusters"] == ["two-0002-001", "two-0002-002"]
    assert {node["CacheClusterId"] for node in cache.describe_cache_clusters()["CacheClusters"]} >= {"two-0002-002"}
    assert error_code(cache.describe_cache_clusters, CacheClusterId="two-0001-001") == "CacheClusterNotFound"
    cache.modify_replication_group_shard_configuration(NodeGroupCount=2, **change)
    assert [shard["NodeGroupId"] for shard in described(cache, "two")["NodeGroups"]] == ["0002", "0003"]


def refusals() -> dict[str, tuple[str, Callable[[Any], None]]]:
    """Return calls that AWS refuses, with the code of the error."""

    def reshard(cache: Any, name: str = "refusals", count: int = 1, **options: Any) -> None:
        cache.modify_replication_group_shard_configuration(
            ReplicationGroupId=name, ApplyImmediately=True, NodeGroupCount=count, **options
        )

    def modify(cache: Any, name: str, mode: str) -> None:
        cache.modify_replication_group(ReplicationGroupId=name, ClusterMode=mode)

    default = {"CacheParameterGroupName": "default.redis7"}
    shards = {"NumNodeGroups": 2, "ReplicasPerNodeGroup": 1}
    return {
        "several shards without cluster mode": (CONFLICT, lambda cache: create(cache, "a", **shards, **default)),
        "cluster mode without its parameter": (
            CONFLICT,
            lambda cache: create(cache, "a", ClusterMode="enabled", **default),
        ),
        "shards without failover": (
            CONFLICT,
            lambda cache: create(cache, "a", AutomaticFailoverEnabled=False, **shards),
        ),
        "from disabled to enabled at once": (CONFLICT, lambda cache: modify(cache, "without", "enabled")),
        "back to disabled": (CONFLICT, lambda cache: modify(cache, "refusals", "disabled")),
        "shards of a group without cluster mode": (CONFLICT, lambda cache: reshard(cache, "without", 2)),
        "fewer shards without names": (CONFLICT, reshard),
        "an unknown shard": ("NodeGroupNotFoundFault", lambda cache: reshard(cache, NodeGroupsToRemove=["0009"])),
        "an unknown group": ("ReplicationGroupNotFoundFault", lambda cache: reshard(cache, "none")),
    }


@pytest.mark.parametrize("case", sorted(refusals()))
def test_calls_that_aws_refuses_are_refused(cache: Any, case: str) -> None:
    code, call = refusals()[case]
    for name, shards in (("refusals", {"NumNodeGroups": 2, "ReplicasPerNodeGroup": 1}), ("without", {})):
        if error_code(cache.describe_replication_groups, ReplicationGroupId=name):
            create(cache, name, **shards)
    before = [described(cache, name) for name in ("refusals", "without")]
    assert error_code(lambda: call(cache)) == code
    assert [described(cache, name) for name in ("refusals", "without")] == before
