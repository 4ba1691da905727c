"""Tests `mjctl bootstrap` with the real provider on an emulated AWS.

The cases are an interrupted run, a repeated run, another machine, another environment and a lost state.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from mjctl.__main__ import run
from mjctl.clients import account
from mjctl.sandbox import daemon
from tests.documents import read_document

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[2]
BUCKET = "arena-terraform-state-123456789012"
STATE = "bootstrap.tfstate"
CONFIG = """\
project: arena
target: sandbox
regions:
  {first}: {{zones: [{first}a, {first}b, {first}c]}}
  {second}: {{zones: [{second}a, {second}b, {second}c]}}
aws:
  account_id: "123456789012"
  domain: {{name: {name}.example.com}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a project with two environments. The second environment has another primary region."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "configs").mkdir()
    (folder / "terraform").symlink_to(PROJECT / "terraform")
    for name, regions in (("one", ("us-east-1", "eu-west-1")), ("two", ("eu-west-1", "us-east-1"))):
        text = CONFIG.format(name=name, first=regions[0], second=regions[1])
        (folder / "configs" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemon.RunningSandbox]:
    """Start the sandbox of the environment `one` in the first home folder."""
    home = tmp_path_factory.mktemp("home")
    yield daemon.start(home / "one").sandbox
    daemon.stop(home / "one")


@pytest.fixture
def home(sandbox: daemon.RunningSandbox) -> Path:
    return Path(sandbox.emulators[0].log).parents[2]


@pytest.fixture
def mjctl(
    project: Path,
    home: Path,
    sandbox: daemon.RunningSandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs `mjctl bootstrap` with any home folder, for the same account.

    Before each run, the function clears the caches of values that a process reads from AWS only once.
    """
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(project))
    monkeypatch.setattr(daemon, "running", lambda _folder: sandbox)

    def call(environment: str, folder: Path = home) -> dict[str, Any]:
        monkeypatch.setenv("MJCTL_HOME", str(folder))
        for remembered in (account._account_of_credentials, account._key_of_bucket, account._region_of_bucket):
            remembered.cache_clear()
        code = run(["bootstrap", "--env", environment, "--auto-approve", "--output", "json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        document: dict[str, Any] = read_document(captured.out)
        return document

    return call


def client(sandbox: daemon.RunningSandbox, service: str) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=sandbox.url("ministack"),
        aws_access_key_id=sandbox.endpoints["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=sandbox.endpoints["AWS_SECRET_ACCESS_KEY"],
    )


def keys(sandbox: daemon.RunningSandbox) -> list[str]:
    """List the keys of the account without the keys that AWS manages."""
    kms = client(sandbox, "kms")
    described = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    return sorted(key["Arn"] for key in described if key["Description"].startswith("Terraform states"))


def test_no_bucket_is_created_without_confirmation(project: Path, home: Path, sandbox: daemon.RunningSandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mjctl", "bootstrap", "--env", "one"],
        env={**os.environ, "MJCTL_PROJECT_DIR": str(project), "MJCTL_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 12, done.stderr
    assert f"Create or change the state bucket {BUCKET}?" in done.stderr
    assert client(sandbox, "s3").list_buckets()["Buckets"] == []
    assert keys(sandbox) == []


def test_the_next_run_finishes_an_interrupted_run(
    project: Path, home: Path, sandbox: daemon.RunningSandbox, mjctl: Callable[..., dict[str, Any]]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mjctl", "bootstrap", "--env", "one", "--auto-approve"],
        env={**os.environ, "MJCTL_PROJECT_DIR": str(project), "MJCTL_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(300, process.kill)
    killer.start()
    assert process.stderr is not None
    for line in process.stderr:
        if "bucket created" in line:
            process.send_signal(signal.SIGINT)
            break
    process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    killer.cancel()
    assert (home / "one" / "bootstrap" / "terraform" / "terraform.tfstate").exists()
    key = keys(sandbox)

    document = mjctl("one")
    assert document == {
        "schema": "mjctl.bootstrap/2",
        "command": "bootstrap",
        "environment": "one",
        "regions": [],
        "account_id": "123456789012",
        "outcome": "changed",
        "bucket": BUCKET,
        "region": "us-east-1",
        "kms_key_arn": keys(sandbox)[0],
        "state": f"s3://{BUCKET}/{STATE}",
    }
    assert not key or keys(sandbox) == key
    assert not list((home / "one" / "bootstrap" / "terraform").glob("terraform.tfstate*"))


def test_the_bucket_is_versioned_encrypted_private_and_requires_tls(sandbox: daemon.RunningSandbox) -> None:
    s3 = client(sandbox, "s3")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    (default,) = [rule["ApplyServerSideEncryptionByDefault"] for rule in rules]
    assert default == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": keys(sandbox)[0]}
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    (deny,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert s3.head_object(Bucket=BUCKET, Key=STATE)["ServerSideEncryption"] == "aws:kms"


def test_a_run_on_another_machine_or_for_another_environment_changes_nothing(
    tmp_path: Path, mjctl: Callable[..., dict[str, Any]]
) -> None:
    first = mjctl("one")
    assert first["outcome"] == "unchanged"
    assert mjctl("one", tmp_path / "elsewhere") == first
    assert mjctl("two", tmp_path / "elsewhere") == {**first, "environment": "two"}


def test_a_manual_change_of_the_bucket_is_reverted(
    sandbox: daemon.RunningSandbox, mjctl: Callable[..., dict[str, Any]]
) -> None:
    client(sandbox, "s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    assert mjctl("one")["outcome"] == "changed"
    assert client(sandbox, "s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_a_run_without_the_state_imports_existing_resources(
    tmp_path: Path, sandbox: daemon.RunningSandbox, mjctl: Callable[..., dict[str, Any]]
) -> None:
    before = keys(sandbox)
    client(sandbox, "s3").delete_object(Bucket=BUCKET, Key=STATE)
    assert mjctl("one", tmp_path / "elsewhere")["outcome"] == "changed"
    assert keys(sandbox) == before
    assert mjctl("one", tmp_path / "elsewhere")["outcome"] == "unchanged"
