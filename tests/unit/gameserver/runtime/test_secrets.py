from __future__ import annotations

from pathlib import Path

import pytest

from gameserver.runtime.secrets import SecretError, resolve


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.json"
    path.write_text('{"username": "game", "password": "hunter2"}')
    path.chmod(0o600)
    return path


def test_a_private_file_is_read(secret: Path) -> None:
    assert resolve(f"file:{secret}") == {"username": "game", "password": "hunter2"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_read_is_refused(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(SecretError, match="chmod 600"):
        resolve(f"file:{secret}")


@pytest.mark.parametrize("content", ["hunter2", '["hunter2"]', '{"password": 7, "x": "hunter2"}', '{"a": "hunter2'])
def test_malformed_content_is_refused_and_not_quoted(secret: Path, content: str) -> None:
    secret.write_text(content)
    with pytest.raises(SecretError) as caught:
        resolve(f"file:{secret}")
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="No such file"):
        resolve(f"file:{tmp_path / 'none'}")


@pytest.mark.parametrize("reference", ["", "hunter2", "env:PASSWORD", "arn:aws:s3:::bucket"])
def test_other_references_are_refused_and_not_quoted(reference: str) -> None:
    with pytest.raises(SecretError) as caught:
        resolve(reference)
    assert "hunter2" not in str(caught.value)


def test_an_arn_needs_aws() -> None:
    with pytest.raises(SecretError, match="no AWS client"):
        resolve("arn:aws:secretsmanager:us-east-1:000000000000:secret:x")
