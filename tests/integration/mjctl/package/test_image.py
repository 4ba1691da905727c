"""Tests of the game server's image without Docker's engine.

The build steps and the entry point run on this machine. A script simulates Docker, and the registry is emulated.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mjctl.clients.account import Account
from mjctl.models.errors import DependencyError, MjctlError, NotFoundError
from mjctl.package.image import (
    Image,
    Registry,
    await_copy,
    find_docker,
    manifest_without_layers,
    push_image,
    push_manifest,
    record,
)
from mjctl.sandbox.emulators import Emulators

pytestmark = pytest.mark.infra

PROJECT = Path(__file__).parents[4]
REGION = "us-east-1"
REVISION = "560855beb41e2316"
DIGEST = f"sha256:{'ab' * 32}"


def dockerfile() -> list[list[tuple[str, str]]]:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    stages: list[list[tuple[str, str]]] = [[]]
    for line in filter(None, lines):
        name, _, value = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, value.strip()))
    return stages


def built(root: Path) -> dict[str, str]:
    """Execute the Dockerfile's instructions in `root`, and return the environment of the last stage."""
    _, build, last = dockerfile()

    def here(text: str) -> str:
        return re.sub("/(opt|tmp)/", rf"{root}/\1/", text)

    (root / "tmp").mkdir()
    (root / "opt").mkdir()
    folder = root
    for name, value in build:
        if name == "COPY":
            *sources, target = value.split()
            for source in sources:
                if source == ".":
                    # The build context of the image contains the Python packages of a release.
                    shutil.copytree(PROJECT / "gameserver", Path(here(target)) / "gameserver")
                    studio = Path(here(target)) / "studio"
                    studio.mkdir()
                    (studio / "chess.py").write_text("rules = None\n")
                else:
                    shutil.copy(PROJECT / source, here(target))
        elif name == "WORKDIR":
            folder = Path(here(value))
        elif name == "RUN" and not value.startswith("apt-get"):
            # The C compiler of this machine replaces the C compiler of the base image.
            command = re.sub(r"^python\b", shlex.quote(sys.executable), here(value))
            done = subprocess.run(["sh", "-ec", command], check=False, capture_output=True, text=True, cwd=folder)
            assert done.returncode == 0, done.stderr
    (settings,) = [value for name, value in last if name == "ENV"]
    return dict(pair.split("=", 1) for pair in here(settings).split())


def files(root: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_built_game_server_becomes_healthy_writes_no_file_and_stops(tmp_path: Path, redis_url: str) -> None:
    environment = {
        **built(tmp_path),
        "GAMESERVER_PROJECT": "arena",
        "GAMESERVER_ENVIRONMENT": "test",
        "GAMESERVER_REGION": REGION,
        "GAMESERVER_STATE_URL": f"{redis_url}/99",
        "GAMESERVER_ISSUER": "http://127.0.0.1:9",
        "GAMESERVER_CLIENT_ID": "client",
        "GAMESERVER_JWKS_URL": "http://127.0.0.1:9/jwks.json",
        "GAMESERVER_PORT": str(free_port()),
        "GAMESERVER_OPS_PORT": str(free_port()),
    }
    last = dict(dockerfile()[2])
    entry = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    health = [part.replace("9090", environment["GAMESERVER_OPS_PORT"]) for part in health]
    program = shutil.which(entry[0], path=environment["PATH"])
    assert program == f"{tmp_path}/opt/game/bin/gameserver"
    version = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("gameserver ")

    def healthy() -> bool:
        python = shutil.which(health[0], path=environment["PATH"])
        return (
            subprocess.run([str(python), *health[1:]], env=environment, capture_output=True, check=False).returncode
            == 0
        )

    assert (tmp_path / "opt/game/app/studio/chess.py").is_file()
    assert not healthy()
    before = files(tmp_path / "opt")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [program, *entry[1:]], env=environment, stderr=stderr, cwd=tmp_path / "tmp", start_new_session=True
        )
    try:
        deadline = time.monotonic() + 30
        while not healthy():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
        (serving,) = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "serving"]
        assert serving["compiled"]
    finally:
        process.kill()
        process.wait()
    assert files(tmp_path / "opt") == before
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[-1] == "stopped"
    assert "server_status" in events


# Simulates Docker, and records the arguments and the standard input of each call.
DOCKER = f"""#!{sys.executable}
import json, os, sys
arguments = sys.argv[1:]
stdin = sys.stdin.read() if arguments[0] == "login" else ""
with open(os.environ["DOCKER_NOTES"], "a") as notes:
    notes.write(json.dumps([arguments, stdin]) + "\\n")
if arguments[:2] == ["buildx", "build"]:
    if os.environ.get("DOCKER_FAILS"):
        sys.exit("failed to solve: no such base")
    for argument in arguments:
        if argument.startswith("--metadata-file="):
            with open(argument.partition("=")[2], "w") as metadata:
                json.dump({{"containerimage.digest": "{DIGEST}"}}, metadata)
"""


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
def registry(emulators: Emulators, request: pytest.FixtureRequest) -> Registry:
    name = f"arena-test/{request.node.name.replace('_', '-')[:40].rstrip('-')}"
    created = emulators.client("ecr", REGION).create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    variables = tuple({**keys, **emulators.endpoints()}.items())
    account = Account("test", emulators.account_id, REGION, "states", variables)
    published = {"repository_name": name, "repository_url": created["repository"]["repositoryUri"]}
    return Registry.of(account, {"registry": published, "primary_region": REGION})


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a simulated Docker on PATH, and return the file in which it records its calls."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


