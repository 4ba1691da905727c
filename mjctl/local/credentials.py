"""The random secrets that the services of a region, or of a sandbox, ask for: made once, kept in private files.

A secret stands in a file of mode 0600 below a folder of mode 0700, and nowhere else: not on a command line, not in
Terraform's state, not in a log. What refers to a secret names its file.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from dataclasses import dataclass, field
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.local.layout import Layout

REDIS_USER = "default"

_ALPHABET = string.ascii_uppercase + "234567"


@dataclass(frozen=True)
class AwsKey:
    """Credentials of one emulated AWS. The id is random too, because the emulator's guard recognises callers by it."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which an AWS SDK or the Terraform provider uses this key."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}


def ensure_aws_key(file: Path) -> AwsKey:
    """Return the key that `file` keeps; make a new one if the file is missing or damaged."""
    key = read_aws_key(file)
    if key is None:
        # Not twelve digits: ministack would take them for the id of an account.
        access_key_id = "MJ" + "".join(secrets.choice(_ALPHABET) for _ in range(30))
        key = AwsKey(access_key_id, secrets.token_urlsafe(30))
        values = {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
        write_private(file, json.dumps(values))
    return key


def read_aws_key(file: Path) -> AwsKey | None:
    """Return the key that `file` keeps; None if there is none."""
    values = read_json(file)
    access_key_id, secret = values.get("access_key_id"), values.get("secret_access_key")
    return AwsKey(access_key_id, secret) if isinstance(access_key_id, str) and isinstance(secret, str) else None


def ensure_profile(layout: Layout) -> AwsKey:
    """As `ensure_aws_key` for a region, which also writes the key as a credentials file for the AWS SDKs.

    The region's processes read it by AWS_SHARED_CREDENTIALS_FILE, so that their environment holds no secret.
    """
    key = ensure_aws_key(layout.aws_key)
    lines = (
        "[default]",
        f"aws_access_key_id = {key.access_key_id}",
        f"aws_secret_access_key = {key.secret_access_key}",
    )
    write_private(layout.aws_profile, "\n".join(lines) + "\n")
    return key


def ensure_redis_user(layout: Layout) -> Path:
    """Write the configuration file by which Redis asks for the region's password, and return its path.

    The file has the password's digest only. The password is kept in `secrets/cache.json`.
    """
    password = redis_password(layout)
    if password is None:
        password = secrets.token_urlsafe(24)
        write_private(layout.cache_secret, json.dumps({"username": REDIS_USER, "password": password}))
    digest = hashlib.sha256(password.encode()).hexdigest()
    # https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ : `#` precedes a SHA-256 digest.
    write_private(layout.redis_config, f"user {REDIS_USER} on #{digest} ~* &* +@all\n")
    return layout.redis_config


def redis_password(layout: Layout) -> str | None:
    """Return the password of the region's Redis; None if no Redis was started yet."""
    password = read_json(layout.cache_secret).get("password")
    return password if isinstance(password, str) else None
