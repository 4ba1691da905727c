"""The Dockerfile: its style by hadolint, its structure, and its agreement with the task definition of Terraform."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mjctl.package.functions import lambda_runtime
from mjctl.package.image import PLATFORM

PROJECT = Path(__file__).parents[4]
SERVICE = PROJECT / "terraform" / "modules" / "game_service"
TASK = (SERVICE / "main.tf").read_text(encoding="utf-8")
# Beside the Python that runs this, whether or not its environment is on the PATH.
HADOLINT = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


@dataclass(frozen=True)
class Instruction:
    name: str
    value: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, continuation lines joined; before the first FROM stands stage 0."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found: list[list[Instruction]] = [[]]
    for line in filter(None, lines):
        name, _, value = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, value.strip()))
    return found


def value(name: str) -> str:
    """That of the one instruction of this name in the last stage."""
    (only,) = [one.value for one in stages()[-1] if one.name == name]
    return only


def default(variable: str) -> str:
    """An attribute's default in the task's variables."""
    text = (SERVICE / "variables.tf").read_text(encoding="utf-8")
    found = re.search(rf"\b{variable}\s+= optional\(number, (\d+)\)", text)
    assert found is not None
    return found.group(1)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no wheel for this machine")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([str(HADOLINT), str(PROJECT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_can_be_named_by_digest_and_has_the_functions_python() -> None:
    before, build, last = stages()
    assert [one.value for one in before if one.name == "ARG"] == [f"PYTHON_IMAGE=python:{lambda_runtime().python}-slim"]
    assert build[0].value == "${PYTHON_IMAGE} AS build"
    assert last[0].value == "${PYTHON_IMAGE}"
    assert not [one for stage in (build, last) for one in stage if one.name == "ARG"]


def test_it_is_what_the_task_definition_runs() -> None:
    assert f'user                   = "{value("USER")}"' in TASK
    assert "readonlyRootFilesystem = true" in TASK
    assert f'containerPath = "{value("VOLUME")}"' in TASK
    assert json.loads(value("ENTRYPOINT")) == ["gameserver"]
    assert f"command                = {value('CMD')}" in TASK
    assert value("EXPOSE").split() == [default("port"), default("ops_port")]
    assert f'"{PLATFORM.partition("/")[0].upper()}"' in TASK
    assert PLATFORM == "linux/amd64"
    assert 'cpu_architecture        = "X86_64"' in TASK


def test_both_ask_the_same_for_health() -> None:
    options, _, command = value("HEALTHCHECK").partition("CMD ")
    given = re.search(r'command\s+= (\["CMD", .*\])', TASK)
    assert given is not None
    ours = ["CMD", *json.loads(command)]
    assert json.loads(given.group(1).replace("${var.task.ops_port}", default("ops_port"))) == ours
    for option, name in (("interval", "interval"), ("timeout", "timeout"), ("start-period", "startPeriod")):
        seconds = re.search(rf"--{option}=(\d+)s", options)
        assert seconds is not None
        assert re.search(rf"{name}\s+= {seconds.group(1)}\n", TASK), option
    assert re.search(r"--retries=(\d+)", options).group(1) == re.search(r"retries\s+= (\d+)", TASK).group(1)  # type: ignore[union-attr]


def test_nothing_writes_at_run_time_and_nothing_secret_is_built_in() -> None:
    settings = dict(pair.split("=", 1) for pair in value("ENV").split())
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"
    assert settings["PYTHONUNBUFFERED"] == "1"
    assert settings["GAMESERVER_PORT"] == default("port")
    assert settings["GAMESERVER_OPS_PORT"] == default("ops_port")
    assert not [name for name in settings if re.search("SECRET|PASSWORD|TOKEN|KEY", name)]


def test_only_the_game_server_goes_to_docker() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in ignored if line and not line.startswith("#")] == ["*", "!gameserver", "**/__pycache__"]
    copied = [one.value.split()[0] for one in stages()[1] if one.name == "COPY"]
    assert all(source == "." or source.startswith("gameserver/") for source in copied)


@pytest.mark.parametrize("purpose", ["requirements", "compile-requirements"])
class TestRequirements:
    """What the image and the functions install is what pyproject.toml asks for, each archive by its hash."""

    @staticmethod
    def locked(purpose: str) -> dict[str, str]:
        text = (PROJECT / "gameserver" / f"{purpose}.txt").read_text(encoding="utf-8")
        return {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", text)}

    def test_every_one_is_locked_within_what_pyproject_allows(self, purpose: str) -> None:
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = [*project["dependencies"], *project["optional-dependencies"]["compiled"]]
        allowed = {canonicalize_name(one.name): one for one in map(Requirement, named)}
        for one in wanted(purpose):
            name = canonicalize_name(one.name)
            assert not one.specifier, one
            assert one.extras == allowed[name].extras, one
            assert allowed[name].specifier.contains(self.locked(purpose)[name]), f"run `make requirements`: {one}"

    def test_every_one_has_hashes(self, purpose: str) -> None:
        text = (PROJECT / "gameserver" / f"{purpose}.txt").read_text(encoding="utf-8")
        blocks = re.split(r"(?m)^(?=[a-z])", text)[1:]
        assert len(blocks) == len(self.locked(purpose))
        assert [block for block in blocks if "--hash=sha256:" not in block] == []


def wanted(purpose: str) -> list[Requirement]:
    lines = (PROJECT / "gameserver" / f"{purpose}.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


class TestImports:
    def test_every_package_that_the_game_server_imports_is_wanted(self) -> None:
        names = {"PyJWT": "jwt", "prometheus-client": "prometheus_client", "cython": "Cython"}
        every = [*wanted("requirements"), *wanted("compile-requirements")]
        installed = {names.get(one.name, one.name) for one in every} | {"botocore"}
        imported = set()
        for file in (PROJECT / "gameserver").rglob("*.py"):
            imported |= set(re.findall(r"(?m)^\s*(?:import|from) (\w+)", file.read_text(encoding="utf-8")))
        foreign = {name for name in imported - {"gameserver"} if name not in sys.stdlib_module_names}
        assert {name for name in foreign if not name.startswith("mypy_boto3")} <= installed


def test_the_image_holds_the_compiled_game_server_and_no_compiler() -> None:
    _, build, last = stages()
    steps = [one.value for one in build if one.name == "RUN"]
    assert [step for step in steps if "-m gameserver.compilation /opt/game/app" in step and "uninstall" in step]
    assert not [one for one in last if one.name == "RUN"]
    (copied,) = [one.value for one in last if one.name == "COPY"]
    assert copied == "--from=build /opt/game /opt/game"
