"""Breaks the AWS credentials of the user in several ways, by files and variables, without a network."""

from __future__ import annotations

import json
import sys
from hashlib import sha1
from pathlib import Path

import pytest

_SSO = """\
[profile broken]
sso_session = s
sso_account_id = 123456789012
sso_role_name = r
[sso-session s]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
"""
_EXPIRED = {"accessToken": "hunter2", "expiresAt": "2020-01-01T00:00:00Z", "region": "us-east-1", "startUrl": "x"}


def _process(command: str) -> str:
    return f"[profile broken]\ncredential_process = {command}\n"


BROKEN_IDENTITIES = {
    # Name of a case -> (text of ~/.aws/config, value of AWS_PROFILE, part of the expected advice).
    "no credentials at all": ("", None, "aws sso login"),
    "half a key": ("[default]\naws_access_key_id = AKIAHALF\n", None, "set both AWS_ACCESS_KEY_ID and"),
    "unknown profile": ("", "nosuch", "aws configure list-profiles"),
    "never signed in": (_SSO, "broken", "aws sso login"),
    "sign-in expired": (_SSO, "broken", "aws sso login"),
    "process fails": (_process(f"{sys.executable} -c 'import sys; sys.exit(3)'"), "broken", "credential_process"),
    "process is missing": (_process("/nowhere/credentials"), "broken", "credential_process"),
    "process prints no JSON": (_process("echo nothing"), "broken", "credential_process"),
    "process prints a list": (_process("echo []"), "broken", "credential_process"),
    "config cannot be parsed": ("[profile broken\nregion", "broken", "aws configure list"),
    "source profile is missing": (
        "[profile broken]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = nosuch\n",
        "broken",
        "aws configure list",
    ),
}


def break_identity(kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the AWS credentials of this process unusable by the case `kind`. Return a part of the expected advice."""
    config, profile, advice = BROKEN_IDENTITIES[kind]
    folder = home / ".aws"
    (folder / "sso" / "cache").mkdir(parents=True)
    (folder / "config").write_text(config)
    if "expired" in kind:
        name = sha1(b"s", usedforsecurity=False).hexdigest()
        (folder / "sso" / "cache" / f"{name}.json").write_text(json.dumps(_EXPIRED))
    # botocore computes the folder of the SSO cache during its import, so a later change of HOME does not change the
    # folder.
    for provider in ("botocore.tokens.SSOTokenProvider", "botocore.credentials.SSOProvider"):
        monkeypatch.setattr(f"{provider}._SSO_TOKEN_CACHE_DIR", str(folder / "sso" / "cache"))
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    return advice
