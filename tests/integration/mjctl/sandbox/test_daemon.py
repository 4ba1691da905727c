"""Tests that the sandbox keeps running and keeps its state, and never stops a foreign process."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from mjctl.models.errors import ConflictError, DependencyError, UnreachableError
from mjctl.sandbox import bookkeeping, daemon
from tests.strangers import as_nobody, http, page_answers, readable

pytestmark = pytest.mark.infra

REGION = "eu-west-1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox-env"
    daemon.stop(tmp_path / "sandbox-env")


def client(sandbox: daemon.RunningSandbox, service: str, emulator: str = "ministack") -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=sandbox.url(emulator),
        aws_access_key_id=sandbox.endpoints["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=sandbox.endpoints["AWS_SECRET_ACCESS_KEY"],
    )


def fill(sandbox: daemon.RunningSandbox) -> None:
    client(sandbox, "sqs").create_queue(QueueName="kept")
    client(sandbox, "ec2").create_security_group(GroupName="kept", Description="kept")
    client(sandbox, "ecr", "moto").create_repository(repositoryName="kept/game", tags=[{"Key": "a", "Value": "b"}])
    scaling = client(sandbox, "application-autoscaling", "moto")
    scaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/c/s",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=1,
        MaxCapacity=3,
        Tags={"kept": "yes"},
    )


def held(sandbox: daemon.RunningSandbox) -> dict[str, Any]:
    scaling = client(sandbox, "application-autoscaling", "moto")
    targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    groups = client(sandbox, "ec2").describe_security_groups()["SecurityGroups"]
    return {
        "queues": client(sandbox, "sqs").list_queues().get("QueueUrls", []),
        "groups": sorted(group["GroupId"] for group in groups if group["GroupName"] == "kept"),
        "repositories": client(sandbox, "ecr", "moto").describe_repositories()["repositories"],
        "targets": targets,
        "tags": [scaling.list_tags_for_resource(ResourceARN=target["ScalableTargetARN"])["Tags"] for target in targets],
    }


def await_saved(folder: Path) -> None:
    """Wait until the emulators, which save every few seconds, have saved the resources of `fill`."""
    state = folder / "sandbox" / "state"
    parts = {
        "ministack/state/sqs.json": (b"kept",),
        "ministack/state/ec2.json": (b"kept",),
        "moto/moto.pickle": (b"kept/game", b"ecs:service:DesiredCount", b"yes"),
    }
    end = time.monotonic() + 60
    for name, words in parts.items():
        while not (path := state / name).exists() or any(word not in path.read_bytes() for word in words):
            assert time.monotonic() < end, f"{name} was not saved"
            time.sleep(0.1)


def kill(emulator: daemon.EmulatorProcess) -> None:
    process = psutil.Process(emulator.pid)
    process.kill()
    process.wait(10)


def test_the_sandbox_keeps_running_and_keeps_its_state(folder: Path) -> None:
    assert daemon.running(folder) is None
    started = daemon.start(folder, account_id="210987654321")
    assert (started.began, started.kept) == (("ministack", "moto"), False)
    sandbox = daemon.running(folder)
    assert sandbox == started.sandbox
    assert sandbox is not None
    assert client(sandbox, "sts").get_caller_identity()["Account"] == "210987654321"
    assert sandbox.endpoints["AWS_ENDPOINT_URL"] == sandbox.url("ministack")
    assert sandbox.endpoints["AWS_ENDPOINT_URL_ECR"] == sandbox.url("moto")
    assert stat.S_IMODE((folder / "sandbox.json").stat().st_mode) == 0o600
    listening = {
        connection.laddr.ip
        for emulator in sandbox.emulators
        for connection in psutil.Process(emulator.pid).net_connections()
        if connection.status == "LISTEN"
    }
    assert {address.split(".")[0] for address in listening} == {"127"}
    # The emulators must run on when the process that started them ends, so they are not children of that process.
    assert {emulator.pid for emulator in sandbox.emulators}.isdisjoint(
        {process.pid for process in psutil.Process().children(recursive=True)}
    )

    fill(sandbox)
    before = held(sandbox)
    again = daemon.start(folder, account_id="210987654321")
    assert (again.began, again.sandbox) == ((), sandbox)
    with pytest.raises(ConflictError, match="210987654321"):
        daemon.start(folder, account_id="123456789012")

    assert daemon.stop(folder) == ("ministack", "moto")
    assert daemon.running(folder) is None
    assert not any(psutil.pid_exists(emulator.pid) for emulator in sandbox.emulators)
    assert daemon.stop(folder) == ()
    back = daemon.start(folder, account_id="210987654321")
    assert back.kept
    assert [emulator.port for emulator in back.sandbox.emulators] == [emulator.port for emulator in sandbox.emulators]
    assert held(back.sandbox) == before

    daemon.stop(folder)
    bookkeeping.forget(folder)
    empty = daemon.start(folder, account_id="210987654321")
    assert not empty.kept
    assert held(empty.sandbox)["queues"] == []
    assert held(empty.sandbox)["repositories"] == []


def test_a_killed_emulator_is_started_again_with_its_saved_state(folder: Path) -> None:
    sandbox = daemon.start(folder).sandbox
    fill(sandbox)
    before = held(sandbox)
    await_saved(folder)
    moto = next(emulator for emulator in sandbox.emulators if emulator.name == "moto")
    kill(moto)
    assert daemon.running(folder) is None
    assert set(daemon.alive_emulators(folder)) == {"ministack"}
    back = daemon.start(folder)
    assert back.began == ("moto",)
    assert held(back.sandbox) == before
    for emulator in back.sandbox.emulators:
        kill(emulator)
    assert held(daemon.start(folder).sandbox) == before


def test_a_foreign_process_with_the_recorded_pid_is_not_stopped(folder: Path) -> None:
    folder.mkdir()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        entry = {"version": "1", "pid": bystander.pid, "port": 9, "started_at": 0.0, "log": ""}
        emulators = {name: {**entry, "name": name} for name in daemon.NAMES}
        (folder / "sandbox.json").write_text(json.dumps({"account_id": "1" * 12, "emulators": emulators}))
        assert daemon.running(folder) is None
        assert daemon.stop(folder) == ()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_emulators_without_a_record_are_found_and_stopped(folder: Path) -> None:
    sandbox = daemon.start(folder).sandbox
    (folder / "sandbox.json").unlink()
    assert daemon.running(folder) is None
    assert daemon.stop(folder) == ("ministack", "moto")
    assert not any(psutil.pid_exists(emulator.pid) for emulator in sandbox.emulators)


def test_a_port_that_another_program_uses_is_replaced(folder: Path) -> None:
    port = daemon.start(folder).sandbox.emulators[0].port
    daemon.stop(folder)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert daemon.start(folder).sandbox.emulators[0].port != port


def test_a_damaged_record_is_ignored_and_a_damaged_state_is_an_error(folder: Path) -> None:
    folder.mkdir()
    (folder / "sandbox.json").write_text("{")
    assert daemon.running(folder) is None
    state = folder / "sandbox" / "state" / "moto"
    state.mkdir(parents=True)
    (state / "moto.pickle").write_bytes(b"not a pickle")
    with pytest.raises(UnreachableError, match="moto ended while it started") as failed:
        daemon.start(folder)
    assert failed.value.where == str(daemon.log_file(folder, "moto"))
    assert daemon.alive_emulators(folder) == {}
    bookkeeping.forget(folder)
    assert daemon.start(folder).began == daemon.NAMES


def test_the_error_of_a_missing_emulator_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "NAMES", ("ministack", "nosuchemulator"))
    with pytest.raises(DependencyError, match="nosuchemulator") as failed:
        daemon.start(folder)
    assert failed.value.hint == "run in the checkout: pip install --editable '.[sandbox]'"
    assert not folder.exists()


def test_both_emulators_refuse_web_pages_and_other_users(folder: Path) -> None:
    sandbox = daemon.start(folder).sandbox
    ports = [emulator.port for emulator in sandbox.emulators]
    calls = [
        ("GET", "/"),
        ("POST", "/2015-03-31/functions"),
        ("POST", "/moto-api/reset"),
        ("GET", "/moto-api/data.json"),
    ]

    def ask_as_stranger() -> list[int]:
        return [http(port, method, path).status for port in ports for method, path in calls]

    assert set(ask_as_stranger()) == {403}
    for port in ports:
        for request, answer in page_answers(port).items():
            assert (answer.status, answer.readable_by_a_page) == (403, False), request
    if os.geteuid() == 0:
        assert set(as_nobody(ask_as_stranger)) == {403}
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert folder / "sandbox" / "key.json" in files
        assert as_nobody(lambda: readable(files)) == []
    assert (folder / "sandbox" / "key.json").stat().st_mode & 0o077 == 0
    secret = sandbox.endpoints["AWS_SECRET_ACCESS_KEY"]
    for emulator in sandbox.emulators:
        process = psutil.Process(emulator.pid)
        assert secret not in " ".join(process.cmdline()) + json.dumps(process.environ())
    unsigned = boto3.client(
        "ecr",
        region_name=REGION,
        endpoint_url=sandbox.url("moto"),
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        unsigned.describe_repositories()


def test_emulators_of_an_earlier_version_without_key_are_replaced(folder: Path) -> None:
    sandbox = daemon.start(folder).sandbox
    fill(sandbox)
    record = json.loads((folder / "sandbox.json").read_text())
    del record["asks_for_key"]
    (folder / "sandbox.json").write_text(json.dumps(record))
    assert daemon.running(folder) is None
    again = daemon.start(folder)
    assert again.began == daemon.NAMES
    assert again.sandbox.emulators[0].pid != sandbox.emulators[0].pid
    assert held(again.sandbox)["queues"] != []
