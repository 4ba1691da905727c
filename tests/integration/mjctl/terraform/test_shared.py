"""Tests of the files of an environment on AWS that all machines share: locks, records, history and code.

Two private folders of mjctl (`Workspace.home`) represent two machines.
"""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mjctl.clients import account as accounts
from mjctl.clients.account import Account
from mjctl.deploy.history import History
from mjctl.deploy.releases import short_digests
from mjctl.deploy.releases.store import ReleaseEntry, ReleaseStore, UnitReleases
from mjctl.models.config_file import load_environment
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.environment import Environment
from mjctl.models.errors import LockedError, VerificationError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.sandbox.emulators import Emulators
from mjctl.terraform import remote_lock
from mjctl.terraform.lock import held_by, unit_lock
from mjctl.terraform.remote_lock import HeldElsewhere, RemoteLock
from mjctl.terraform.stack import Stack

REGION = "us-east-1"
PROJECT = Workspace.discover(Path(__file__)).project_dir
PREFIX = "arena-sandbox"


@dataclass(frozen=True)
class Machine:
    """Represents a machine: another private folder of mjctl, with the same AWS account."""

    workspace: Workspace
    environment: Environment

    @property
    def stack(self) -> Stack:
        return Stack.of_unit(self.workspace, self.environment, REGION)

    @property
    def store(self) -> ReleaseStore:
        return ReleaseStore(self.workspace, self.environment)


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("emulators"), names=["ministack"]) as running:
        yield running


