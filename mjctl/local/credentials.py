"""The random secrets of a local region or of a sandbox. The secrets are created once and kept in private files.

A secret exists only in a file of mode 0600 below a folder of mode 0700. A secret is never on a command line, in
Terraform's state or in a log. Other files name a secret only by the path of the secret's file.
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
    """Holds the credentials of an emulated AWS.

    The access key id is random too, because the guard of the emulated AWS recognises a caller by the id.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables with which an AWS SDK or the Terraform provider uses this key."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}


def ensure_aws_key(file: Path) -> AwsKey:
    """Return the key in `file`. Create a new key if the file is missing or damaged."""
    key = read_aws_key(file)
    if key is None:
        # The access key id must not be twelve digits, because ministack would read it as the id of an AWS account.
        access_key_id = "MJ" + "".join(secrets.choice(_ALPHABET) for _ in range(30))
        key = AwsKey(access_key_id, secrets.token_urlsafe(30))
        values = {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
        write_private(file, json.dumps(values))
    return key


def read_aws_key(file: Path) -> AwsKey | None:
    """Return the key in `file`, or None if the file is missing or damaged."""
    values = read_json(file)
    access_key_id, secret = values.get("access_key_id"), values.get("secret_access_key")
    return AwsKey(access_key_id, secret) if isinstance(access_key_id, str) and isinstance(secret, str) else None


def ensure_profile(layout: Layout) -> AwsKey:
    """Return the key of a region's emulated AWS, and write it as a credentials file for the AWS SDKs.

    A missing key is created. The region's processes find the credentials file by the variable
    AWS_SHARED_CREDENTIALS_FILE, so that their environment contains no secret.
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
    """Write the configuration file that makes Redis require the region's password, and return its path.

    The configuration file contains only a digest of Redis's password, and `secrets/cache.json` contains the password.
    """
    password = redis_password(layout)
    if password is None:
        password = secrets.token_urlsafe(24)
        write_private(layout.cache_secret, json.dumps({"username": REDIS_USER, "password": password}))
    digest = hashlib.sha256(password.encode()).hexdigest()
    # In an access rule (ACL) of Redis, `#` precedes the SHA-256 digest of a password:
    # https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
    write_private(layout.redis_config, f"user {REDIS_USER} on #{digest} ~* &* +@all\n")
    return layout.redis_config


def redis_password(layout: Layout) -> str | None:
    """Return the password of the region's Redis, or None if the region has never started Redis."""
    password = read_json(layout.cache_secret).get("password")
    return password if isinstance(password, str) else None
