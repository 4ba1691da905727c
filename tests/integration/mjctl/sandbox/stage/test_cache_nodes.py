"""Tests that the nodes of ElastiCache replication groups are real Valkey servers, with users, TLS and failovers."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from mjctl.sandbox.stage.names import published
from tests.integration.mjctl.sandbox.stage.cache_client import (
    GROUP,
    REGION,
    Cache,
    create_group,
    described,
    roles,
    started_cache,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    with started_cache(tmp_path_factory.mktemp("cache")) as cache:
        create_group(cache.emulators, NumCacheClusters=3)
        yield cache


def test_the_members_have_the_ids_the_zones_and_the_names_of_aws(cache: Cache) -> None:
    group = described(cache.emulators)
    shard = group["NodeGroups"][0]
    assert group["MemberClusters"] == ["state-001", "state-002", "state-003"]
    assert [member["PreferredAvailabilityZone"] for member in shard["NodeGroupMembers"]] == [
        f"{REGION}a",
        f"{REGION}b",
        f"{REGION}c",
    ]
    primary = shard["PrimaryEndpoint"]["Address"]
    assert primary.startswith("master.state.")
    assert primary.endswith(".use1.cache.amazonaws.com")
    assert shard["ReaderEndpoint"]["Address"] == primary.replace("master.", "replica.", 1)
    assert {cache.address(member["ReadEndpoint"]["Address"]) for member in shard["NodeGroupMembers"]} >= {
        cache.address(primary)
    }
    nodes = cache.emulators.client("elasticache", REGION).describe_cache_clusters()["CacheClusters"]
    assert [node["CacheClusterId"] for node in nodes] == ["state-001", "state-002", "state-003"]


def test_the_certificate_covers_the_names_of_the_endpoints(cache: Cache) -> None:
    primary, _ = cache.endpoints()
    context = ssl.create_default_context(cafile=str(cache.authority))
    with (
        socket.create_connection((cache.address(primary), 6379)) as plain,
        context.wrap_socket(plain, server_hostname=primary) as encrypted,
    ):
        assert encrypted.version() in {"TLSv1.2", "TLSv1.3"}


def test_replicas_replicate_and_refuse_writes(cache: Cache) -> None:
    primary, reader = cache.endpoints()
    cache.as_game(primary).set("replicated", "yes")
    replica = cache.as_game(reader)
    assert wait_for(lambda: replica.get("replicated")) == "yes"
    assert replica.info("replication")["role"] == "slave"
    with pytest.raises(RedisError, match="read only replica"):
        replica.set("refused", "1")


def test_the_parameters_and_the_memory_of_the_node_type_apply(cache: Cache) -> None:
    memory = cache.as_game(cache.endpoints()[0]).info("memory")
    assert memory["maxmemory_policy"] == "volatile-lru"
    assert memory["maxmemory"] == int(0.375 * (1 << 30))


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_iam_user_logs_in_with_a_signed_token(cache: Cache, protocol: int) -> None:
    client = cache.connect(cache.endpoints()[0], "game", cache.token("game"), protocol=protocol)
    assert client.set("mine", "1")
    assert client.acl_whoami() == "game"


def wrong_tokens() -> dict[str, Callable[[Cache], str]]:
    return {
        "the token of a role without elasticache:Connect on the user": lambda cache: cache.token("stranger"),
        "a token for another user": lambda cache: cache.token("game", user="foreign"),
        "a token for another group": lambda cache: cache.token("game", group="other"),
        "a token for another region": lambda cache: cache.token("game", region="eu-west-1"),
        "a token that is valid for longer than 15 minutes": lambda cache: cache.token("game", seconds=901),
        "a token that was changed": lambda cache: cache.token("game")[:-4] + "0000",
        "no token": lambda _: "a-password",
    }


@pytest.mark.parametrize("case", list(wrong_tokens()))
def test_a_wrong_token_is_refused_as_by_aws(cache: Cache, case: str) -> None:
    with pytest.raises(AuthenticationError, match="invalid username-password pair or user is disabled"):
        cache.connect(cache.endpoints()[0], "game", wrong_tokens()[case](cache)).ping()


def test_a_user_outside_the_groups_user_group_cannot_log_in(cache: Cache) -> None:
    with pytest.raises(AuthenticationError):
        cache.connect(cache.endpoints()[0], "foreign", cache.token("game", user="foreign")).ping()


def test_an_expired_token_is_refused(cache: Cache) -> None:
    token = cache.token("game", seconds=1)
    time.sleep(2.1)
    with pytest.raises(AuthenticationError):
        cache.connect(cache.endpoints()[0], "game", token).ping()


def test_the_default_user_is_off_and_connections_without_tls_fail(cache: Cache) -> None:
    address = cache.address(cache.endpoints()[0])
    with pytest.raises(RedisError, match="must be called with the client already authenticated"):
        cache.connect(cache.endpoints()[0], None, None).get("keys1")
    with pytest.raises(RedisError):
        Redis(host=address, socket_timeout=2, retry=Retry(NoBackoff(), 0)).ping()


def test_users_have_the_rights_of_their_access_strings_also_after_a_change(cache: Cache) -> None:
    primary, reader = cache.endpoints()
    cache.as_game(primary).mset({"public:a": "1", "private:a": "2"})
    client = cache.connect(primary, "reader", "a-password-of-length-16")
    assert client.get("public:a") == "1"
    with pytest.raises(NoPermissionError):
        client.get("private:a")
    with pytest.raises(AuthenticationError):
        cache.connect(primary, "reader", "another-password-of-16").ping()
    elasticache = cache.emulators.client("elasticache", REGION)
    elasticache.modify_user(
        UserId="reader",
        AccessString="on ~private:* +@read",
        AuthenticationMode={"Type": "password", "Passwords": ["another-password-of-16"]},
    )
    for name in (primary, reader):
        changed = wait_for(lambda name=name: cache.connect(name, "reader", "another-password-of-16").get("private:a"))
        assert changed == "2"


def test_commands_of_the_service_are_refused_to_every_user(cache: Cache) -> None:
    elasticache = cache.emulators.client("elasticache", REGION)
    elasticache.create_user(
        UserId="all",
        UserName="all",
        AccessString="on ~* &* +@all",
        Engine="redis",
        Passwords=["a-password-of-length-16"],
    )
    elasticache.modify_user_group(UserGroupId="users", UserIdsToAdd=["all"])
    client = cache.connect(cache.endpoints()[0], "all", "a-password-of-length-16")
    wait_for(client.ping)
    for command in (("CONFIG", "GET", "dir"), ("REPLICAOF", "NO", "ONE"), ("ACL", "SETUSER", "x"), ("SHUTDOWN",)):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    elasticache.modify_user_group(UserGroupId="users", UserIdsToRemove=["all"])

    def is_gone() -> bool:
        try:
            cache.connect(cache.endpoints()[0], "all", "a-password-of-length-16").ping()
        except AuthenticationError:
            return True
        return False

    wait_for(is_gone)


def test_an_iam_user_must_have_equal_id_and_name(cache: Cache) -> None:
    with pytest.raises(ClientError, match="must be the same"):
        cache.emulators.client("elasticache", REGION).create_user(
            UserId="id", UserName="name", AccessString="on", Engine="redis", AuthenticationMode={"Type": "iam"}
        )


def test_a_killed_primary_is_replaced_by_a_replica_and_comes_back_as_a_replica(cache: Cache) -> None:
    primary, _ = cache.endpoints()
    client = cache.as_game(primary)
    client.set("before", "1")
    client.wait(2, 1000)
    before = roles(described(cache.emulators))
    started = time.monotonic()
    os.kill(client.info("server")["process_id"], signal.SIGKILL)
    former = cache.address(primary)
    wait_for(lambda: published(cache.hosts).get(primary) not in {None, former})
    survivor = wait_for(lambda: cache.as_game(primary))
    assert wait_for(lambda: survivor.set("after", "1"))
    seconds = time.monotonic() - started
    assert survivor.get("before") == "1"
    after = roles(described(cache.emulators))
    old = next(member for member, role in before.items() if role == "primary")
    assert after[old] == "replica"
    assert sorted(after.values()) == ["primary", "replica", "replica"]
    assert wait_for(lambda: survivor.info("replication")["connected_slaves"] == 2)
    assert seconds < 10
    events = cache.emulators.client("elasticache", REGION).describe_events()["Events"]
    assert any(f"Failover from primary node {old} to replica node" in event["Message"] for event in events)


def test_a_killed_replica_comes_back_without_a_failover(cache: Cache) -> None:
    primary, _ = cache.endpoints()
    before = roles(described(cache.emulators))
    replica = next(member for member, role in before.items() if role == "replica")
    name = primary.replace("master.", f"{replica}.", 1)
    process = cache.as_game(name).info("server")["process_id"]
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: cache.as_game(name).info("server")["process_id"] != process)
    assert roles(described(cache.emulators)) == before


def test_test_failover_moves_the_primary(cache: Cache) -> None:
    elasticache = cache.emulators.client("elasticache", REGION)
    before = roles(described(cache.emulators))
    answer = elasticache.test_failover(ReplicationGroupId=GROUP, NodeGroupId="0001")["ReplicationGroup"]
    assert answer["Status"] == "modifying"
    wait_for(lambda: roles(described(cache.emulators)) != before)
    with pytest.raises(ClientError, match="NodeGroupNotFound"):
        elasticache.test_failover(ReplicationGroupId=GROUP, NodeGroupId="0002")
    with pytest.raises(ClientError, match="ReplicationGroupNotFound"):
        elasticache.test_failover(ReplicationGroupId="none", NodeGroupId="0001")


def test_an_added_replica_gets_a_server_and_a_removed_replica_loses_it(cache: Cache) -> None:
    elasticache = cache.emulators.client("elasticache", REGION)
    elasticache.increase_replica_count(ReplicationGroupId=GROUP, NewReplicaCount=3, ApplyImmediately=True)
    assert described(cache.emulators)["MemberClusters"][-1] == "state-004"
    client = cache.as_game(cache.endpoints()[0])
    wait_for(lambda: client.info("replication")["connected_slaves"] == 3)
    elasticache.decrease_replica_count(ReplicationGroupId=GROUP, NewReplicaCount=2, ApplyImmediately=True)
    wait_for(lambda: client.info("replication")["connected_slaves"] == 2)


def test_a_process_of_another_user_gets_no_connection(cache: Cache) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    address = cache.address(cache.endpoints()[0])
    program = (
        "import encodings.idna, os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        f"s = socket.create_connection(({address!r}, 6379)); s.settimeout(5); sys.exit(s.recv(1) != b'')"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0


CONNECT = """
import socket, ssl

