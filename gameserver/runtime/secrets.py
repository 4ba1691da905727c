"""Reads secrets by reference: `file:/path/to.json`, or the ARN of a secret in Secrets Manager.

The value of each secret is a JSON object.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from gameserver.runtime.aws import AwsClients


class SecretError(Exception):
    """Reports that a secret cannot be read. The message names the reference, never the content."""


def resolve(reference: str, aws: AwsClients | None = None) -> dict[str, str]:
    """Read a secret. `resolve` blocks, so coroutines call `resolve` on a thread.

    Args:
        reference: `file:/path/to.json`, or the ARN of a secret in Secrets Manager.
        aws: clients to read Secrets Manager with; not needed for a file.

    Returns:
        The fields of the secret, for example `username` and `password`.

    Raises:
        SecretError: the secret does not exist, other users can read its file, it is no JSON object of strings, or AWS
            refused the call.
    """
    if reference.startswith("file:"):
        raw = _read_private_file(Path(reference.removeprefix("file:")))
    elif reference.startswith("arn:") and ":secretsmanager:" in reference:
        if aws is None:
            raise SecretError(f"{reference}: this process has no AWS client to read the secret")
        raw = _read_secrets_manager(reference, aws)
    else:
        raise SecretError("a secret reference must begin with file: or be the ARN of a secret in Secrets Manager")
    try:
        return msgspec.json.decode(raw, type=dict[str, str])
    except msgspec.MsgspecError:
        # The error does not contain the message of msgspec, which could quote the content of the secret.
        raise SecretError(f"{reference}: expected a JSON object of strings") from None


def _read_private_file(path: Path) -> bytes:
    try:
        # The permissions are read from the opened file, so that no process can replace the file between the check of
        # the permissions and the read.
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
