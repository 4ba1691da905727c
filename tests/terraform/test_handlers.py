"""Runs each Lambda function and the game server with the variables and the permissions of production's plan.

`SET_BY_STAGE` lists the variables that the functions and the game server have only in the emulated AWS.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import inputs
import production_programs
import psutil
import pytest
from production_account import Foundation, RegionStores, one
from production_door import Door, listening
from production_faults import CHECKS, FAULTS, Fault, Region
from production_play import PASSWORD, PlayedMatch, Players, refused, stored
from production_programs import Programs, functions, policies, variables
from production_values import applied_plan, with_names

from gameserver.functions import lambda_handlers
from mjctl.sandbox.call_log import RecordedCall, read_calls, role_uses
from mjctl.sandbox.policies import Policy
from mjctl.sandbox.stage import names
from mjctl.sandbox.stage.layout import calls_file
from tests.integration.mjctl.sandbox.stage.by_tls import StageCaller, running
from tests.tiny_game import address, eventually
from tools.plan_model import Plan

pytestmark = [pytest.mark.infra, pytest.mark.timeout(600)]

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
SET_BY_LAMBDA = {
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LANG",
    "PATH",
    "TZ",
}
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
SET_BY_ECS = {"AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_REGION", "ECS_AGENT_URI", "ECS_CONTAINER_METADATA_URI_V4"}
SET_BY_IMAGE = {"HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR"}
# Variables that only the emulated AWS sets. A task on Fargate gets AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, to whose
# address no process of this machine can connect.
SET_BY_STAGE = {
    "AWS_CA_BUNDLE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
    "MJCTL_STAGE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "_LAMBDA_FUNCTION_ARN",
    "_LAMBDA_TIMEOUT",
}


Json = dict[str, Any]


class Production(NamedTuple):
    """Holds the running functions and game servers.

    Attributes:
        stage: the emulated AWS.
        folder: folder of the stage.
        plan: the plan of the region, with the addresses of the stores.
        programs: the functions and the game servers.
        door: the API.
    """

    stage: StageCaller
    folder: Path
    plan: Plan
    programs: Programs
    door: Door

    def client(self, service: str) -> Any:
        return self.stage.plain(service, self.plan.region)

    def calls(self) -> list[RecordedCall]:
        return read_calls(calls_file(self.folder))

    def refusals(self) -> list[RecordedCall]:
        return [call for call in self.calls() if not call.allowed]

    def allowed(self, function: str, action: str) -> bool:
        """Return whether a function has made a call that IAM has allowed."""
        role = f"-{function}-fn"
        return any(c.allowed and c.caller.endswith(role) and c.action == action for c in self.calls())


@pytest.fixture(scope="module")
def production(prod_plans: list[Plan], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Run the functions and the game server of the primary region."""
    if reason := names.obstacle():
        pytest.skip(reason)
    environment = inputs.environment("prod")
    home = environment.primary_region
    (foundation_plan,) = (plan for plan in prod_plans if plan.name == "foundation")
    (first_plan,) = (plan for plan in prod_plans if plan.name == f"region {home}")
    folder = tmp_path_factory.mktemp("production")
    production_programs.write_release(folder)
    with running(folder) as stage:
        client = lambda service: stage.plain(service, home)  # noqa: E731
        foundation = Foundation(client, foundation_plan)
        invented = inputs.foundation_contract(environment, foundation.secret_arn)
        real = {
            invented["identity"]["client_id"]: foundation.client_id,
            invented["identity"]["user_pool_id"]: foundation.user_pool_id,
            invented["identity"]["code_key_arn"].rpartition("/")[2]: foundation.keys["codes"],
            **{arn.rpartition("/")[2]: foundation.keys[purpose] for purpose, arn in invented["keys"].items()},
        }
        first_plan = with_names(first_plan, real)
        stores = RegionStores(client, first_plan)
        text = json.dumps(invented)
        for name, value in real.items():
            text = text.replace(name, value)
        contract = json.loads(text)
        terraform = tmp_path_factory.mktemp("applied")
        values = inputs.region(environment, home, contract, inputs.empty_archive(terraform))
        values["game"] = {**values["game"], "image": production_programs.image(contract)}
        plan = applied_plan(terraform, first_plan, values, stores.known, stage.emulators.endpoints())
        for name in (*stores.names(), f"sqs.{home}.amazonaws.com"):
            stage.address(name)
        programs = Programs(client, stores, plan)
        programs.create()
        door = Door(plan_with_api(plan, first_plan), programs.invoke)
        yield Production(stage, folder / "stage", plan, programs, door)
        programs.stop()