def push(registry: Registry, folder: Path, python_image: str | None = None) -> Image:
    with (folder / "log").open("w") as log:
        return push_image(registry, PROJECT / "Dockerfile", PROJECT, REVISION, log, python_image)


def test_an_image_is_built_and_pushed(registry: Registry, docker: Path, tmp_path: Path) -> None:
    image = push(registry, tmp_path, "python:3.13-slim@sha256:00")
    assert image == Image(registry.url, REVISION, DIGEST, pushed=True)
    assert image.reference == f"{registry.url}@{DIGEST}"
    calls: list[Any] = [json.loads(line) for line in docker.read_text().splitlines()]
    log_in = next(call for call in calls if call[0][0] == "login")
    assert log_in[0][1:] == ["--username", "AWS", "--password-stdin", registry.host]
    assert log_in[1]
    # Every user of the machine can read command lines, so no command line may contain the registry's password.
    assert not [call for call in calls if log_in[1] in " ".join(call[0])]
    (build,) = [call[0] for call in calls if call[0][:2] == ["buildx", "build"]]
    assert build[-1] == str(PROJECT)
    assert {f"--tag={registry.url}:{REVISION}", "--platform=linux/amd64", "--push"} <= set(build)
    assert "--build-arg=PYTHON_IMAGE=python:3.13-slim@sha256:00" in build
    assert calls[-1][0] == ["logout", registry.host]
    record(tmp_path / "home", image)
    file = tmp_path / "home" / "image.json"
    assert json.loads(file.read_text()) == {"repository": registry.url, "digest": DIGEST, "revision": REVISION}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_image_that_the_registry_has_is_not_built_again(
    registry: Registry, emulators: Emulators, docker: Path, tmp_path: Path
) -> None:
    assert registry.digest(REVISION) is None
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"digest": f"sha256:{'cd' * 32}"}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []})
    emulators.client("ecr", REGION).put_image(
        repositoryName=registry.repository, imageManifest=manifest, imageTag=REVISION
    )
    image = push(registry, tmp_path)
    assert not image.pushed
    assert image.digest == registry.digest(REVISION)
    assert image.digest.startswith("sha256:")
    assert not docker.exists()


def test_a_build_that_fails_logs_out_and_names_the_log(
    registry: Registry, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_FAILS", "1")
    with pytest.raises(MjctlError, match="docker buildx build failed with exit code 1") as failed:
        push(registry, tmp_path)
    assert failed.value.where == str(tmp_path / "log")
    assert "no such base" in (tmp_path / "log").read_text()
    assert json.loads(docker.read_text().splitlines()[-1])[0] == ["logout", registry.host]


def test_a_repository_that_does_not_exist_has_no_image(registry: Registry) -> None:
    missing = Registry(registry.account, REGION, "nowhere/game", registry.url)
    assert missing.digest(REVISION) is None


async def test_a_region_without_a_copy_of_the_image_is_an_error_that_names_the_region(
    registry: Registry, emulators: Emulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = registry.in_region("eu-west-1")
    assert other.url == registry.url.replace(REGION, "eu-west-1")
    rule = {
        "destinations": [{"region": "eu-west-1", "registryId": registry.account.account_id}],
        "repositoryFilters": [{"filter": registry.repository, "filterType": "PREFIX_MATCH"}],
    }
    ecr = emulators.client("ecr", REGION)
    before, after = "11" * 32, "22" * 32
    digest = push_manifest(registry, before).digest
    assert digest == f"sha256:{hashlib.sha256(manifest_without_layers(before).encode()).hexdigest()}"
    ecr.put_replication_configuration(replicationConfiguration={"rules": [rule]})
    assert push_manifest(registry, before) == Image(registry.url, before, digest, pushed=False)
    with pytest.raises(NotFoundError, match="the registry of eu-west-1 has no copy of the game server image"):
        await await_copy(other, before, 0, pytest.fail)
    push_manifest(registry, after)
    await await_copy(other, after, 0, pytest.fail)
    monkeypatch.setattr("mjctl.package.image._LOOK_SECONDS", 0.1)
    notes: list[str] = []
    waiting = asyncio.create_task(await_copy(other, before, 60, notes.append))
    await asyncio.sleep(0.5)
    push_manifest(other, before)
    await waiting
    assert notes == ["waiting up to 60 s until ECR has replicated the image to eu-west-1"]
    ecr.put_replication_configuration(replicationConfiguration={"rules": []})


def test_missing_docker_buildx_or_engine_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="`docker` is not on PATH"):
        find_docker()
    program = tmp_path / "docker"
    for failing, message in (("buildx", "no plugin buildx"), ("info", "engine does not answer")):
        program.write_text(f'#!/bin/sh\n[ "$1" != {failing} ]\n', encoding="utf-8")
        program.chmod(0o755)
        with pytest.raises(DependencyError, match=message) as failed:
            find_docker()
        assert failed.value.where == str(program)


def test_docker_is_needed_only_for_an_image_that_the_registry_lacks(
    registry: Registry, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError):
        push_image(registry, PROJECT / "Dockerfile", PROJECT, REVISION, io.StringIO(), None)
