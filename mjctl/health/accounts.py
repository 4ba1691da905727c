"""Keeps the account of each probe player in a private file on this machine."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from mjctl.clients.internal_accounts import new_password
from mjctl.files import replacing
from mjctl.models.errors import PermissionDeniedError


@dataclass(frozen=True)
class ProbeAccount:
    """Describes the account of a probe player.

    Attributes:
        user_pool_id: the id of the user pool that has the account. If the region has another user pool now, the account
            is not used.
        email: the mail address with which the probe player logs in.
        password: the password with which the probe player logs in.
        display_name: the name of the probe player that other players see.
        internal: whether the user pool lists the account as an internal account. A file of an older version of mjctl
            has no field `internal`, so a new account replaces the file's account.
    """

    user_pool_id: str
    email: str
    password: str
    display_name: str
    internal: bool


def load_account(directory: Path, number: int, user_pool_id: str) -> ProbeAccount | None:
    """Return the stored account of probe player `number`, or None without an account in the user pool `user_pool_id`.

    Raises:
        PermissionDeniedError: this user cannot read the file of the account.
    """
    try:
        account = ProbeAccount(**json.loads(_path(directory, number).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except PermissionError as error:
        raise _refused(directory) from error
    return account if account.user_pool_id == user_pool_id else None


def new_account(number: int, user_pool_id: str) -> ProbeAccount:
    """Return a new account of probe player `number` for a user pool."""
    unique = secrets.token_hex(6)
    return ProbeAccount(
        user_pool_id=user_pool_id,
        # RFC 2606 reserves the domain example.com, so no mail to a probe player reaches a person.
        email=f"mjctl-probe-{number}-{unique}@example.com",
        password=new_password(),
        display_name=f"probe-{number}",
        internal=True,
    )


def store_account(directory: Path, number: int, account: ProbeAccount) -> None:
    """Write the account to its file in one step, so that only the owner can read the file and no file is incomplete.

    Raises:
        PermissionDeniedError: this user cannot write to the folder of the accounts.
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
        "cannot read or write the file with the account of a probe player",
        where=str(directory),
        hint="give your user the right to read and write this folder, or set MJCTL_HOME to a folder of your user",
    )
