"""Tests of the password of the game's role: a private file has the password, and PostgreSQL stores only its
verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from mjctl.files import read_json
from mjctl.local import postgres
from mjctl.local.layout import Layout
from mjctl.models.errors import DependencyError


def test_the_verifier_matches_the_password(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    mechanism, parameters, keys = postgres._new_password(layout).split("$")
    iterations, salt = parameters.split(":")
    password = read_json(layout.database_secret)["password"]
    assert layout.database_secret.stat().st_mode & 0o777 == 0o600
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    assert mechanism == "SCRAM-SHA-256"
    assert stored == hashlib.sha256(client_key).digest()
    assert server == hmac.digest(salted, b"Server Key", "sha256")


def test_a_cluster_of_a_version_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    (layout.data / "postgres").mkdir()
    (layout.data / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DependencyError, match="written by PostgreSQL 9"):
        postgres.prepare(layout, 1)
