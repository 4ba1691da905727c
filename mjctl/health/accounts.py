"""The probe players' accounts: one file each, made on first use, private to this machine."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from mjctl.files import replacing
from mjctl.models.errors import PermissionDeniedError


@dataclass(frozen=True)
class ProbeAccount:
    """`user_pool_id` tells an account of a pool that is gone from one that can still log in.

    `internal`: the pool knows that it is no player's account. A file of an older version lacks this field, so a new
    account is made.
    """

    user_pool_id: str
    email: str
    password: str
    display_name: str
    internal: bool


def load_account(directory: Path, number: int, user_pool_id: str) -> ProbeAccount | None:
    """The stored account of probe player `number`, if it belongs to this user pool."""
    try:
        account = ProbeAccount(**json.loads(_path(directory, number).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except PermissionError as error:
        raise _refused(directory) from error
    return account if account.user_pool_id == user_pool_id else None


def new_account(number: int, user_pool_id: str) -> ProbeAccount:
    """A fresh account; its password satisfies the pool's policy (12 characters, both cases, digits)."""
    unique = secrets.token_hex(6)
    return ProbeAccount(
        user_pool_id=user_pool_id,
        # RFC 2606 reserves this domain: no mail can ever reach a person.
        email=f"mjctl-probe-{number}-{unique}@example.com",
        password=f"{secrets.token_urlsafe(24)}aA1",
        display_name=f"probe-{number}",
        internal=True,
    )


def store_account(directory: Path, number: int, account: ProbeAccount) -> None:
    """Write it whole or not at all, readable by the owner only.

    Raises:
        PermissionDeniedError: the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(_path(directory, number)) as stream:
            stream.write(json.dumps(asdict(account)).encode())
    except OSError as error:
        raise _refused(directory) from error


def _path(directory: Path, number: int) -> Path:
    return directory / f"probe-{number}.json"


def _refused(directory: Path) -> PermissionDeniedError:
    return PermissionDeniedError(
        "the probe player's account cannot be kept",
        where=str(directory),
        hint="make the folder writable for you, or set MJCTL_HOME to one that is",
    )
