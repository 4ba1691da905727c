"""The task definition that a service runs is compared with the applied task definition, on an emulated ECS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mjctl.clients.account import Account, account_at
from mjctl.deploy.ecs_rollout import verify_ecs_rollout
from mjctl.models.config_file import load_environment
from mjctl.models.errors import UnreachableError, VerificationError
from mjctl.models.workspace import Workspace
from mjctl.sandbox.emulators import Emulators
from mjctl.terraform.remote_state import RemoteState
from mjctl.terraform.stack import Stack

REGION = "us-east-1"
ENVIRONMENT = load_environment(Workspace.discover(Path(__file__)), "sandbox")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Emulators(tmp_path_factory.mktemp("emulators"), names=["ministack"]) as emulators:
        account = account_at(ENVIRONMENT, emulators.endpoints())
        account.client("s3").create_bucket(Bucket=account.bucket)
        yield account


@pytest.fixture
def revisions(account: Account) -> list[str]:
    """Register two revisions of a task definition, and create a service that runs the first."""
    ecs = account.client("ecs", REGION)
    container = {"name": "game", "image": "game", "memory": 64}
    arns = [
        ecs.register_task_definition(family="game", containerDefinitions=[container])["taskDefinition"][
            "taskDefinitionArn"
        ]
        for _ in range(2)
    ]
    ecs.create_cluster(clusterName="game")
    ecs.create_service(cluster="game", serviceName="game", taskDefinition=arns[0], desiredCount=1)
    return arns


def region(account: Account, task_definition: str, folder: Path) -> Stack:
    """Return a deployed region whose state says that `task_definition` was applied."""
    rollout = {"cluster": "game", "service": "game", "task_definition": task_definition}
    state: dict[str, Any] = {"serial": 1, "resources": [{}], "outputs": {"rollout": {"value": rollout}}}
    account.client("s3").put_object(Bucket=account.bucket, Key="region.tfstate", Body=json.dumps(state).encode())
    return Stack("sandbox", "region", REGION, folder, folder, RemoteState(account, "region.tfstate"))


def test_a_rollout_that_ecs_has_rolled_back_is_found(account: Account, revisions: list[str], tmp_path: Path) -> None:
    verify_ecs_rollout(region(account, revisions[0], tmp_path))
    with pytest.raises(VerificationError) as error:
        verify_ecs_rollout(region(account, revisions[1], tmp_path))
    assert error.value.what.startswith("the game servers run game:1, not game:2")


def test_a_stack_without_an_ecs_service_is_not_checked(tmp_path: Path) -> None:
    verify_ecs_rollout(Stack("local", "local", REGION, tmp_path, tmp_path))


def test_an_account_that_does_not_answer_is_an_error(account: Account, tmp_path: Path) -> None:
    away = replace(
        account,
        variables=tuple(
            (name, "http://127.0.0.1:1") if "URL" in name else (name, value) for name, value in account.variables
        ),
    )
    with pytest.raises(UnreachableError, match="AWS does not answer"):
        Stack("sandbox", "region", REGION, tmp_path, tmp_path, RemoteState(away, "region.tfstate")).outputs()


def test_the_current_content_of_a_state_is_read(account: Account) -> None:
    state, s3 = RemoteState(account, "some.tfstate"), account.client("s3")
    assert state.read() == b""
    s3.put_object(Bucket=account.bucket, Key="some.tfstate", Body=b"one")
    assert [state.read(), state.read()] == [b"one", b"one"]
    s3.put_object(Bucket=account.bucket, Key="some.tfstate", Body=b"two")
    assert state.read() == b"two"
    s3.delete_object(Bucket=account.bucket, Key="some.tfstate")
    assert state.read() == b""
