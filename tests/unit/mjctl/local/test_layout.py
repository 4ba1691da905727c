"""Tests of the private folders of a region."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mjctl.local.layout import Layout, private_runtime_dir, socket_path
from mjctl.models.errors import PermissionDeniedError


def test_the_folders_of_a_region_are_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home" / "local" / "us-east-1")
    layout.create()
    for folder in (layout.run, layout.data, layout.logs, layout.secrets, layout.programs):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(PermissionDeniedError, match="cannot create the folder"):
        Layout(tmp_path / "home" / "us-east-1").create()


def test_sockets_of_two_checkouts_differ_and_are_short(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / ("long-" * 30)))
    (temporary / ("long-" * 30)).mkdir()
    first, second = socket_path(temporary / "a" / "us-east-1"), socket_path(temporary / "b" / "us-east-1")
    assert first != second
    assert len(str(first)) < 90


def test_a_runtime_folder_that_other_users_can_open_is_refused(temporary: Path) -> None:
    folder = private_runtime_dir()
    assert folder.parent == temporary
    folder.chmod(0o755)
    with pytest.raises(PermissionDeniedError, match="not private"):
        private_runtime_dir()


def test_a_link_in_place_of_the_runtime_folder_is_refused(temporary: Path) -> None:
    folder = private_runtime_dir()
    folder.rmdir()
    (temporary / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(temporary / "elsewhere")
    with pytest.raises(PermissionDeniedError, match="not private"):
        private_runtime_dir()
