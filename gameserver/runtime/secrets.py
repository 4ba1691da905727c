"""Secrets by reference: `file:/path/to.json` or a Secrets Manager ARN, each holding one JSON object."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from gameserver.runtime.aws import AwsClients


class SecretError(Exception):
    """A secret cannot be read; the message names the reference, never the content."""


def resolve(reference: str, aws: AwsClients | None = None) -> dict[str, str]:
    """Read the secret behind `reference`. Blocks: call it on a thread.

    Raises:
        SecretError: missing, readable by other users, not a JSON object of strings, or refused by AWS.
    """
    if reference.startswith("file:"):
        raw = _read_private_file(Path(reference.removeprefix("file:")))
    elif reference.startswith("arn:") and ":secretsmanager:" in reference:
        if aws is None:
            raise SecretError(f"{reference}: no AWS access was given to read it")
        raw = _read_secrets_manager(reference, aws)
    else:
        raise SecretError("a secret reference starts with file: or is a Secrets Manager ARN")
    try:
        return msgspec.json.decode(raw, type=dict[str, str])
    except msgspec.MsgspecError:
        # The decoder's own message could quote the content.
        raise SecretError(f"{reference}: expected a JSON object of strings") from None


def _read_private_file(path: Path) -> bytes:
    try:
        # The check is of the opened file, so that the path cannot be exchanged between check and read.
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise SecretError(f"{path} can be read by other users; run: chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error


def _read_secrets_manager(arn: str, aws: AwsClients) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(aws.secrets_manager.get_secret_value(SecretId=arn)["SecretString"]).encode()
    except (BotoCoreError, ClientError, KeyError) as error:
        raise SecretError(f"{arn}: {type(error).__name__}") from error