@pytest.fixture
def account(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Yield the sandbox's account with an empty state bucket."""
    environment = load_environment(Workspace(PROJECT, PROJECT), "sandbox")
    account = accounts.account_at(environment, emulators.endpoints())
    for module in ("mjctl.terraform.stack", "mjctl.deploy.releases.store"):
        monkeypatch.setattr(f"{module}.open_account", lambda *_: account)
    s3 = account.client("s3")
    s3.create_bucket(Bucket=account.bucket)
    yield account
    for item in s3.list_objects_v2(Bucket=account.bucket).get("Contents", ()):
        s3.delete_object(Bucket=account.bucket, Key=item["Key"])
    s3.delete_bucket(Bucket=account.bucket)


@pytest.fixture
def machines(account: Account, tmp_path: Path) -> tuple[Machine, Machine]:
    def machine(name: str) -> Machine:
        workspace = Workspace(PROJECT, tmp_path / name)
        return Machine(workspace, load_environment(workspace, "sandbox"))

    return machine("one"), machine("other")


def test_a_lock_excludes_runs_on_other_machines(machines: tuple[Machine, Machine]) -> None:
    first, other = machines
    messages: list[str] = []
    with unit_lock(first.stack, "deploy", message="the Friday release"):
        holder = held_by(other.stack)
        assert holder is not None
        assert holder["message"] == "the Friday release"
        with (
            pytest.raises(LockedError, match=r"another run works on us-east-1: `deploy` by .*the Friday release"),
            unit_lock(other.stack, "destroy", wait_seconds=1, on_wait=messages.append),
        ):
            pytest.fail("two runs hold the same unit")
    assert len(messages) == 1
    assert held_by(other.stack) is None
    with unit_lock(other.stack, "destroy"):
        pass


def test_only_a_single_run_of_eight_gets_the_lock(account: Account) -> None:
    lock = RemoteLock(account, "test/race.mjctl-lock")
    entered: list[int] = []
    inside, overlaps = threading.Lock(), []
    begin = threading.Barrier(8)

    def work(number: int) -> None:
        begin.wait()
        try:
            with lock.held({"number": number}):
                if not inside.acquire(blocking=False):
                    overlaps.append(number)
                    return
                entered.append(number)
                done.wait(60)
                inside.release()
        except HeldElsewhere:
            refused.release()

    done, refused = threading.Event(), threading.Semaphore(0)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(7):
        assert refused.acquire(timeout=60)
    done.set()
    for thread in threads:
        thread.join()
    assert (len(entered), overlaps) == (1, [])
    assert lock.holder() is None


def test_the_lock_of_a_run_that_died_is_taken_over(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RemoteLock(account, "test/dead.mjctl-lock")
    lock.write(json.dumps({"purpose": "deploy"}).encode())
    with pytest.raises(HeldElsewhere), lock.held({"purpose": "mine"}):
        pass
    monkeypatch.setattr(remote_lock, "DEAD_AFTER_SECONDS", -1.0)
    with lock.held({"purpose": "mine"}):
        monkeypatch.undo()
        holder = lock.holder()
        assert holder is not None
        assert holder["purpose"] == "mine"
    assert lock.holder() is None


def test_only_a_single_run_takes_over_the_lock_of_a_dead_run(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RemoteLock(account, "test/both.mjctl-lock")
    lock.write(json.dumps({"purpose": "the run that died"}).encode())
    monkeypatch.setattr(remote_lock, "DEAD_AFTER_SECONDS", -1.0)
    read = RemoteLock._read

    def read_and_lose_the_race(self: RemoteLock) -> Any:
        stored = read(self)
        self.write(json.dumps({"purpose": "the quicker run"}).encode(), IfMatch=stored.etag)
        return stored

    monkeypatch.setattr(RemoteLock, "_read", read_and_lose_the_race)
    with pytest.raises(HeldElsewhere), lock.held({"purpose": "the slower run"}):
        pytest.fail("both runs hold the lock")
    monkeypatch.undo()
    holder = lock.holder()
    assert holder is not None
    assert holder["purpose"] == "the quicker run"


def test_a_run_that_lost_its_lock_does_not_remove_the_lock_of_the_next_run(account: Account) -> None:
    lock = RemoteLock(account, "test/lost.mjctl-lock")
    with lock.held({"purpose": "the run that was taken for dead"}):
        lock.write(json.dumps({"purpose": "the next run"}).encode())
    holder = lock.holder()
    assert holder is not None
    assert holder["purpose"] == "the next run"


def test_a_renewal_whose_answer_was_lost_keeps_the_lock(account: Account) -> None:
    lock = RemoteLock(account, "test/answer.mjctl-lock")
    body = json.dumps({"purpose": "mine"}).encode()
    first = lock.write(body)
    assert first is not None
    # S3 receives the first renewal of the lock, but the answer of S3 is lost. The client repeats the renewal with the
    # old ETag, and S3 refuses the repetition.
    other = lock.write(body + b" ")
    assert other is not None
    assert lock.renewed(body + b" ", first) == other


def test_a_run_is_informed_that_it_lost_its_lock(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_lock, "RENEWED_EVERY_SECONDS", 0.05)
    lock = RemoteLock(account, "test/taken.mjctl-lock")
    lost = threading.Event()
    with lock.held({"purpose": "mine"}, lost.set):
        lock.write(json.dumps({"purpose": "the next run"}).encode())
        assert lost.wait(60)
    kept = threading.Event()
    with RemoteLock(account, "test/kept.mjctl-lock").held({"purpose": "mine"}, kept.set):
        pass
    assert not kept.is_set()


def test_a_network_failure_at_the_release_of_the_lock_is_ignored(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import EndpointConnectionError

    def down(*_: Any, **__: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://s3.example")

    with RemoteLock(account, "test/down.mjctl-lock").held({"purpose": "mine"}):
        monkeypatch.setattr(Account, "read", down)
    monkeypatch.undo()


def test_a_held_lock_is_renewed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_lock, "RENEWED_EVERY_SECONDS", 0.05)
    lock = RemoteLock(account, "test/renewed.mjctl-lock")
    renewed = threading.Event()
    write = RemoteLock.write

    def counted(self: RemoteLock, body: bytes, **condition: str) -> str | None:
        etag = write(self, body, **condition)
        if "IfMatch" in condition and etag is not None:
            renewed.set()
        return etag

    monkeypatch.setattr(RemoteLock, "write", counted)
    with lock.held({"purpose": "long"}):
        assert renewed.wait(60)
        assert lock.holder() is not None
    assert lock.holder() is None


def test_every_machine_reads_the_releases_and_the_history(machines: tuple[Machine, Machine]) -> None:
    first, other = machines
    release = first.store.of_working_tree()
    history = History(first.workspace, first.environment)
    for outcome in (UnitOutcome.FAILED, UnitOutcome.APPLIED):
        record = history.start("deploy", [REGION], message="first", revision=release.revision)
        history.finish(record, [UnitResult(REGION, outcome, revision=release.revision)], 0, 1.5)
    first.stack.prepare()
    UnitReleases(first.stack).mark_started(release)
    assert UnitReleases(other.stack).interrupted_revision() == release.revision
    UnitReleases(first.stack).record_applied(release, {"game": {"size": 1}})
    entry = UnitReleases(other.stack).current()
    assert entry is not None
    assert (entry.release, entry.variables) == (release, {"game": {"size": 1}})
    assert UnitReleases(other.stack).interrupted_revision() is None
    UnitReleases(other.stack).record_verdict(healthy=True)
    assert UnitReleases(first.stack).last_good(other_than=None).verdict == "healthy"
    records = History(other.workspace, other.environment).records()
    assert sorted(record.regions[0].outcome for record in records) == ["applied", "failed"]
    assert all(record.exit_code == 0 and record.seconds == 1.5 for record in records)
    UnitReleases(other.stack).forget()
    assert UnitReleases(first.stack).entries() == []


def test_another_machine_has_the_code_of_a_release(machines: tuple[Machine, Machine]) -> None:
    first, other = machines
    release = first.store.of_working_tree()
    first.store.keep(release)
    first.store.share(release)
    first.stack.prepare()
    UnitReleases(first.stack).record_applied(release, {})
    entry = UnitReleases(other.stack).current()
    assert entry is not None
    stack = other.store.restored(other.stack, entry)
    assert (stack.source_dir / "main.tf").read_bytes() == (PROJECT / "terraform/stacks/region/main.tf").read_bytes()
    assert (stack.source_dir.parents[2] / "gameserver" / "__init__.py").is_file()
    assert ReleaseStore(other.workspace, other.environment).restored(other.stack, entry) == stack
    other.store.prune()
    assert stack.source_dir.is_dir()


def _small_project(folder: Path) -> Path:
    """Write a checkout whose edge stack has a committed lock file."""
    for name, text in (
        ("configs/sandbox.yaml", (PROJECT / "configs" / "sandbox.yaml").read_text()),
        ("gameserver/__init__.py", ""),
        ("gameserver/notes.md", "not code"),
        ("terraform/stacks/region/main.tf", "locals {}"),
        ("terraform/stacks/edge/main.tf", "locals {}"),
        ("terraform/stacks/edge/.terraform.lock.hcl", "# committed"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _deployed(machine: Machine, release: Release) -> ReleaseEntry:
    machine.stack.prepare()
    UnitReleases(machine.stack).record_applied(release, {})
    entry = UnitReleases(machine.stack).current()
    assert entry is not None
    return entry


def test_a_committed_lock_file_is_shared_and_a_generated_lock_file_is_not(account: Account, tmp_path: Path) -> None:
    project = _small_project(tmp_path / "project")
    workspaces = [Workspace(project, tmp_path / name) for name in ("one", "other")]
    first, other = (Machine(workspace, load_environment(workspace, "sandbox")) for workspace in workspaces)
    release = first.store.of_working_tree()
    first.store.keep(release)
    # `terraform init` writes a lock file into the code of the deployed stack, which mjctl must not share.
    (first.store.source_dir(release, "region") / ".terraform.lock.hcl").write_text("# written")
    first.store.share(release)
    code = other.store.restored(other.stack, _deployed(first, release)).source_dir.parents[1]
    names = {path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file()}
    assert names == {"stacks/region/main.tf", "stacks/edge/main.tf", "stacks/edge/.terraform.lock.hcl"}


@pytest.mark.parametrize(
    ("name", "text"), [("gameserver/__init__.py", "import os"), ("terraform/stacks/region/more.tf.json", "{}")]
)
def test_shared_code_that_differs_from_the_deployed_code_is_refused(
    machines: tuple[Machine, Machine], account: Account, tmp_path: Path, name: str, text: str
) -> None:
    _, other = machines
    project = _small_project(tmp_path / "project")
    workspace = Workspace(project, tmp_path / "third")
    release = Machine(workspace, other.environment).store.of_working_tree()
    (project / name).write_text(text)
    _archive(account, project, release)
    with pytest.raises(VerificationError, match="differs from the code that was deployed"):
        other.store.restored(other.stack, _deployed(other, release))


def test_a_file_that_no_digest_covers_is_not_extracted_from_an_archive(
    machines: tuple[Machine, Machine], account: Account, tmp_path: Path
) -> None:
    _, other = machines
    project = _small_project(tmp_path / "project")
    cache = project / "gameserver" / "__pycache__" / "__init__.cpython-313.pyc"
    cache.parent.mkdir()
    cache.write_text("another program")
    release = Machine(Workspace(project, tmp_path / "third"), other.environment).store.of_working_tree()
    _archive(account, project, release)
    other.store.restored(other.stack, _deployed(other, release))
    copies = list(other.store.game_dir(release).rglob("*.pyc"))
    assert b"another program" not in {path.read_bytes() for path in copies}


def test_code_that_an_earlier_version_of_mjctl_shared_is_restored(
    machines: tuple[Machine, Machine], account: Account, tmp_path: Path
) -> None:
    _, other = machines
    project = _small_project(tmp_path / "project")
    game = short_digests.of_game(project / "gameserver")
    release = Release(game, short_digests.of_terraform(project / "terraform"), "0" * 16, "abc")
    _archive(account, project, release)
    stack = other.store.restored(other.stack, _deployed(other, release))
    assert (stack.source_dir / "main.tf").read_text() == "locals {}"
    assert (other.store.game_dir(release) / "gameserver" / "__init__.py").is_file()


def _archive(account: Account, project: Path, release: Release) -> None:
    """Share the two folders of `project` as the code of `release`."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        for part in ("terraform", "gameserver"):
            archive.add(project / part, part)
    account.client("s3").put_object(
        Bucket=account.bucket,
        Key=f"{PREFIX}/releases/{release.terraform}-{release.game}.tar.gz",
        Body=body.getvalue(),
    )
