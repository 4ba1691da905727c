"""Tests a rolling deploy of real game servers under players, in AWS's order: deregister, wait, SIGTERM.

ECS's scheduler and the load balancer are those of the stage. Players connect through the load balancer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

import gameserver
from gameserver.client import Bot, GameClient
from gameserver.client.connection import PlayerConnection
from gameserver.cluster.directory import Directory
from gameserver.match import MatchSpec
from gameserver.runtime import ecs
from gameserver.server.loop import new_event_loop
from mjctl.files import read_json
from mjctl.sandbox.stage.layout import names_file
from tests.issuer import CLIENT_ID, Issuer
from tests.tiny_game import CLUSTER, PORT, REGION, TinyCluster, eventually, image, running_cluster

pytestmark = pytest.mark.timeout(300)

log = logging.getLogger(__name__)

DIGEST = "7a" * 32
OPS_PORT = 9090
LISTENER_PORT = 8000
# The deregistration delay of the module game_service is 30 s. A shorter delay makes the test quicker and stricter.
DRAIN_SECONDS = 10
SERVERS = int(os.environ.get("ROLLOUT_SERVERS", "3"))
MATCHES = 2 * SERVERS
# The longest pause is 0.1 s on an idle machine. The limit allows for a machine that is busy with other work.
LONGEST_PAUSE_SECONDS = 5.0


@dataclass
class Fleet:
    """Runs the game servers of one service behind a load balancer.

    Attributes:
        cluster: the ECS cluster.
        directory: the directory of the game servers.
        redis: the state store of the game servers.
        issuer: the issuer of the players' tokens.
        url: the address of the load balancer for players.
        role: the ARN of the task role.
        state_url: the address of the state store.
    """

    cluster: TinyCluster
    directory: Directory
    redis: Redis
    issuer: Issuer
    url: str
    role: str
    state_url: str

    def definition(self, revision: str) -> str:
        """Register a task definition. Returns its ARN."""
        variables = {
            "CLIENT_ID": CLIENT_ID,
            "ENVIRONMENT": "test",
            "ISSUER": self.issuer.url,
            "JWKS_URL": self.issuer.jwks_url,
            "OPS_PORT": str(OPS_PORT),
            "PEER_PORT": str(PORT + 1),
            "PLAY_URL": self.url,
            "PROJECT": "arena",
            "REGION": REGION,
            "STATE_URL": self.state_url,
            "TLS_OWN_CERTIFICATE": "true",
            "UNJOINED_PER_ADDRESS": "0",
        }
        return self.cluster.register(
            "rolling",
            image=image(self.cluster.account_id, DIGEST),
            stopTimeout=30,
            task_role=self.role,
            variables={"REVISION": revision, **{f"GAMESERVER_{name}": value for name, value in variables.items()}},
        )

    def deploy(self, revision: str) -> None:
        """Begin a rolling deploy of a new task definition."""
        self.cluster.ecs.update_service(cluster=CLUSTER, service="rolling", taskDefinition=self.definition(revision))

    def are_stopped(self, tasks: list[Any]) -> bool:
        """Return whether the tasks have ended."""
        return all(self.cluster.task(task["taskArn"])["lastStatus"] == "STOPPED" for task in tasks)

    def events(self, task: Any) -> list[dict[str, Any]]:
        """Return the lines of the log of a game server."""
        return [json.loads(line) for line in self.cluster.log(task)]

    async def serving(self) -> list[str]:
        """Return the ids of the servers as soon as all of them are in the directory."""
        async with asyncio.timeout(60):
            while True:
                servers = [server.id for server in await self.directory.servers() if not server.draining]
                if len(servers) >= SERVERS:
                    return servers
                await asyncio.sleep(0.1)

    async def start_match(self, server_id: str) -> str:
        """Create a match on a server. Returns its id."""
        spec = MatchSpec(
            await self.directory.new_match_id(server_id), "test", 2, 900.0, "arena", time.time_ns() // 1_000_000,
            server_id,
        )  # fmt: skip
        await self.directory.create_match(spec)
        return spec.match_id

    async def join(self, match_id: str, player_id: str) -> PlayerConnection:
        """Let a player join a match through the load balancer."""
        client = GameClient("", timeout_seconds=20)
        client.use_token(self.issuer.token(player_id))
        return await client.join((match_id, self.url), name=player_id)


@pytest.fixture
def fleet(tmp_path: Path, redis_url: str) -> Iterator[Fleet]:
    """Run a service of `SERVERS` game servers behind a load balancer."""
    release = tmp_path / "releases" / "game" / DIGEST
    release.mkdir(parents=True)
    (release / "gameserver").symlink_to(Path(gameserver.__path__[0]))
    issuer = Issuer()
    state_url = f"{redis_url}/{os.getpid() % 500 + 2000}"
    with running_cluster(tmp_path) as cluster:
        group, network, name = balanced(cluster)
        # ministack's process sends the names to the proxy, which then listens at the address of the load balancer.
        address = eventually(lambda: read_json(names_file(tmp_path / "stage")).get(name))
        role = cluster.role("game", ["ecs:GetTaskProtection"])
        allow_as_the_module(cluster)
        redis = Redis.from_url(state_url, decode_responses=False)
        url = f"ws://{address}:{LISTENER_PORT}/play"
        running = Fleet(cluster, Directory(redis), redis, issuer, url, role, state_url)
        cluster.serve(
            "rolling",
            running.definition("old"),
            SERVERS,
            healthCheckGracePeriodSeconds=120,
            loadBalancers=[{"containerName": "game", "containerPort": PORT, "targetGroupArn": group}],
            networkConfiguration=network,
        )
        eventually(lambda: cluster.is_stable("rolling"), 300)
        yield running
    issuer.close()


def allow_as_the_module(cluster: TinyCluster) -> None:
    """Give the task role the rights on ECS that terraform/modules/game_service gives it."""
    prefix = f"arn:aws:ecs:{REGION}:{cluster.account_id}"
    tasks = f"{prefix}:task/{CLUSTER}/*"
    rights = {
        ("ecs:GetTaskProtection", "ecs:UpdateTaskProtection"): [tasks],
        ("ecs:DescribeServices", "ecs:DescribeTasks"): [f"{prefix}:service/{CLUSTER}/rolling", tasks],
    }
    statements = [{"Action": actions, "Effect": "Allow", "Resource": on} for actions, on in rights.items()]
    document = json.dumps({"Statement": statements, "Version": "2012-10-17"})
    cluster.client("iam").put_role_policy(RoleName="game", PolicyName="rights", PolicyDocument=document)


def balanced(cluster: TinyCluster) -> tuple[str, dict[str, Any], str]:
    """Create a load balancer. Returns: its target group, the network configuration of its tasks, and its DNS name."""
    ec2, balancers = cluster.client("ec2"), cluster.client("elbv2")
    vpc = ec2.describe_subnets(SubnetIds=cluster.subnets)["Subnets"][0]["VpcId"]
    members = ec2.create_security_group(Description="game", GroupName="rolling", VpcId=vpc)["GroupId"]
    everybody = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=members, IpPermissions=[everybody])
    balancer = balancers.create_load_balancer(
        Name="rolling", Scheme="internal", SecurityGroups=[members], Subnets=cluster.subnets
    )["LoadBalancers"][0]
    group = balancers.create_target_group(
        HealthCheckIntervalSeconds=5,
        HealthCheckPath="/servingz",
        HealthCheckPort=str(OPS_PORT),
        HealthCheckProtocol="HTTPS",
        HealthCheckTimeoutSeconds=3,
        HealthyThresholdCount=2,
        Name="rolling",
        Port=PORT,
        Protocol="HTTPS",
        TargetType="ip",
        UnhealthyThresholdCount=2,
        VpcId=vpc,
    )["TargetGroups"][0]["TargetGroupArn"]
    balancers.modify_target_group_attributes(
        TargetGroupArn=group,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}],
    )
    balancers.create_listener(
        DefaultActions=[{"TargetGroupArn": group, "Type": "forward"}],
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Port=LISTENER_PORT,
        Protocol="HTTP",
    )
    network = {"awsvpcConfiguration": {"securityGroups": [members], "subnets": cluster.subnets}}
    return group, network, balancer["DNSName"]


def test_a_rolling_deploy_moves_every_match_once_before_the_load_balancer_cuts_its_players(fleet: Fleet) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(deploy_under_players(fleet))


async def deploy_under_players(fleet: Fleet) -> None:
    cluster, old_servers = fleet.cluster, await fleet.serving()
    old_tasks = cluster.tasks("rolling")
    matches = [await fleet.start_match(old_servers[number % SERVERS]) for number in range(MATCHES)]
    connections: list[PlayerConnection] = []
    bots: list[asyncio.Task[Any]] = []
    try:
        for match_id in matches:
            for name in ("ada", "bob"):
                connections.append(await fleet.join(match_id, f"{name}-{match_id[:8]}"))
                bots.append(asyncio.create_task(Bot(connections[-1]).play()))
        # A server with matches protects its task within 5 s, for a minute at least. The deploy must not wait for the
        # end of the protection.
        await asyncio.sleep(6)
        began = time.monotonic()
        await asyncio.to_thread(fleet.deploy, "new")
        await asyncio.to_thread(eventually, lambda: cluster.is_stable("rolling"), 400)
        await asyncio.to_thread(eventually, lambda: fleet.are_stopped(old_tasks), 60)
        seconds = time.monotonic() - began
        lost = sum(bot.done() for bot in bots)
        specs = await fleet.directory.specs(matches)
        owners = {await fleet.directory.owner(match_id) for match_id in matches}
    finally:
        for connection in connections:
            await connection.close()
        for bot in bots:
            bot.cancel()
        await fleet.redis.aclose()
    pauses = [each for connection in connections for each in connection.samples.interruptions]
    longest = max(each.seconds for each in pauses)
    moves = [spec.moves for spec in specs if spec is not None]
    drains = [[e for e in fleet.events(task) if e["event"] == "draining"] for task in old_tasks]
    log.info(
        "%d servers in %.0f s: %d matches, %d players lost, longest pause %.2f s, at most %d moves of a match, "
        "%.1f reconnects of a player",
        SERVERS, seconds, MATCHES, lost, longest, max(moves), len(pauses) / len(connections),
    )  # fmt: skip
    assert lost == 0
    assert moves == [1] * MATCHES
    assert owners <= {ecs.server_id(task["taskArn"]) for task in cluster.tasks("rolling")}
    # The first drain follows ECS's deregistration. SIGTERM, the second drain, follows the load balancer's cut.
    assert [[drain.get("by_ecs", False) for drain in each] for each in drains] == [[True, False]] * SERVERS
    assert [(each[1]["matches"], each[1]["players"]) for each in drains] == [(0, 0)] * SERVERS
    assert longest < LONGEST_PAUSE_SECONDS