def plan_with_api(plan: Plan, first: Plan) -> Plan:
    """Return a plan with the API's resources of the first plan, because the second plan contains only the programs."""
    api = [c for c in first.document["resource_changes"] if c["type"].startswith("aws_apigatewayv2_")]
    return Plan(
        plan.name, plan.region, {**plan.document, "resource_changes": [*plan.document["resource_changes"], *api]}
    )


@pytest.fixture(scope="module")
def migrated(production: Production) -> list[Json]:
    """Run the function `migrate` twice, and return its answers. The second run logs in by IAM."""
    first = production.programs.invoke("migrate", {})
    # Aurora accepts no password of the master user some seconds after the first run has granted the log-in by IAM.
    eventually(lambda: production.programs.invoke("migrate", {}) and production.allowed("migrate", "rds-db:connect"))
    return [first, production.programs.invoke("migrate", {})]


@pytest.fixture(scope="module")
def server(production: Production) -> str:
    """Return the address and the port of the game server."""

    def healthy() -> Json | None:
        stopped = [task["stoppedReason"] for task in production.programs.tasks("STOPPED")]
        assert stopped == []
        return next((task for task in production.programs.tasks() if task["healthStatus"] == "HEALTHY"), None)

    # A health check of ECS can take a minute while other programs use the cores.
    task = eventually(healthy, 120)
    return f"{address(task)}:{task_variables(production.plan)['GAMESERVER_PORT']}"


@pytest.fixture(scope="module")
def match(production: Production, migrated: list[Json], server: str) -> PlayedMatch:
    """Return a match whose players have used every route of the API."""
    # On a busy machine, the start of a function's process can take longer than the time limit of the function.
    eventually(lambda: production.door.request("GET", "/v1/leaderboard").status == 200, 60)
    eventually(lambda: production.door.request("POST", "/v1/refresh", {}).status == 400, 60)
    return asyncio.run(played(production, server))


async def played(production: Production, server: str) -> PlayedMatch:
    with listening(production.door) as url:
        players = Players(url, production.folder, server)
        emails = ("ada@example.com", "grace@example.com")
        ada, grace = [await players.confirmed(email) for email in emails]
        try:
            await players.second_factor(ada, emails[0])
            await players.second_factor(grace, emails[1], remove=True)
            await ada.rename("Ada Lovelace")
            match = await players.play(ada, grace)

            async def counted() -> int:
                return int((await ada.profile())["matches"])

            async def board() -> set[str]:
                return {entry["player_id"] for entry in await ada.leaderboard()}

            await stored(counted, 1)
            await stored(board, set(match.players))
            assert (await ada.match(match.match_id))["state"] == "ended"
            await ada.refresh()
            await ada.log_out()
            await players.forgotten_password(grace, emails[1])
            token = grace.access_token
            await grace.log_out(everywhere=True)
            with refused("unauthorized"):
                grace.use_token(token)
                await grace.has_second_factor()
        finally:
            for player in (ada, grace):
                await player.close()
    return match


def test_the_first_migration_runs_with_the_password_and_the_second_by_iam(migrated: list[Json]) -> None:
    assert migrated[0]["heads"] == []
    assert migrated[0]["applied"]
    assert migrated[1] == {"heads": [migrated[0]["applied"][-1].partition("_")[0]], "applied": []}


def test_the_game_server_has_encrypted_the_chat(production: Production, match: PlayedMatch) -> None:
    key = task_variables(production.plan)["GAMESERVER_DATA_KEY_ARN"]
    uses = {(call.action, call.resource) for call in production.calls() if call.caller.endswith("-game-task")}
    assert ("kms:GenerateDataKey", key) in uses


def test_the_result_of_the_match_is_in_dynamodb(production: Production, match: PlayedMatch) -> None:
    table = json.loads(variables(functions(production.plan)["api"])["GAMESERVER_TABLES"])["matches"]
    item = production.client("dynamodb").get_item(TableName=table, Key={"match_id": {"S": match.match_id}})["Item"]
    assert item["state"] == {"S": "ended"}


def test_players_have_used_each_route_of_the_plan(production: Production, match: PlayedMatch) -> None:
    assert production.door.called == production.door.routes


def test_an_operator_reads_both_stores_by_the_function_ops(production: Production, match: PlayedMatch) -> None:
    measured = production.programs.invoke("ops", {"command": "stats"})
    assert "namespaces" in measured, measured
    listed = production.programs.invoke("ops", {"command": "servers"})
    assert len(listed["servers"]) == 1, listed


def test_each_handler_of_the_code_and_of_the_plan_has_run(production: Production, match: PlayedMatch) -> None:
    assert production.programs.invoke("ops", {"command": "state"}).get("error") is None
    in_code = {
        name
        for name, function in inspect.getmembers(lambda_handlers, inspect.isfunction)
        if function.__module__ == lambda_handlers.__name__
        and [parameter.strip("_") for parameter in inspect.signature(function).parameters] == ["event", "context"]
    }
    planned = {name: function.get("handler") for name, function in functions(production.plan).items()}
    assert planned == {name: f"{lambda_handlers.__name__}.{name}" for name in in_code}
    assert set(running_functions(production)) == in_code


