"""Tests of a game server as an ECS task, against an agent that answers as AWS documents the endpoints."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from gameserver.runtime import ecs
from gameserver.runtime.settings import Mode, Settings

TASK_ID = "158d1c8083dd49d6b527399fd6414f5c"
TASK_ARN = f"arn:aws:ecs:us-east-1:111122223333:task/arena-prod/{TASK_ID}"
SETTINGS = Settings(project="p", environment="e", region="us-east-1")


class Agent:
    """Answers like the ECS agent.

    Attributes:
        asked: bodies of the requests to switch the protection on or off.
        refusal: the answer to requests for protection; None to grant them.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refusal: dict[str, Any] | None = None
        self.metadata_failures = 0
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/v4/5fb8fcdd-1/task" or agent.metadata_failures > 0:
                    agent.metadata_failures -= 1
                    self._answer(500, {})
                    return
                task = {"Cluster": "arena-prod", "TaskARN": TASK_ARN, "Family": "arena-prod-game", "Revision": "5"}
                self._answer(200, {**task, "AvailabilityZone": "us-east-1b", "LaunchType": "FARGATE"})

            def do_PUT(self) -> None:
                assert self.path == "/api/5fb8fcdd-1/task-protection/v1/state"
                assert self.headers["Content-Type"] == "application/json"
                wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                agent.asked.append(wish)
                if agent.refusal is not None:
                    self._answer(400, agent.refusal)
                    return
                granted = {"ProtectionEnabled": wish["ProtectionEnabled"], "TaskArn": TASK_ARN}
                self._answer(200, {"protection": granted})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.variables = {
            ecs.METADATA_VARIABLE: f"{base}/v4/5fb8fcdd-1",
            ecs.AGENT_VARIABLE: f"{base}/api/5fb8fcdd-1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def agent() -> Iterator[Agent]:
    emulated = Agent()
    yield emulated
    emulated.close()


def test_a_server_gets_its_id_and_zone_from_its_task(agent: Agent) -> None:
    settings = ecs.identified(SETTINGS, agent.variables)
    assert (settings.server_id, settings.zone) == (f"game-{TASK_ID}", "us-east-1b")
    given = Settings(project="p", environment="e", region="r", server_id="mine", zone="z")
    assert ecs.identified(given, agent.variables) is given
    assert ecs.identified(SETTINGS, {}) is SETTINGS


def test_a_failing_agent_is_called_again_and_a_missing_agent_stops_no_server(agent: Agent) -> None:
    agent.metadata_failures = 2
    assert ecs.identified(SETTINGS, agent.variables).zone == "us-east-1b"
    agent.metadata_failures = 3
    assert ecs.identified(SETTINGS, agent.variables) == SETTINGS


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_a_task_is_protected_while_it_has_matches(agent: Agent, session: Any) -> None:
    busy = False
    clock = Clock()
    protection = ecs.TaskProtection(agent.variables[ecs.AGENT_VARIABLE], 180, lambda: busy, clock=clock)
    await protection.look(session)
    assert agent.asked == []
    busy = True
    await protection.look(session)
    await protection.look(session)
    assert agent.asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 3}]
    busy = False
    clock.now += 60
    await protection.look(session)
    await protection.look(session)
    assert agent.asked[1:] == [{"ProtectionEnabled": False}]


async def test_a_server_that_always_has_matches_can_be_replaced(agent: Agent, session: Any) -> None:
    clock = Clock()
    protection = ecs.TaskProtection(agent.variables[ecs.AGENT_VARIABLE], 180, lambda: True, clock=clock)
    protected = []
    for _ in range(120):
        before = len(agent.asked)
        await protection.look(session)
        protected += [clock.now - 1000.0] * (len(agent.asked) - before)
        clock.now += 5
    # ECS ends the protection after 180 s, and the server asks again after a pause of 90 s.
    assert protected == [0.0, 270.0, 540.0]
    assert all(wish["ProtectionEnabled"] for wish in agent.asked)


@pytest.mark.parametrize(
    "refusal",
    [
        {"failure": {"Arn": TASK_ARN, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}},
        {"error": {"Arn": TASK_ARN, "Code": "AccessDeniedException", "Message": "not authorized"}},
    ],
)
async def test_a_refused_protection_is_not_requested_again_at_once(
    agent: Agent, session: Any, refusal: dict[str, Any]
) -> None:
    clock = Clock()
    protection = ecs.TaskProtection(agent.variables[ecs.AGENT_VARIABLE], 60, lambda: True, clock=clock)
    agent.refusal = refusal
    await protection.look(session)
    await protection.look(session)
    assert len(agent.asked) == 1
    agent.refusal = None
    clock.now += 31
    await protection.look(session)
    await protection.look(session)
    assert len(agent.asked) == 2


async def test_a_missing_agent_is_no_error(session: Any) -> None:
    await ecs.TaskProtection("http://127.0.0.1:9/api/x", 60, lambda: True).look(session)


@pytest.mark.parametrize(("longest", "minutes"), [(50, 2), (3600, ecs.LONGEST_PROTECTION_MINUTES)])
def test_a_protection_outlasts_a_short_match_and_not_a_long_one(longest: float, minutes: int) -> None:
    modes = (Mode("a", 2, 8), Mode("b", 2, longest))
    protection = ecs.protection(modes, lambda: True, {ecs.AGENT_VARIABLE: "http://127.0.0.1:9"})
    assert protection is not None
    assert protection.minutes == minutes
    assert ecs.protection(modes, lambda: True, {}) is None


def test_the_names_of_a_task_follow_from_its_arn(agent: Agent) -> None:
    assert ecs.task_arn(agent.variables) == TASK_ARN
    assert ecs.task_arn({}) == ""
    assert ecs.cluster_arn(TASK_ARN) == "arn:aws:ecs:us-east-1:111122223333:cluster/arena-prod"
    assert ecs.task_id(ecs.server_id(TASK_ARN)) == TASK_ID
    assert ecs.task_id("local-1") == ""


async def test_a_game_server_runs_as_a_task(
    agent: Agent,
    spawn: Any,
    new_match: Any,
    player: Any,
    eventually: Any,
    directory: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in agent.variables.items():
        monkeypatch.setenv(name, value)
    name = f"game-{TASK_ID}"
    process = await spawn(server_id="", zone="", expected_id=name)
    server = next(listed for listed in await directory.servers() if listed.id == name)
    assert server.zone == "us-east-1b"
    spec = await new_match(name, seconds=30.0)
    await player("ada").join((spec.match_id, server.url), name="Ada")

    async def protected() -> bool:
        return [wish["ProtectionEnabled"] for wish in agent.asked] == [True]

    await eventually(protected)
    lines = [json.loads(line) for line in process.log.read_text().splitlines() if '"server_status"' in line]
    # The metric filter of terraform/modules/game_service reads the fields of the log line `server_status`.
    assert lines[0]["event"] == "server_status"
    assert lines[0]["players"] == 0
    assert {line["server_id"] for line in lines} == {name}
    assert {line["zone"] for line in lines} == {"us-east-1b"}
