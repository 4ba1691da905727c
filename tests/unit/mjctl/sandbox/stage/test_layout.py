"""Tests that mjctl's clients read the stage's files at the paths at which the stage writes these files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.sandbox.stage import names
from mjctl.sandbox.stage.layout import authority_folder, certificate_file, hosts_file, names_file


def test_the_names_are_published_in_the_names_file(tmp_path: Path) -> None:
    hosts_file(tmp_path).write_text("", encoding="utf-8")
    names.publish(hosts_file(tmp_path), {"api.example.com": "127.1.0.2"})
    assert '"api.example.com": "127.1.0.2"' in names_file(tmp_path).read_text(encoding="utf-8")
    assert names.published(hosts_file(tmp_path)) == {"api.example.com": "127.1.0.2"}


def test_the_certificate_of_the_authority_is_in_the_certificate_file(tmp_path: Path) -> None:
    pytest.importorskip("ministack")
    from mjctl.sandbox.stage.authority import Authority

    authority = Authority(authority_folder(tmp_path))
    assert authority.certificate_file == certificate_file(authority_folder(tmp_path))
    assert certificate_file(authority_folder(tmp_path)).read_text(encoding="utf-8").startswith("-----BEGIN CERT")
