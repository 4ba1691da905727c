"""Tests the command line of the comparison, as far as it needs no emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.recorded_answers.__main__ import main


def test_a_folder_without_recordings_is_an_error_before_an_emulator_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_an_unknown_service_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--service", "nothing"])
    assert ended.value.code == 2
