from __future__ import annotations

import json
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from mjctl.health.accounts import load_account, new_account, store_account
from mjctl.models.errors import PermissionDeniedError


def test_an_account_is_stored_in_a_private_file_and_loaded_again(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    account = new_account(1, "pool-a")
    store_account(folder, 1, account)
    assert load_account(folder, 1, "pool-a") == account
    assert load_account(folder, 2, "pool-a") is None
    assert stat.S_IMODE((folder / "probe-1.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["probe-1.json"]


def test_an_account_of_an_earlier_user_pool_is_not_used(tmp_path: Path) -> None:
    store_account(tmp_path, 1, new_account(1, "pool-a"))
    assert load_account(tmp_path, 1, "pool-b") is None


def test_a_damaged_file_counts_as_no_account(tmp_path: Path) -> None:
    (tmp_path / "probe-1.json").write_text('{"email": ')
    assert load_account(tmp_path, 1, "pool-a") is None


def test_the_password_satisfies_every_policy_of_a_pool() -> None:
    password = new_account(1, "pool").password
    assert len(password) >= 12
    assert any(c.islower() for c in password)
    assert any(c.isupper() for c in password)
    assert any(c.isdigit() for c in password)
    assert "-" in password


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermissionDeniedError) as refused:
        store_account(tmp_path / "file", 1, new_account(1, "pool"))
    assert refused.value.where == str(tmp_path / "file")


def test_an_account_from_before_the_internal_group_is_not_used_again(tmp_path: Path) -> None:
    # An account of an older version has no mark `internal`, so the account is on the leaderboard, and a new account
    # must replace it.
    old = asdict(new_account(1, "pool-a"))
    del old["internal"]
    (tmp_path / "probe-1.json").write_text(json.dumps(old))
    assert load_account(tmp_path, 1, "pool-a") is None
