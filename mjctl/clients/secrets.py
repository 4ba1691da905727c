"""Reads a secret from a file or from Secrets Manager.

The contract contains no secrets, but references that name the place of each secret.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError


async def read_secret(reference: str, clients: RegionClients) -> dict[str, Any]:
    """Return the secret, a JSON object, whose place `reference` names.

    Args:
        reference: `file:/path/to.json`, or the ARN of a secret in Secrets Manager.
        clients: The AWS clients of the region.

    Raises:
        NotFoundError: the file or the secret does not exist.
        PermissionDeniedError: other users can read the file (its mode must be 0600), or access is denied.
        ConfigError: the secret is not a JSON object.
        UnreachableError: Secrets Manager does not answer.
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
                f"other users can read the secret's file (mode {mode:04o})",
                where=str(path),
                hint=f"run `chmod 600 {path}`",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            "the secret's file does not exist",
            where=str(path),
            # The path of the file, <home>/<environment>/<region>/secrets/<file>, contains the names of environment and
            # region.
            hint=f"`mjctl deploy --env {path.parents[2].name} --region {path.parents[1].name}` creates the secret "
            f"again, together with the part of the region that the secret protects",
        ) from None
    except PermissionError:
        raise PermissionDeniedError(
            "cannot read the secret's file: permission denied",
            where=str(path),
            hint="run mjctl as the user that deployed the region",
        ) from None
