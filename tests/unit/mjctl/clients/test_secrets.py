from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mjctl.clients.boto import RegionClients
from mjctl.clients.secrets import read_secret
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError


@pytest.fixture
def clients(make_contract: Callable[..., Contract]) -> RegionClients:
    return RegionClients(make_contract())


def secret_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


async def test_a_private_file_is_read(tmp_path: Path, clients: RegionClients) -> None:
    assert await read_secret(secret_file(tmp_path / "s.json", '{"password": "p"}'), clients) == {"password": "p"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
async def test_a_file_that_other_users_can_read_is_refused(tmp_path: Path, clients: RegionClients, mode: int) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        await read_secret(secret_file(tmp_path / "s.json", '{"password": "hush"}', mode), clients)
    assert "chmod 600" in (refused.value.hint or "")
    assert "hush" not in str(refused.value)


async def test_a_missing_file_is_not_found(tmp_path: Path, clients: RegionClients) -> None:
    with pytest.raises(NotFoundError):
        await read_secret(f"file:{tmp_path}/none.json", clients)


@pytest.mark.parametrize("text", ["", "[]", "{"])
async def test_a_secret_that_is_not_a_json_object_is_refused(tmp_path: Path, clients: RegionClients, text: str) -> None:
    with pytest.raises(ConfigError):
        await read_secret(secret_file(tmp_path / "s.json", text), clients)