def handler(event, context):
    plain = socket.create_connection((event["host"], 6379), timeout=3)
    try:
        with ssl.create_default_context().wrap_socket(plain, server_hostname=event["host"]) as encrypted:
            return encrypted.version()
    except TimeoutError:
        return "no answer"
"""


def test_security_groups_decide_which_functions_reach_the_cache(cache: Cache) -> None:
    ec2, elasticache = (cache.emulators.client(service, REGION) for service in ("ec2", "elasticache"))
    iam, functions = (cache.emulators.client(service, REGION) for service in ("iam", "lambda"))
    subnets = elasticache.describe_cache_subnet_groups()["CacheSubnetGroups"][0]
    groups = {
        name: ec2.create_security_group(GroupName=name, Description="test", VpcId=subnets["VpcId"])["GroupId"]
        for name in ("cache", "worker", "stranger")
    }
    ec2.authorize_security_group_ingress(
        GroupId=groups["cache"],
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 6379,
                "ToPort": 6379,
                "UserIdGroupPairs": [{"GroupId": groups["worker"]}],
            }
        ],
    )
    create_group(cache.emulators, "guarded", NumCacheClusters=1, SecurityGroupIds=[groups["cache"]])
    service = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps({"Statement": [service]}))["Role"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", CONNECT)
    host = described(cache.emulators, "guarded")["NodeGroups"][0]["PrimaryEndpoint"]["Address"]
    cache.address(host)
    answers = {}
    for name in ("worker", "stranger"):
        functions.create_function(
            FunctionName=name,
            Role=role["Arn"],
            Runtime="python3.12",
            Handler="code.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=20,
            VpcConfig={
                "SubnetIds": [subnet["SubnetIdentifier"] for subnet in subnets["Subnets"]],
                "SecurityGroupIds": [groups[name]],
            },
        )
        answer = functions.invoke(FunctionName=name, Payload=json.dumps({"host": host}))
        answers[name] = json.loads(answer["Payload"].read())
    assert answers == {"worker": "TLSv1.3", "stranger": "no answer"}


def test_a_group_without_users_has_a_token_or_no_password(cache: Cache) -> None:
    elasticache = cache.emulators.client("elasticache", REGION)
    common = {
        "ReplicationGroupDescription": "test",
        "CacheSubnetGroupName": "data",
        "Engine": "redis",
        "NumCacheClusters": 1,
    }
    elasticache.create_replication_group(
        ReplicationGroupId="token", TransitEncryptionEnabled=True, AuthToken="a-token-of-more-than-16", **common
    )
    elasticache.create_replication_group(ReplicationGroupId="open", Port=7000, **common)
    name = described(cache.emulators, "token")["NodeGroups"][0]["PrimaryEndpoint"]["Address"]
    assert wait_for(lambda: cache.connect(name, None, "a-token-of-more-than-16").ping())
    with pytest.raises(AuthenticationError):
        cache.connect(name, None, "another-token-of-more-than-16").ping()
    endpoint = described(cache.emulators, "open")["NodeGroups"][0]["PrimaryEndpoint"]
    assert endpoint["Address"].startswith("open.")
    assert wait_for(Redis(host=cache.address(endpoint["Address"]), port=endpoint["Port"]).ping)
    for group in ("token", "open"):
        elasticache.delete_replication_group(ReplicationGroupId=group)
    wait_for(lambda: name not in published(cache.hosts))
