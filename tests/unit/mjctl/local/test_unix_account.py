"""Tests of a user id without passwd entry, with and without nss_wrapper."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from mjctl.local import unix_account
from mjctl.local.layout import Layout
from mjctl.models.errors import DependencyError
from mjctl.models.exit_codes import ExitCode


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Simulate a user without passwd entry. Return the only folder in which nss_wrapper is searched."""

    def missing(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setattr(unix_account, "_FOLDERS", (str(tmp_path / "lib"),))
    (tmp_path / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    return tmp_path / "lib"


def test_a_user_with_a_passwd_entry_needs_no_library() -> None:
    assert unix_account.has_entry()
    assert unix_account.lookup_variables() == {}


def test_the_error_without_the_library_names_its_package(unknown: Path, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="has no passwd entry") as failed:
        unix_account.check_database_user([Layout(tmp_path / "us-east-1")])
    assert failed.value.exit_code is ExitCode.DEPENDENCY
    assert "apt-get install libnss-wrapper" in str(failed.value.hint)
    with pytest.raises(DependencyError):
        unix_account.lookup_variables()


def test_a_region_that_has_its_data_needs_no_library(unknown: Path, tmp_path: Path) -> None:
    existing, new = Layout(tmp_path / "existing"), Layout(tmp_path / "new")
    (existing.data / "postgres").mkdir(parents=True)
    (existing.data / "postgres" / "PG_VERSION").write_text("18\n")
    unix_account.check_database_user([existing])
    with pytest.raises(DependencyError):
        unix_account.check_database_user([existing, new])


@pytest.mark.parametrize("name", ["libnss_wrapper.so", "x86_64-linux-gnu/libnss_wrapper.so.0"])
def test_with_the_library_the_user_has_a_name(
    unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (unknown / name).touch()
    monkeypatch.setattr(unix_account, "private_runtime_dir", lambda: tmp_path)
    unix_account.check_database_user([Layout(tmp_path / "us-east-1")])
    variables = unix_account.lookup_variables()
    assert variables["LD_PRELOAD"] == str(unknown / name)
    users = Path(variables["NSS_WRAPPER_PASSWD"])
    assert users.read_text().split(":")[2:4] == [str(os.geteuid()), str(os.getegid())]
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert Path(variables["NSS_WRAPPER_GROUP"]).read_text().split(":")[2] == str(os.getegid())
