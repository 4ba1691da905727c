"""Secrets by reference: the contract says where one lies, never what it is."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError


async def read_secret(reference: str, clients: RegionClients) -> dict[str, Any]:
    """The JSON object behind `file:/path/to.json` or a Secrets Manager ARN.

    Raises:
        NotFoundError: nothing lies there.
        PermissionDeniedError: the file is readable by others (it must be 0600), or the reader is refused.
        ConfigError: it is no JSON object.
    """
    if reference.startswith("file:"):
        text = _read_private(Path(reference.removeprefix("file:")))
    else:
        answer = await clients.call("secretsmanager", "get_secret_value", SecretId=reference)
        text = str(answer.get("SecretString", ""))
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError("the secret is not a JSON object", where=reference)
    return value


def _read_private(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise PermissionDeniedError(
                f"the secret can be read by others (mode {mode:04o})", where=str(path), hint=f"chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            "the secret's file is gone",
            where=str(path),
            # <home>/<environment>/<region>/secrets/<file>
            hint=f"`mjctl deploy --env {path.parents[2].name} --region {path.parents[1].name}` makes it again, "
            "with the part that it opens",
        ) from None
    except PermissionError:
        raise PermissionDeniedError("the secret's file cannot be read", where=str(path)) from None
