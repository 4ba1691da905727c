"""Tests of the user's name and home folder, also for a user without passwd entry."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from mjctl.models import account

USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a user id without passwd entry, in a shell whose variables do not name the user."""

    def missing(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", missing)
    for name in (*USER_VARIABLES, "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 12345)


def test_the_name_of_a_known_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("HOME", "/home/ada")
    assert account.user_name() == "ada"
    assert account.home_folder() == Path("/home/ada")
    assert account.expanded("~/x") == Path("/home/ada/x")


@pytest.mark.usefixtures("unknown")
def test_an_unknown_user_has_a_name_and_no_home() -> None:
    assert account.user_name() == "uid-12345"
    assert account.home_folder() is None
    assert account.expanded("~/x") == Path("~/x")
    assert account.expanded("/x") == Path("/x")


@pytest.mark.usefixtures("unknown")
def test_drains_locks_and_the_provider_cache_work_for_an_unknown_user(tmp_path: Path) -> None:
    from mjctl.models import drained
    from mjctl.terraform import lock, providers

    assert drained.operator().startswith("uid-12345@")
    assert lock._self("deploy", None)["user"] == "uid-12345"
    providers.find_mirror()
    assert "TF_PLUGIN_CACHE_DIR" in providers.provider_variables({}, tmp_path)


@pytest.mark.usefixtures("unknown")
def test_the_cache_of_an_unknown_user_is_in_the_runtime_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mjctl.local import postgres

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(postgres, "private_runtime_dir", lambda: tmp_path)
    assert postgres.cache_dir() == tmp_path / ".cache" / "mjctl"
