"""Game servers on an emulated ECS: each task has a real game server, and a real Lambda reads the registry."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.cluster.directory import Directory
from gameserver.functions.services import Services
from gameserver.match import MatchSpec
from gameserver.runtime.settings import Settings
from gameserver.server.process import GameServer, end_tasks
from mjctl.fleet import control, ecs
from mjctl.fleet.listing import list_servers
from mjctl.fleet.model import ServerRow
from mjctl.models.errors import ConflictError, NotFoundError
from mjctl.models.exit_codes import ExitCode
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl import production
from tests.integration.mjctl.ops_lambda import ops_lambda
from tests.integration.mjctl.production import NAME, Production


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with Emulators(tmp_path_factory.mktemp("emulators")) as emulators:
        yield production.build(emulators)


@pytest.fixture
def region(built: Production, settings: Settings) -> Iterator[Production]:
    """Set the service to three tasks, and let the ops function use the Redis of this test."""
    built.client("ecs").update_service(cluster=NAME, service=built.service, desiredCount=3)
    with ops_lambda(dataclasses.replace(settings, environment=NAME), client=built.client("lambda")):
        yield built


class Agent:
    """Does the work that the emulated ECS does not do: replaces stopped tasks and runs a game server in every task."""

    def __init__(self, region: Production, settings: Settings) -> None:
        self._region = region
        self._settings = settings
        self.servers: dict[str, GameServer] = {}
        self._stacks: dict[str, AsyncExitStack] = {}

    async def follow(self) -> None:
        while True:
            arns = await asyncio.to_thread(self._tasks)
            wanted = {arn.rsplit("/", 1)[-1] for arn in arns}
            for task in wanted - self.servers.keys():
                self._stacks[task] = stack = AsyncExitStack()
                own = dataclasses.replace(self._settings, server_id=f"game-{task}", zone="us-east-1a")
                self.servers[task] = await stack.enter_async_context(GameServer.started(own))
            for task in self.servers.keys() - wanted:
                await self.stop(task)
            await asyncio.sleep(0.1)

    def _tasks(self) -> list[str]:
        ecs, service = self._region.client("ecs"), self._region.service
        (described,) = ecs.describe_services(cluster=NAME, services=[service])["services"]
        if described["runningCount"] < described["desiredCount"]:
            ecs.update_service(cluster=NAME, service=service, desiredCount=described["desiredCount"])
        arns: list[str] = ecs.list_tasks(cluster=NAME, serviceName=service)["taskArns"]
        return arns

    async def stop(self, task: str) -> None:
        server = self.servers.pop(task)
        await server.drain()
        await self._stacks.pop(task).aclose()


@asynccontextmanager
async def agent_of(region: Production, settings: Settings) -> AsyncIterator[Agent]:
    agent = Agent(region, settings)
    following = asyncio.create_task(agent.follow())
    try:
        yield agent
    finally:
        await end_tasks([following])
        for task in list(agent.servers):
            await agent.stop(task)


async def ready(region: Production, count: int) -> list[ServerRow]:
    deadline = time.monotonic() + 60
    while True:
        rows = await list_servers(region.contract)
        if sum(row.state == "ready" for row in rows) == count == len(rows):
            return rows
        assert time.monotonic() < deadline, rows
        await asyncio.sleep(0.2)


async def a_match(settings: Settings, directory: Directory, server_id: str) -> str:
    """Create a match on a server, with its item in DynamoDB, as the API does."""
    spec = MatchSpec(
        match_id=secrets.token_hex(8),
        mode="arena",
        seats=4,
        duration_seconds=120,
        rules="arena",
        created_at_ms=time.time_ns() // 1_000_000,
        server_id=server_id,
    )
    services = Services(settings)
    try:
        await services.tables.register_match(
            spec.match_id,
            mode=spec.mode,
            seats=spec.seats,
            rules=spec.rules,
            region=settings.region,
            created_by="ada",
            created_at_ms=spec.created_at_ms,
        )
    finally:
        await services.close()
    await directory.create_match(spec)
    deadline = time.monotonic() + 30
    # Wait until the registry shows the match. A heartbeat updates the registry twice a second.
    while server_id not in {server.id for server in await directory.servers() if server.matches == 1}:
        assert time.monotonic() < deadline, "the server did not take the match"
        await asyncio.sleep(0.05)
    return spec.match_id


async def taken_over(agent: Agent, match_id: str, before: str) -> str:
    """Wait until the server of another task than `before` runs the match, and return that task."""
    async with asyncio.timeout(30):
        while True:
            for task, server in agent.servers.items():
                if task != before and match_id in server.host.rooms:
                    return task
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecs, "_POLL_SECONDS", 0.4)
    monkeypatch.setattr(ecs, "_HAND_OVER_SECONDS", 60.0)
    monkeypatch.setattr(ecs, "_REPLACED_SECONDS", 60.0)


async def test_tasks_are_listed_with_the_registry_entries_of_their_servers(
    region: Production, settings: Settings
) -> None:
    async with agent_of(region, settings) as agent:
        rows = await ready(region, 3)
        assert {row.task for row in rows} == set(agent.servers)
        assert {row.id for row in rows} == {f"game-{task}" for task in agent.servers}
        assert {(row.players, row.matches, row.max_players) for row in rows} == {(0, 0, settings.max_players)}
        assert all(row.uptime_seconds is not None and row.zone == "us-east-1a" for row in rows)


async def test_a_restart_moves_the_match_and_replaces_the_task(region: Production, settings: Settings) -> None:
    lines: list[str] = []
    async with agent_of(region, settings) as agent, Redis.from_url(settings.state_url) as redis:
        old = (await ready(region, 3))[0]
        directory = Directory(redis)
        match_id = await a_match(settings, directory, old.id)
        (change,) = await control.restart(region.contract, [old.id], lines.append)
        assert (change.id, change.action, change.matches) == (old.id, "restarted", 1)
        rows = await ready(region, 3)
        assert old.task not in {row.task for row in rows}
        owner = f"game-{await taken_over(agent, match_id, str(old.task))}"
        assert owner in {row.id for row in rows}
        assert await directory.owner(match_id) == owner
    stopped = region.client("ecs").describe_tasks(cluster=NAME, tasks=[str(old.task)])["tasks"][0]
    assert stopped["lastStatus"] == "STOPPED"
    assert stopped["stoppedReason"].startswith("mjctl servers restart by arn:")
    assert f"{old.id}: handing over 1 match" in lines


async def test_a_drained_server_keeps_its_task_and_gets_no_new_match(region: Production, settings: Settings) -> None:
    async with agent_of(region, settings) as agent, Redis.from_url(settings.state_url) as redis:
        server, other, _ = await ready(region, 3)
        directory = Directory(redis)
        match_id = await a_match(settings, directory, server.id)
        (change,) = await control.drain(region.contract, [server.id], lambda _: None, message="new kernel")
        assert (change.action, change.matches) == ("drained", 1)
        rows = {row.id: row for row in await list_servers(region.contract)}
        row = rows[server.id]
        assert (row.state, row.matches, row.task) == ("draining", 0, server.task)
        drained = row.drained
        assert drained is not None
        assert drained.by.startswith("arn:aws:")
        assert drained.message == "new kernel"
        assert str(drained).startswith(f"drained by {drained.by} ")
        assert rows[other.id].state == "ready"
        assert await directory.owner(match_id) == f"game-{await taken_over(agent, match_id, str(server.task))}"
        picked = [await directory.pick_server(1) for _ in range(6)]
        assert server.id not in {candidate.id for candidate in picked if candidate is not None}


async def test_the_last_ready_server_cannot_be_drained_or_restarted(region: Production, settings: Settings) -> None:
    region.client("ecs").update_service(cluster=NAME, service=region.service, desiredCount=1)
    async with agent_of(region, settings):
        (only,) = await ready(region, 1)
        for change in (control.drain, control.restart):
            with pytest.raises(ConflictError, match="no other server"):
                await change(region.contract, [only.id], lambda _: None)
        assert [row.state for row in await list_servers(region.contract)] == ["ready"]


async def test_an_unknown_server_is_refused_before_any_server_is_changed(
    region: Production, settings: Settings
) -> None:
    async with agent_of(region, settings):
        await ready(region, 3)
        with pytest.raises(NotFoundError, match="nosuch") as raised:
            await control.restart(region.contract, ["nosuch"], lambda _: None)
        assert "game-" in (raised.value.hint or "")


def test_without_the_ops_function_the_tasks_are_listed_without_registry_entries(
    built: Production, mjctl: Any, tmp_path: Path
) -> None:
    mjctl.contracts = {built.contract.region: built.contract}
    ran = mjctl("servers", "list", "-o", "json")
    assert ran.code == ExitCode.OK
    rows = ran.json()["regions"][0]["servers"]
    assert rows
    assert {row["state"] for row in rows} == {"no answer"}
    assert all("does not exist" in row["last_incident"] for row in rows)
    assert rows[0]["task"][:12] in mjctl("servers", "list").out
