"""Connects tests to replication groups of ElastiCache on the stage, with users and roles of IAM as the game has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.model import ServiceId
from botocore.session import Session
from botocore.signers import RequestSigner
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.names import published

REGION = "us-east-1"
GROUP = "state"
ACCOUNT = "123456789012"


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Call `condition` until its result is true, and return the result."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := condition():
                return result
        except (RedisError, RedisClusterException, OSError, KeyError) as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"not in time: {error!r}") from error
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def subnet_ids(emulators: Emulators, zones: int) -> list[str]:
    ec2 = emulators.client("ec2", REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{'abc'[number]}")[
            "Subnet"
        ]["SubnetId"]
        for number in range(zones)
    ]


def create_users(emulators: Emulators) -> None:
    cache = emulators.client("elasticache", REGION)
    cache.create_user(
        UserId="off",
        UserName="default",
        AccessString="off ~keys* -@all +get",
        Engine="redis",
        NoPasswordRequired=True,
    )
    cache.create_user(
        UserId="game",
        UserName="game",
        AccessString="on ~* &* +@all -@admin -@dangerous +info",
        Engine="redis",
        AuthenticationMode={"Type": "iam"},
    )
    cache.create_user(
        UserId="reader",
        UserName="reader",
        AccessString="on ~public:* +@read",
        Engine="redis",
        Passwords=["a-password-of-length-16"],
    )
    cache.create_user(
        UserId="foreign",
        UserName="foreign",
        AccessString="on ~* +@all",
        Engine="redis",
        AuthenticationMode={"Type": "iam"},
    )
    cache.create_user_group(UserGroupId="users", Engine="redis", UserIds=["off", "game", "reader"])


def create_group(emulators: Emulators, name: str = GROUP, **options: Any) -> dict[str, Any]:
    cache = emulators.client("elasticache", REGION)
    created = cache.create_replication_group(
        ReplicationGroupId=name,
        ReplicationGroupDescription="test",
        AutomaticFailoverEnabled=options.get("NumCacheClusters") != 1,
        CacheNodeType="cache.t4g.micro",
        CacheSubnetGroupName="data",
        Engine="redis",
        EngineVersion="7.1",
        MultiAZEnabled=options.get("NumCacheClusters") != 1,
        TransitEncryptionEnabled=True,
        UserGroupIds=["users"],
        **options,
    )["ReplicationGroup"]
    assert created["Status"] == "creating"
    return described(emulators, name)


def described(emulators: Emulators, name: str = GROUP, seconds: float = 20) -> dict[str, Any]:
    def available() -> Any:
        cache = emulators.client("elasticache", REGION)
        group = cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
        return group if group["Status"] == "available" else None

    group: dict[str, Any] = wait_for(available, seconds)
    return group


def roles(group: Mapping[str, Any]) -> dict[str, str]:
    return {member["CacheClusterId"]: member["CurrentRole"] for member in group["NodeGroups"][0]["NodeGroupMembers"]}


class Cache:
    """Connects to the DNS names of a replication group, as the game server does."""

    def __init__(self, emulators: Emulators, folder: Path) -> None:
        self.emulators = emulators
        self.hosts = folder / "stage" / "hosts"
        self.authority = folder / "stage" / "authority" / "authority.pem"
        iam = emulators.client("iam", REGION)
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        for role in ("game", "stranger"):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        prefix = f"arn:aws:elasticache:{REGION}:{ACCOUNT}"
        resources = [f"{prefix}:replicationgroup:{GROUP}", f"{prefix}:user:game", f"{prefix}:user:foreign"]
        self.allow("game", resources)
        self.allow("stranger", resources[:1])

    def allow(self, role: str, resources: list[str]) -> None:
        statement = {"Effect": "Allow", "Action": "elasticache:Connect", "Resource": resources}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.emulators.client("iam", REGION).put_role_policy(RoleName=role, PolicyName="a", PolicyDocument=document)

    def credentials(self, role: str) -> Any:
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        return self.emulators.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]

    def token(self, role: str, user: str = "game", group: str = GROUP, seconds: int = 900, region: str = REGION) -> str:
        """Sign a log-in with the credentials of a role, as gameserver.runtime.aws does."""
        key = self.credentials(role)
        session = Session()
        session.set_credentials(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
        signer = RequestSigner(
            ServiceId("elasticache"),
            region,
            "elasticache",
            "v4",
            session.get_credentials(),
            session.get_component("event_emitter"),
        )
        request = {
            "method": "GET",
            "url": f"https://{group}/?Action=connect&User={user}",
            "body": {},
            "headers": {},
            "context": {},
        }
        signed: str = signer.generate_presigned_url(request, operation_name="connect", expires_in=seconds)
        return signed.removeprefix("https://")

    def address(self, name: str) -> str:
        address: str = wait_for(lambda: published(self.hosts).get(name))
        return address

    def connect(self, name: str, user: str | None, password: str | None, **options: Any) -> Redis:
        """Connect to an endpoint. The test runs outside the stage, so this method translates the name to an address."""
        return Redis(
            host=self.address(name),
            port=6379,
            username=user,
            password=password,
            ssl=True,
            ssl_ca_certs=str(self.authority),
            ssl_check_hostname=False,
            socket_timeout=5,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            **options,
        )

    def as_game(self, name: str) -> Redis:
        client = self.connect(name, "game", self.token("game"))
        client.ping()
        return client

    def endpoints(self, name: str = GROUP) -> tuple[str, str]:
        shard = described(self.emulators, name)["NodeGroups"][0]
        return shard["PrimaryEndpoint"]["Address"], shard["ReaderEndpoint"]["Address"]


@contextmanager
def started_cache(folder: Path) -> Iterator[Cache]:
    """Start an emulated AWS with subnets and users, and yield connections to its replication groups."""
    with Emulators(folder, names=["ministack"], stage=True) as emulators:
        emulators.client("elasticache", REGION).create_cache_subnet_group(
            CacheSubnetGroupName="data", CacheSubnetGroupDescription="test", SubnetIds=subnet_ids(emulators, 3)
        )
        create_users(emulators)
        yield Cache(emulators, folder)