def test_each_function_has_the_variables_of_the_plan_and_no_others(production: Production, match: PlayedMatch) -> None:
    for name, environment in running_functions(production).items():
        planned = variables(functions(production.plan)[name])
        own = {key: value for key, value in environment.items() if not is_set_by(key, SET_BY_LAMBDA)}
        assert own == planned, name


def test_the_game_server_has_the_variables_of_the_plan_and_no_others(production: Production, server: str) -> None:
    planned = task_variables(production.plan)
    host, port = server.split(":")
    (process,) = (
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp4")
        if connection.laddr == (host, int(port)) and connection.status == "LISTEN"
    )
    own = {key: value for key, value in process.environ().items() if not is_set_by(key, SET_BY_ECS | SET_BY_IMAGE)}
    # The processes of the stage share the network of this machine, so a task listens only at its own address.
    assert own == {key: host if value == "0.0.0.0" else value for key, value in planned.items()}  # noqa: S104


@pytest.fixture(scope="module")
def region(production: Production, match: PlayedMatch, server: str) -> Iterator[Region]:
    """Return the region with a further account, without a second factor."""
    email = "mary@example.com"

    async def confirmed() -> str:
        async with await Players(url, production.folder, server).confirmed(email) as player:
            return player.access_token

    async def play() -> PlayedMatch:
        players = Players(url, production.folder, server)
        async with players.client() as player:
            player.use_token(token)
            match = await players.play(player)
        # The event loop must close the connections to the game server, before asyncio.run ends the loop.
        await asyncio.sleep(0.2)
        return match

    with listening(production.door) as url:
        token = asyncio.run(confirmed())
        yield Region(production.client, production.programs, production.door, email, PASSWORD, token, play)


@pytest.fixture(scope="module")
def calls(production: Production, region: Region) -> list[RecordedCall]:
    """Pass each check of the faults, and return all calls of AWS until then."""
    for check in CHECKS:
        check(region)
    return production.calls()


def test_iam_refuses_no_call(calls: list[RecordedCall]) -> None:
    assert [call for call in calls if not call.allowed] == []


def test_each_program_uses_rights_of_its_role(production: Production, calls: list[RecordedCall]) -> None:
    prefix = f"arn:aws:iam::{inputs.ACCOUNT_ID}:role/"
    planned = {
        prefix + role: [Policy.parse(text) for text in texts] for role, texts in policies(production.plan).items()
    }
    for use in role_uses(planned, calls):
        sys.stdout.write(f"{use.role.removeprefix(prefix)}: {use.allowed} rights, unused: {list(use.unused)}\n")
        assert len(use.unused) < use.allowed, use.role


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_of_the_plan_is_found(fault: Fault, production: Production, region: Region) -> None:
    programs, plan, known = production.programs, production.plan, production.refusals()
    programs.plan = fault.change(plan)
    region.over.clear()
    # A program without a right tries again for up to 30 s. The test restores the right after the first refused call.
    with ThreadPoolExecutor(1) as executor:
        try:
            programs.put_policies()
            if fault.restarts:
                programs.start_again(fault.restarts)
            work = executor.submit(fault.check, region)
            eventually(lambda: work.done() or production.refusals() != known, 30)
            assert production.refusals() != known or isinstance(work.exception(), AssertionError)
        finally:
            region.over.set()
            programs.plan = plan
            programs.put_policies()
            if fault.restarts:
                programs.start_again(fault.restarts)


def test_each_role_of_the_plan_has_a_fault(production: Production) -> None:
    changed = {
        role
        for fault in FAULTS
        for role, texts in policies(fault.change(production.plan)).items()
        if texts != policies(production.plan)[role]
    }
    assert changed == policies(production.plan).keys()


def task_variables(plan: Plan) -> dict[str, str]:
    (container,) = json.loads(one(plan, "aws_ecs_task_definition", "game_service").get("container_definitions"))
    return {variable["name"]: variable["value"] for variable in container["environment"]}


def running_functions(production: Production) -> dict[str, Mapping[str, str]]:
    """Return the environment of a process of each function that has a process, by the function's name in the stack."""
    environments = {}
    by_name = {function.get("function_name"): name for name, function in functions(production.plan).items()}
    for process in psutil.Process().children(recursive=True):
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if (function := environment.get("AWS_LAMBDA_FUNCTION_NAME")) in by_name:
            environments[by_name[function]] = environment
    return environments


def is_set_by(variable: str, others: set[str]) -> bool:
    return variable in others | SET_BY_STAGE
