"""Creates botocore sessions and configurations for an emulated AWS.

A session uses the emulator's key, and ignores the shell's AWS settings and proxies.
"""

from __future__ import annotations

import re
from typing import Any

from mjctl.local.credentials import AwsKey

# Fixed values for botocore's settings that a variable of the shell could change:
# https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html
_SETTINGS: dict[str, Any] = {
    "profile": None,
    "region": None,
    "config_file": "/dev/null",
    "credentials_file": "/dev/null",
    "ca_bundle": None,
}


def session(key: AwsKey) -> Any:
    """Return a botocore session that uses `key` and ignores profiles and files. Only one thread may use the session."""
    import botocore.session

    variables = {name: (None, None, value, None) for name, value in _SETTINGS.items()}
    session = botocore.session.Session(session_vars=variables)
    session.set_credentials(key.access_key_id, key.secret_access_key)
    return session


def client_config(**options: Any) -> Any:
    """Return a botocore configuration that uses no proxy, because an emulator runs on this machine."""
    from botocore.config import Config

    return Config(proxies={}, **options)


def sign_everything(client: Any) -> Any:
    """Make `client` sign every operation, including operations that AWS accepts unsigned, e.g. sign-up.

    The emulator's guard recognises a caller by the access key id in the signature.

    Returns:
        `client` itself.
    """
    client.meta.events.register_first("choose-signer", _sign)
    return reach_stores(client)


def reach_stores(client: Any) -> Any:
    """Make `client` call CloudFront's key value stores at the emulator's own address.

    For these calls, botocore writes the id of the account before the address, as AWS's endpoint has it. The name of an
    emulator's IP address with an account id has no address.

    Returns:
        `client` itself.
    """
    client.meta.events.register_first("before-sign.cloudfront-keyvaluestore", _without_account)
    return client


def _without_account(request: Any, **_: Any) -> None:
    request.url = re.sub(r"//\d{12}\.", "//", request.url, count=1)


def _sign(context: dict[str, Any] | None = None, **_: Any) -> str | None:
    return "v4" if context and context.get("auth_type") == "none" else None
