"""Checks that bad input and broken surroundings give advice and the documented exit code, and change nothing."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace

from .conftest import REGION, Operator

pytestmark = pytest.mark.stack

PROJECT = Workspace.discover(Path(__file__)).project_dir


def assert_explained(stderr: str, *words: str) -> None:
    assert "error:" in stderr
    assert "Traceback" not in stderr
    assert len(stderr.splitlines()) <= 24, stderr
    for word in words:
        assert word in stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project whose configuration files a test may break. The project uses the folder terraform/ of the
    repository."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT / "configs", folder / "configs")
    (folder / "terraform").symlink_to(PROJECT / "terraform")
    (folder / "gameserver").symlink_to(PROJECT / "gameserver")
    return folder


def test_an_unknown_region_lists_the_regions_of_the_environment(fresh: Operator) -> None:
    ran = fresh.run("deploy", "--region", "mars-north-1", "--auto-approve")
    assert ran.code == ExitCode.NOT_FOUND
    assert_explained(ran.stderr, "mars-north-1", "us-east-1")
    assert not fresh.home.exists()


def test_a_command_without_a_region_is_refused(fresh: Operator) -> None:
    ran = fresh.run("deploy", "--auto-approve")
    assert ran.code == ExitCode.USAGE
    assert_explained(ran.stderr, "--region", "--all-regions")


def test_an_unknown_option_is_a_usage_error(fresh: Operator) -> None:
    ran = fresh.run("deploy", "--regoin", "us-east-1")
    assert ran.code == ExitCode.USAGE
    assert_explained(ran.stderr, "--regoin", "--help")


def test_nothing_is_changed_without_confirmation(fresh: Operator) -> None:
    ran = fresh.run("deploy", "--region", REGION)
    assert ran.code == ExitCode.REFUSED
    # mjctl prints the whole plan before the error. The plan may be longer than a screen, but the error must fit on one.
    plan, error = ran.stderr.split("error:", 1)
    assert f"{REGION}: " in plan
    assert "+ terraform_data.supervisor" in plan
    assert_explained(f"error:{error}", "--yes")
    assert not (fresh.home / "local" / REGION / "terraform" / "terraform.tfstate").exists()
    assert not list((fresh.home / "local" / REGION).rglob("*.tfplan"))


def test_malformed_yaml_names_file_and_line(fresh: Operator, project: Path) -> None:
    path = project / "configs" / "local.yaml"
    path.write_text("project: arena\ntarget: [local\n")
    ran = fresh.run("deploy", "--region", REGION, "--auto-approve", MJCTL_PROJECT_DIR=str(project))
    assert ran.code == ExitCode.CONFIG
    assert_explained(ran.stderr, f"{path}:3")


def test_a_pinned_port_in_use_is_named(fresh: Operator, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        with (project / "configs" / "local.yaml").open("a") as config:
            config.write(f"\nlocal:\n  ports: {{us-east-1/api: {port}}}\n")
        ran = fresh.run("deploy", "--region", REGION, "--auto-approve", MJCTL_PROJECT_DIR=str(project))
    assert ran.code == ExitCode.CONFLICT
    assert_explained(ran.stderr, str(port), "api")
    assert not (fresh.home / "local" / REGION / "terraform" / "terraform.tfstate").exists()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = Operator(tmp_path / "file" / "home").run("deploy", "--region", REGION, "--auto-approve")
    assert ran.code == ExitCode.PERMISSION
    assert_explained(ran.stderr, str(tmp_path / "file"), "MJCTL_HOME")


def test_a_missing_terraform_says_how_to_get_one(fresh: Operator) -> None:
    ran = fresh.run("plan", "--region", REGION, MJCTL_TERRAFORM="/nowhere/terraform")
    assert ran.code == ExitCode.DEPENDENCY
    assert_explained(ran.stderr, "/nowhere/terraform")


def test_a_region_that_is_not_deployed_says_how_to(fresh: Operator) -> None:
    ran = fresh.run("health", "--region", REGION, "--output", "json")
    assert ran.code == ExitCode.NOT_FOUND
    assert_explained(ran.stderr, "mjctl deploy")
    assert ran.json()["error"]["code"] == ExitCode.NOT_FOUND


def test_a_region_held_by_another_run_is_named(operator: Operator) -> None:
    from mjctl.models.config_file import load_environment
    from mjctl.terraform.lock import unit_lock
    from mjctl.terraform.stack import Stack

    workspace = Workspace(PROJECT, operator.home)
    with unit_lock(Stack.of_unit(workspace, load_environment(workspace, "local"), REGION), "a test"):
        ran = operator.run("deploy", "--region", REGION, "--auto-approve")
        assert operator.run("status", "--output", "json").code == ExitCode.OK
    assert ran.code == ExitCode.LOCKED
    assert_explained(ran.stderr, "`a test`", "pid")


def test_a_dead_cache_is_named_by_cache_and_health(operator: Operator) -> None:
    from mjctl.local.supervisor import SupervisorClient

    client = SupervisorClient(operator.contract()["fleet"]["supervisor_socket"], scope="--region us-east-1")
    client.stop("cache")
    try:
        ran = operator.run("cache", "stats", "--region", REGION)
        assert ran.code == ExitCode.UNREACHABLE
        assert_explained(ran.stderr, REGION)
        ran = operator.run("health", "--region", REGION, "--output", "json")
        assert ran.code == ExitCode.UNHEALTHY
        failed = [check["name"] for check in ran.json()["checks"] if check["status"] == "fail"]
        assert {"process/cache", "cache"} <= set(failed)
    finally:
        client.start("cache")
