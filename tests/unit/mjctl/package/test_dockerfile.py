"""Tests of the Dockerfile: its style by hadolint, its structure, and its agreement with Terraform's task definition."""

from __future__ import annotations

import ast
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
# hadolint is next to the Python that runs the tests, or on PATH.
HADOLINT = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


@dataclass(frozen=True)
class Instruction:
    name: str
    value: str


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage, with joined lines. Stage 0 has the instructions before the first FROM."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    stages_of_file: list[list[Instruction]] = [[]]
    for line in filter(None, lines):
        name, _, value = line.partition(" ")
        if name == "FROM":
            stages_of_file.append([])
        stages_of_file[-1].append(Instruction(name, value.strip()))
    return stages_of_file


def value(name: str) -> str:
    """Return the value of the only instruction `name` in the last stage."""
    (only,) = [instruction.value for instruction in stages()[-1] if instruction.name == name]
    return only


def default(variable: str) -> str:
    """Return the default of an attribute in the variables of the task."""
    text = (SERVICE / "variables.tf").read_text(encoding="utf-8")
    match = re.search(rf"\b{variable}\s+= optional\(number, (\d+)\)", text)
    assert match is not None
    return match.group(1)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no wheel for this machine")
def test_hadolint_reports_no_finding() -> None:
    done = subprocess.run([str(HADOLINT), str(PROJECT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_image_can_be_chosen_and_has_the_python_of_the_functions() -> None:
    before, build, last = stages()
    assert [instruction.value for instruction in before if instruction.name == "ARG"] == [
        f"PYTHON_IMAGE=python:{lambda_runtime().python}-slim"
    ]
    assert build[0].value == "${PYTHON_IMAGE} AS build"
    assert last[0].value == "${PYTHON_IMAGE}"
    assert not [instruction for stage in (build, last) for instruction in stage if instruction.name == "ARG"]


def test_the_dockerfile_matches_the_task_definition() -> None:
    assert f'user                   = "{value("USER")}"' in TASK
    assert "readonlyRootFilesystem = true" in TASK
    assert f'containerPath = "{value("VOLUME")}"' in TASK
    assert json.loads(value("ENTRYPOINT")) == ["gameserver"]
    assert f"command                = {value('CMD')}" in TASK
    assert value("EXPOSE").split() == [default("port"), default("peer_port"), default("ops_port")]
    assert f'"{PLATFORM.partition("/")[0].upper()}"' in TASK
    assert PLATFORM == "linux/amd64"
    assert 'cpu_architecture        = "X86_64"' in TASK


def test_the_health_checks_of_dockerfile_and_task_definition_are_equal() -> None:
    options, _, command = value("HEALTHCHECK").partition("CMD ")
    given = re.search(r'command\s+= (\["CMD", .*\])', TASK)
    assert given is not None
    expected = ["CMD", *json.loads(command)]
    assert json.loads(given.group(1).replace("${var.task.ops_port}", default("ops_port"))) == expected
    for option, name in (("interval", "interval"), ("timeout", "timeout"), ("start-period", "startPeriod")):
        seconds = re.search(rf"--{option}=(\d+)s", options)
        assert seconds is not None
        assert re.search(rf"{name}\s+= {seconds.group(1)}\n", TASK), option
    assert re.search(r"--retries=(\d+)", options).group(1) == re.search(r"retries\s+= (\d+)", TASK).group(1)  # type: ignore[union-attr]


def test_the_image_writes_no_bytecode_and_contains_no_secret() -> None:
    settings = dict(pair.split("=", 1) for pair in value("ENV").split())
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"
    assert settings["PYTHONUNBUFFERED"] == "1"
    assert settings["GAMESERVER_PORT"] == default("port")
    assert settings["GAMESERVER_OPS_PORT"] == default("ops_port")
    assert settings["GAMESERVER_PEER_PORT"] == default("peer_port")
    assert not [name for name in settings if re.search("SECRET|PASSWORD|TOKEN|KEY", name)]


def test_the_context_of_the_build_contains_only_the_game_server() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in ignored if line and not line.startswith("#")] == ["*", "!gameserver", "**/__pycache__"]
    copied = [instruction.value.split()[0] for instruction in stages()[1] if instruction.name == "COPY"]
    assert all(source == "." or source.startswith("gameserver/") for source in copied)


@pytest.mark.parametrize("purpose", ["requirements", "compile-requirements"])
class TestRequirements:
    """Tests that the image and the functions install the dependencies of pyproject.toml, each archive by its hash."""

    @staticmethod
    def locked(purpose: str) -> dict[str, str]:
        text = (PROJECT / "gameserver" / f"{purpose}.txt").read_text(encoding="utf-8")
        return {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", text)}

    def test_every_requirement_is_locked_to_a_version_that_pyproject_allows(self, purpose: str) -> None:
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = [*project["dependencies"], *project["optional-dependencies"]["compiled"]]
        allowed = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, named)}
        for requirement in wanted(purpose):
            name = canonicalize_name(requirement.name)
            assert not requirement.specifier, requirement
            assert requirement.extras == allowed[name].extras, requirement
            assert allowed[name].specifier.contains(self.locked(purpose)[name]), (
                f"run `make requirements`: {requirement}"
            )

    def test_every_requirement_has_hashes(self, purpose: str) -> None:
        text = (PROJECT / "gameserver" / f"{purpose}.txt").read_text(encoding="utf-8")
        blocks = re.split(r"(?m)^(?=[a-z])", text)[1:]
        assert len(blocks) == len(self.locked(purpose))
        assert [block for block in blocks if "--hash=sha256:" not in block] == []


def wanted(purpose: str) -> list[Requirement]:
    lines = (PROJECT / "gameserver" / f"{purpose}.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


class TestImports:
    def test_every_package_that_the_game_server_imports_is_required(self) -> None:
        names = {"PyJWT": "jwt", "prometheus-client": "prometheus_client", "cython": "Cython"}
        every = [*wanted("requirements"), *wanted("compile-requirements")]
        installed = {names.get(requirement.name, requirement.name) for requirement in every} | {"botocore"}
        imported: set[str] = set()
        for file in (PROJECT / "gameserver").rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(str(node.module).partition(".")[0])
        foreign = {name for name in imported - {"gameserver"} if name not in sys.stdlib_module_names}
        assert {name for name in foreign if not name.startswith("mypy_boto3")} <= installed


def test_the_image_contains_the_compiled_game_server_and_no_compiler() -> None:
    _, build, last = stages()
    steps = [instruction.value for instruction in build if instruction.name == "RUN"]
    assert [step for step in steps if "-m gameserver.compilation /opt/game/app" in step and "uninstall" in step]
    assert not [instruction for instruction in last if instruction.name == "RUN"]
    (copied,) = [instruction.value for instruction in last if instruction.name == "COPY"]
    assert copied == "--from=build /opt/game /opt/game"
