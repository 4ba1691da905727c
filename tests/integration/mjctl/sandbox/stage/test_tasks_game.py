"""Tests that the real game server runs as an ECS task, with the health check and the settings of the stacks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import gameserver
from tests.tiny_game import CLUSTER, REGION, address, eventually, image, running_cluster

pytestmark = pytest.mark.timeout(120)

DIGEST = "6e" * 32
OPS_PORT = 9090
# The health check of terraform/modules/game_service, with a shorter interval.
PROGRAM = re.search(
    r'"python", "-c", "(.*)"\]',
    (Path(__file__).parents[5] / "terraform" / "modules" / "game_service" / "main.tf").read_text(encoding="utf-8"),
)
assert PROGRAM is not None
HEALTH_CHECK = {
    "command": ["CMD", "python", "-c", PROGRAM[1].replace("${var.task.ops_port}", str(OPS_PORT))],
    "interval": 1,
    "retries": 3,
    "startPeriod": 30,
    "timeout": 5,
}


def test_the_game_server_starts_becomes_healthy_and_drains(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "game" / DIGEST
    release.mkdir(parents=True)
    (release / "gameserver").symlink_to(Path(gameserver.__path__[0]))
    settings = {
        # No Redis listens here. The game server must start nevertheless, and repeat its attempts to connect.
        "STATE_URL": "redis://127.0.0.1:1/0",
        "CLIENT_ID": "client",
        "ENVIRONMENT": "test",
        "EVENTS_TOPIC_ARN": f"arn:aws:sns:{REGION}:123456789012:events",
        "ISSUER": "https://example.com/pool",
        "JWKS_URL": "https://example.com/pool/.well-known/jwks.json",
        "PLAY_URL": "wss://example.com",
        "PROJECT": "arena",
        "REGION": REGION,
        "TLS_OWN_CERTIFICATE": "true",
    }
    with running_cluster(tmp_path) as cluster:
        definition = cluster.register(
            "real",
            healthCheck=HEALTH_CHECK,
            image=image(cluster.account_id, DIGEST),
            stopTimeout=20,
            variables={f"GAMESERVER_{name}": value for name, value in settings.items()},
        )
        cluster.serve("real", definition)
        eventually(lambda: cluster.is_stable("real"), 40)
        task = cluster.tasks("real")[0]
        assert task["healthStatus"] == "HEALTHY"
        assert address(task).startswith("127.")
        cluster.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])
        stopped = cluster.stopped(task["taskArn"])
        assert stopped["containers"][0]["exitCode"] == 0
        events = eventually(
            lambda: (known := [json.loads(line)["event"] for line in cluster.log(task)])[-1] == "stopped" and known
        )
        assert "draining" in events
